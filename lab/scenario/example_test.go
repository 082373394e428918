package scenario_test

import (
	"time"

	"github.com/go-resilience/resilience/lab/scenario"
	"github.com/go-resilience/resilience/retry"
)

// A program that plays one scenario: how much of a dependency's failures three attempts hide. Its parameter can be changed
// on the command line: -set p=0.5.
func Example() {
	masking := &scenario.Scenario{
		Name: "M1", Page: "masking", Question: "How much do retries hide?",
		Params: []scenario.Param{{Name: "p", What: "share of attempts that fail", Default: 0.3, High: 1}},
		Run: func(lab *scenario.Lab) {
			p := lab.Param("p")
			runs := scenario.Runs(lab, 1, 5, func(w *scenario.World, _ int) func() float64 {
				server := &scenario.Server{
					Service: scenario.Exponential(10 * time.Millisecond),
					Fails:   func(time.Duration) float64 { return p },
				}
				again := retry.New(retry.Attempts(3), retry.NoBudget(), retry.Rand(w.Source("jitter")))
				pipeline := scenario.Compose(again)
				calls := w.Open(scenario.Poisson(100), 20*time.Second, func(call *scenario.Actor) error {
					return pipeline.Run(call, server.Call)
				})
				return calls.Success
			})
			lab.Expect("success", runs[0], scenario.Share(1-p*p*p, 100*20), "1 − p³")
		},
	}
	scenario.Main(masking)
}
