package playground

var storm = Lesson{
	Title:   "Retry storm",
	Idea:    "Retries add load when there is no room for it. So an overload can outlive what has caused it.",
	picture: 1,
	Steps: []Step{
		{
			Text: []string{
				"75 calls a second; the dependency serves 100 a second. From 20 s to 25 s it fails everything. Nobody retries; an attempt gives up after 500 ms, and the dependency does not notice: what waits in its queue is worked off.",
			},
			Look:     "When the trouble ends, it is over. Draw some more of it: it stays so.",
			Address:  "rate=75&slots=5&queue=500&t=20a5u&a.attempt=1&b.attempt=1",
			Controls: []string{"t"},
		},
		{
			Text: []string{
				"Now A retries, up to three attempts. In the trouble it sends three times 75 requests a second, more than can be served, and a queue of 500 fills: five seconds of work. From then on every answer comes after the 500 ms that its caller waits. So every attempt fails, is retried, and keeps the queue full.",
			},
			Look:     "The trouble ends at 25 s, the storm does not. The dependency works without a pause, for callers who have gone. Switch A's retry off and on.",
			Address:  "rate=75&slots=5&queue=500&t=20a5u&a.retry=1&a.budget=0&a.attempt=1&b.attempt=1",
			Controls: []string{"a.retry"},
		},
		{
			Text: []string{
				"Three attempts of 75 calls are 225 requests a second: the storm feeds itself as long as calls × attempts is more than the capacity of 100. So there is a hidden capacity: with three attempts it is a third of the real one.",
			},
			Look:     "Lower the calls: at 30 a second A recovers as soon as the trouble ends. Somewhere above, it does not.",
			Address:  "rate=75&slots=5&queue=500&t=20a5u&a.retry=1&a.budget=0&a.attempt=1&b.attempt=1",
			Controls: []string{"rate"},
		},
		{
			Text: []string{
				"First remedy: a budget. B may retry 10 % of its calls. Then three attempts are still possible for one call, but not for all of them at once: 75 calls are at most some 83 attempts a second, and that is below 100.",
			},
			Look:     "B is back as soon as the trouble ends. Give it the library's default budget, 20 % and 10 retries a second: that is 25 more than 75, the whole capacity, and the storm stays.",
			Address:  "rate=75&slots=5&queue=500&t=20a5u&a.retry=1&a.budget=0&a.attempt=1&b.retry=1&b.budget=2&b.attempt=1",
			Controls: []string{"b.budget"},
		},
		{
			Text: []string{
				"Second remedy: a breaker. While B's is open nothing is sent, and the queue drains. When it is half-open, the first attempt gets an answer in time, and it closes.",
			},
			Look:     "B loses some seconds of calls and then is well. How long must it stay open, for the queue to drain? Try 500 ms.",
			Address:  "rate=75&slots=5&queue=500&t=20a5u&a.retry=1&a.budget=0&a.attempt=1&b.retry=1&b.budget=0&b.attempt=1&b.breaker=1",
			Controls: []string{"b.open"},
		},
		{
			Text: []string{
				"Third remedy, at the dependency: a short queue. With 20 places an answer comes within 0.25 s or not at all. Whoever finds the queue full hears so at once, and no work is done for callers who have gone.",
			},
			Look:     "A still retries without a budget, and is back when the trouble ends. Lengthen the queue until the storm returns: at 100 requests a second, 500 ms are 50 places.",
			Address:  "rate=75&slots=5&queue=20&t=20a5u&a.retry=1&a.budget=0&a.attempt=1&b.attempt=1",
			Controls: []string{"queue"},
		},
		{
			Text: []string{
				"Everything is yours now. A is the storm; B has a budget and a breaker.",
			},
			Look:     "Can you make B storm as well? And choose clients, under “Who calls”: they wait for their answers, and cannot come faster than they are served. Can 20 of them storm?",
			Address:  "rate=75&slots=5&queue=500&t=20a5u&a.retry=1&a.budget=0&a.attempt=1&b.retry=1&b.attempt=1&b.breaker=1",
			Controls: nil,
		},
	},
	Quiz: []Question{
		{
			Question: "What keeps the storm going after the trouble has ended?",
			Options:  []string{"the dependency still fails", "answers come too late, so every attempt is tried again", "more calls come"},
			Answer:   1,
			Why:      "the queue is longer than the callers' patience, and the retries keep it so.",
		},
		{
			Question: "A dependency serves 300 requests a second, and calls are tried up to three times without a budget. Up to how many calls a second is it safe?",
			Options:  []string{"300", "about 200", "about 100"},
			Answer:   2,
			Why:      "in trouble each call is three requests: 300 / 3.",
		},
		{
			Question: "Callers wait for 500 ms, and the dependency serves 100 requests a second. How long may its queue be?",
			Options:  []string{"below 50", "about 500", "the longer the better"},
			Answer:   0,
			Why:      "who stands behind 50 others has gone before it is served.",
		},
	},
}
