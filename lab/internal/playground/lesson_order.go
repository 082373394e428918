package playground

var order = Lesson{
	Title:   "Order of layers",
	Idea:    "A policy judges what passes through it. Outside the retry that is calls; inside it is attempts.",
	picture: 1,
	Steps: []Step{
		{
			Text: []string{
				"A call is what your code wants done; an attempt is one request that is sent for it. 50 calls a second go to a dependency, which fails every request from 20 s to 40 s. Pipeline A retries: it makes up to three attempts for a call. B makes one.",
				"A retry cannot help here: all attempts fail. What it does is triple the load of a dependency that is down.",
			},
			Look:     "Look at “Attempts” while there is trouble. Then move the slider: more attempts, more load, and no success before 40 s.",
			Address:  "t=20a20u&a.retry=1&a.budget=0",
			Controls: []string{"a.attempts"},
		},
		{
			Text: []string{
				"A breaker lets everything through while it is closed. It opens when half of what it has seen in ten seconds has failed, and refuses everything for five seconds. Then it is half-open: a few may try, and it closes if they succeed.",
				"Both pipelines retry, and have a breaker. In A it stands outside the retry: it sees calls, each of which takes three attempts and two delays to fail. In B it stands inside, where Compose puts it: it sees each attempt.",
			},
			Look:     "B's breaker opens after about two seconds of trouble, A's after about five. All that time A sends 150 attempts a second. Move B's breaker outside, and B becomes A.",
			Address:  "t=20a20u&a.retry=1&a.budget=0&a.breaker=1&a.breaker.place=1&b.retry=1&b.budget=0&b.breaker=1",
			Controls: []string{"a.breaker.place", "b.breaker.place"},
		},
		{
			Text: []string{
				"The same two pipelines, but now 60 % of the requests fail. Three attempts fail together with a probability of 0.6³: 22 %. So A's breaker, outside, never sees the half that it waits for. B's sees 60 %, opens, and refuses calls of which most would have succeeded in the end.",
				"Neither is wrong. They answer different questions: is the dependency well (inside), do my callers get answers (outside)?",
			},
			Look:     "A breaker inside the retry needs a limit for attempts. Raise B's above 60 %, to 75 %: it stays closed.",
			Address:  "t=20a20m&a.retry=1&a.budget=0&a.breaker=1&a.breaker.place=1&b.retry=1&b.budget=0&b.breaker=1",
			Controls: []string{"b.failures"},
		},
		{
			Text: []string{
				"Somebody has agreed to send the dependency no more than 60 requests a second. Both pipelines have a rate limit of 60. In A it stands outside the retry, in B inside.",
			},
			Look:     "50 calls a second pass A's limit, and become 100 attempts in the trouble. B keeps the agreement: what counts at the other end is attempts. It has a price: what the limit refuses is lost, and fewer calls of B succeed.",
			Address:  "t=20a20m&a.retry=1&a.budget=0&a.limit=1&a.persecond=60&a.limit.place=1&b.retry=1&b.budget=0&b.limit=1&b.persecond=60",
			Controls: []string{"a.limit.place", "b.limit.place"},
		},
		{
			Text: []string{
				"Two timeouts, two questions. The attempt timeout is innermost: how long may one request take? The total timeout is outermost: how long does a caller wait for all attempts and delays together?",
				"Here the dependency is up to five times slower for 20 seconds. Both pipelines end an attempt after 400 ms and try three times. B also ends a call after 800 ms.",
			},
			Look:     "Compare p99.9 of A and B, the time that 999 of 1,000 successes stay below: three attempts of 400 ms are more than a second. Then look what it costs B in successes, and move the slider.",
			Address:  "t=20a20e&trouble=1&slots=40&a.retry=1&a.budget=0&a.attempt=1&a.attempt.ms=400&b.retry=1&b.budget=0&b.attempt=1&b.attempt.ms=400&b.total=1&b.total.ms=800",
			Controls: []string{"b.total.ms"},
		},
		{
			Text: []string{
				"The order that Compose chooses: total timeout, retry, hedge, breaker or throttle, rate limit, bulkhead, attempt timeout. Whatever order you write them in, they come out like this, and policy.At moves a layer where you know better.",
			},
			Look:     "Everything is yours now. Try a bulkhead, which bounds how many are under way at a time: 5 in both, in one of them outside the retry. There it counts calls, which hold their place through the delays as well.",
			Address:  "t=20a20m&a.total=1&a.retry=1&a.breaker=1&a.attempt=1&b.retry=1&b.breaker=1&b.attempt=1&b.total=1",
			Controls: nil,
		},
	},
	Quiz: []Question{
		{
			Question: "Half of the requests fail, and a retry makes two attempts. What share of failures does a breaker outside the retry see?",
			Options:  []string{"50 %", "about 25 %", "none"},
			Answer:   1,
			Why:      "it sees calls, and a call fails when both attempts fail: 0.5 × 0.5.",
		},
		{
			Question: "The dependency allows 100 requests a second. Where does the rate limit belong?",
			Options:  []string{"outside the retry", "inside the retry", "it makes no difference"},
			Answer:   1,
			Why:      "the dependency counts requests, and each attempt is one.",
		},
		{
			Question: "Which timeout bounds how long your caller waits?",
			Options:  []string{"the total timeout", "the attempt timeout", "either one"},
			Answer:   0,
			Why:      "the attempt timeout starts anew with each attempt, and does not count the delays between them.",
		},
	},
}
