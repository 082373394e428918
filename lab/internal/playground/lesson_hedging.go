package playground

var hedging = Lesson{
	Title:   "Hedging and budgets",
	Idea:    "A second attempt overtakes a slow one, if the slowness is bad luck and there is room.",
	picture: 4,
	Steps: []Step{
		{
			Text: []string{
				"Most requests take some 30 ms, a few take very long. Any number is served at a time. B has a hedge: it starts a second attempt when the first has not answered for 150 ms, takes the first answer, and cancels the other. A does not.",
			},
			Look:     "p99, the time that 99 of 100 successes stay below, falls from about 280 to 190 ms, for 5 % more attempts. The dashed lines are theory. Move the slider.",
			Address:  "shape=2&slots=0&b.hedge=1&b.after=150&b.hedge.budget=0",
			Controls: []string{"b.after"},
		},
		{
			Text: []string{
				"What an early hedge costs: A starts its second attempt after 30 ms, which half of all requests take; B still after 150 ms.",
			},
			Look:     "A's tail is shorter still, and every second call is sent twice. A hedge near p95, here 150 ms, takes most of the tail for 5 % of load; that is where the library's hedge starts if it is not told otherwise.",
			Address:  "shape=2&slots=0&a.hedge=1&a.after=30&a.hedge.budget=0&b.hedge=1&b.after=150&b.hedge.budget=0",
			Controls: []string{"a.after"},
		},
		{
			Text: []string{
				"Now the dependency has limits: 10 slots, 200 requests a second, and 180 calls come. The slow ones are slow because they wait. B hedges after 100 ms, without a budget.",
			},
			Look:     "Each hedge lengthens the queue, so more calls are hedged: B ends up with a full queue, and calls take five seconds. A, without a hedge, is fine. Lower the calls to 100: then there is room.",
			Address:  "rate=180&shape=1&queue=1000&b.hedge=1&b.after=100&b.hedge.budget=0",
			Controls: []string{"rate"},
		},
		{
			Text: []string{
				"The default budget allows 10 % of the calls, and 10 a second: here 28 a second. It keeps the queue from exploding. But at 180 of 200 there is room for only 20.",
			},
			Look:     "B answers every call, many times later than A. A budget bounds what a hedge can break; it does not make room. Lower the calls to 150.",
			Address:  "rate=180&shape=1&queue=1000&b.hedge=1&b.after=100",
			Controls: []string{"rate", "b.hedge.budget"},
		},
		{
			Text: []string{
				"100 calls a second, half of what can be served, and both hedge after 150 ms: A without a budget, B with the default. For ten seconds the dependency is about twice as slow, for everybody.",
			},
			Look:     "A doubles its attempts just then, and the queue stays when the trouble has gone: a storm of hedges. B's budget lets it recover within seconds.",
			Address:  "rate=100&shape=1&queue=1000&trouble=1&t=20a10b&a.hedge=1&a.after=150&a.hedge.budget=0&b.hedge=1&b.after=150",
			Controls: []string{"a.hedge.budget"},
		},
		{
			Text:     []string{"Everything is yours now. A has no hedge, B has one with its budget."},
			Look:     "Where does the hedge begin to hurt? Try 120, 150 and 170 calls a second. And compare it with a retry after an attempt timeout.",
			Address:  "rate=100&shape=2&b.hedge=1",
			Controls: nil,
		},
	},
	Quiz: []Question{
		{
			Question: "A hedge starts after the time that 90 % of the requests stay below. How many more attempts are there?",
			Options:  []string{"about 10 %", "about 90 %", "twice as many"},
			Answer:   0,
			Why:      "only the slowest 10 % are sent twice.",
		},
		{
			Question: "Requests are slow because they queue at a dependency that is nearly full. What does a hedge do?",
			Options:  []string{"it shortens the tail", "it lengthens the queue for everybody", "nothing"},
			Answer:   1,
			Why:      "the second attempt waits in the same queue, and there is no room for it.",
		},
		{
			Question: "What is the budget of a hedge for?",
			Options:  []string{"it makes hedges quicker", "it bounds the extra load when everything becomes slow", "it makes room at the dependency"},
			Answer:   1,
			Why:      "when everybody is slow, everybody would be sent twice; the budget stops that.",
		},
	},
}
