// Package scenario holds the lessons of the lab, one file each. Every file reads as an explanation: what the lesson
// teaches, the set-up, the policies that are compared, what theory or a published experiment expects, and the verdict.
//
// # A further scenario
//
// Write a file with a variable of type [Scenario] and add it to [All]. Its Run composes the library's policies as any
// user would, in as many worlds as it needs ([Runs]), says what it expects ([Lab.Expect]), and draws what it has seen
// ([Lab.Draw]):
//
//	Run: func(lab *Lab) {
//		runs := Runs(lab, len(policies), Pick(lab, 1, 3, 20), func(w *sim.World, variant int) func() float64 {
//			server := &sim.Server{Service: sim.Exponential(10 * time.Millisecond)}
//			pipeline := compose(policies[variant](w)...)
//			calls := w.Open(sim.Poisson(100), time.Minute, func(call *sim.Actor) error {
//				return pipeline.Run(call, server.Call)
//			})
//			return calls.Success
//		})
//		lab.Expect("success", runs[0], reference.Share(0.97, 100*60), "1 − p³")
//	}
//
// The reference says how far one run scatters, so that the tolerance is fixed before anything is measured. Sizes differ in how
// many runs there are, and hardly in what a run is. A constant of the set-up is a [Param]: [Lab.Param] returns it for what
// is expected, and [Lab.In] for the worlds.
//
// What a scenario does not study is switched off, because defaults change the numbers: retry.NoBudget, breaker.Jitter(0),
// an explicit jitter mode. Its Setup says what is on.
package scenario
