package playground

var jitter = Lesson{
	Title:   "Jitter",
	Idea:    "Calls that fail together come back together, unless chance spreads them.",
	picture: 1,
	Steps: []Step{
		{
			Text: []string{
				"Every ten seconds 100 clients call at the same instant: jobs that start on the minute do, and so does everybody whose connection was cut at once. The dependency has 5 slots and 5 places to wait. It could serve 100 requests a second, but not at once.",
			},
			Look:     "10 of 100 calls succeed. Make the crowd smaller, until all of them do.",
			Address:  "load=2&clients=100&slots=5&queue=5",
			Controls: []string{"clients"},
		},
		{
			Text: []string{
				"Both pipelines now try four times, after delays of 1, 2 and 4 seconds. A waits exactly that long, and so does everybody else: the crowd comes back as a crowd, and only ten get through each time. B has full jitter: each delay is a random part of it.",
			},
			Look:     "“Attempts” shows A's crowd, again and again: 100, 90, 80, 70. B's is spread over the second, and all its calls succeed. Give A jitter, too.",
			Address:  "load=2&clients=100&slots=5&queue=5&a.retry=1&a.jitter=0&a.budget=0&a.attempts=4&a.delay=1000&b.retry=1&b.budget=0&b.attempts=4&b.delay=1000",
			Controls: []string{"a.jitter"},
		},
		{
			Text: []string{
				"More attempts are no substitute. A now tries eight times without jitter, and its late attempts meet the next crowds.",
			},
			Look:     "A sends almost three times as many attempts as B, and fewer calls succeed.",
			Address:  "load=2&clients=100&slots=5&queue=5&a.retry=1&a.jitter=0&a.budget=0&a.attempts=8&a.delay=1000&b.retry=1&b.budget=0&b.attempts=4&b.delay=1000",
			Controls: []string{"a.attempts"},
		},
		{
			Text: []string{
				"Jitter needs room to spread in. 100 requests are a second of work. Both pipelines have full jitter; A's first delay is 100 ms, B's 1 second.",
			},
			Look:     "A's crowd comes back within 100 ms, and much of it finds no place. Lengthen A's delay: the delay should be about as long as the work that waits.",
			Address:  "load=2&clients=100&slots=5&queue=5&a.retry=1&a.budget=0&a.attempts=4&a.delay=100&b.retry=1&b.budget=0&b.attempts=4&b.delay=1000",
			Controls: []string{"a.delay"},
		},
		{
			Text: []string{
				"There are several kinds. Full jitter draws from 0 to the delay, equal jitter from half of it, decorrelated jitter from the first delay to three times the one before.",
			},
			Look:     "A has equal jitter, B decorrelated; both save the calls. Now choose full jitter for A: its p50 is the shortest, since it uses the first moments as well.",
			Address:  "load=2&clients=100&slots=5&queue=5&a.retry=1&a.jitter=2&a.budget=0&a.attempts=4&a.delay=1000&b.retry=1&b.budget=0&b.attempts=4&b.delay=1000&b.jitter=3",
			Controls: []string{"a.jitter", "b.jitter"},
		},
		{
			Text: []string{
				"What jitter does not do: it moves load in time, it takes none away. Here 120 calls a second come by chance, more than the 100 that can be served. A retries without jitter, B with it, five attempts each.",
			},
			Look:     "Both send about 300 attempts a second, and it makes no difference. Give B a budget of 10 %: fewer than half of the attempts, and as many successes. Against a lasting overload there are budgets, breakers and limits.",
			Address:  "rate=120&slots=5&queue=20&a.retry=1&a.jitter=0&a.budget=0&a.attempts=5&a.delay=200&b.retry=1&b.budget=0&b.attempts=5&b.delay=200",
			Controls: []string{"b.budget"},
		},
		{
			Text:     []string{"Everything is yours now."},
			Look:     "How small can the delay be before calls of B are lost? Does a longer queue at the dependency do as well as jitter?",
			Address:  "load=2&clients=100&slots=5&queue=5&a.retry=1&a.jitter=0&a.attempts=4&a.delay=1000&b.retry=1&b.attempts=4&b.delay=1000",
			Controls: nil,
		},
	},
	Quiz: []Question{
		{
			Question: "100 clients were cut off at once, and all retry after exactly one second. What happens?",
			Options:  []string{"they come back together", "they spread by themselves", "the retry budget spreads them"},
			Answer:   0,
			Why:      "equal delays keep a crowd together.",
		},
		{
			Question: "200 requests are waiting to be tried again, and the dependency serves 100 a second. How long should the jittered delay be?",
			Options:  []string{"20 ms", "about 2 seconds", "it does not matter"},
			Answer:   1,
			Why:      "they are two seconds of work: that is the room that they need.",
		},
		{
			Question: "A dependency is overloaded all day. What does jitter do?",
			Options:  []string{"it ends the overload", "nothing: the load is the same", "it makes retries succeed"},
			Answer:   1,
			Why:      "it moves attempts in time, and takes none away. Budgets and limits do.",
		},
	},
}
