// Numbers computes the options of a pipeline from what you have promised and measured, and prints the formula of each.
//
//	go run ./examples/numbers
//	go run ./examples/numbers -rate 50 -mean 200ms -p50 150ms -p999 2s -errors 0.03 -slo 0.995 -within 5s
//
// docs/numbers.md explains the formulas. Where to read: choose.go has all of them.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/go-resilience/resilience"
)

func main() {
	var in input
	flag.Float64Var(&in.slo, "slo", 0.999, "the share of calls that must succeed in time")
	flag.DurationVar(&in.within, "within", time.Second, "the time that a caller waits at most")
	flag.Float64Var(&in.rate, "rate", 400, "calls per second of this process, in the busiest minute")
	flag.Float64Var(&in.errors, "errors", 0.01, "the share of attempts that fail on a normal day")
	flag.DurationVar(&in.mean, "mean", 30*time.Millisecond, "the mean latency")
	flag.DurationVar(&in.p50, "p50", 20*time.Millisecond, "the median latency")
	flag.DurationVar(&in.p999, "p999", 300*time.Millisecond, "the 99.9th percentile of the latency")
	flag.Parse()
	if err := run(os.Stdout, in); err != nil {
		fmt.Fprintln(os.Stderr, "numbers:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, in input) error {
	c, err := choose(in)
	if err != nil {
		return err
	}
	for _, line := range []struct{ what, value, why string }{
		{"attempt timeout", c.attempt.String(), fmt.Sprintf("1.25 x p99.9; cuts %.1g of healthy ones", cut)},
		{"attempts", fmt.Sprint(c.attempts), fmt.Sprintf("%.3g^%d = %.2g fail, %.2g may", c.failing, c.attempts, c.lost, 1-in.slo)},
		{"first delay", c.delay.String(), "2 x median; doubles, with full jitter"},
		{"longest call", c.longest.String(), "attempts x attempt timeout + delays"},
		{"total timeout", in.within.String(), "the promise"},
		{"in flight", fmt.Sprintf("%.3g", c.load), "rate x mean latency (Little)"},
		{"bulkhead", fmt.Sprint(c.slots), fmt.Sprintf("refuses %.1g of attempts (Erlang B)", (1-in.slo)/10)},
		{"queue", fmt.Sprintf("%d, for %v", c.slots, c.queue), "what the promise has left"},
		{"breaker", fmt.Sprintf("half of at least %d, in the last %d", c.minimum, 2*c.minimum), c.trips()},
		{"an outage is seen after", c.seen.String(), "minimum calls / rate"},
		{"open for", openFor.String(), "recovery is seen half of it late"},
		{"load in an outage", "at most 1.2 x + 10/s", "the retry budget by default"},
	} {
		fmt.Fprintf(w, "%-23s %-35s %s\n", line.what, line.value, line.why)
	}
	fmt.Fprintf(w, "\n%v\n", resilience.Compose(c.layers(in)...))
	return nil
}
