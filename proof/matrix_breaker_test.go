package proof

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
)

const (
	openTime = 100 * time.Second
	lease    = 5 * time.Second
)

// The cells: the state afterwards, and how the attempt was counted. S success, F failure, N neutral, X stale, R refused,
// "." not at all yet; where an attempt hangs while another one is a probe, it is that one whose lease ends. The rule is two
// failures in a row; one probe; two successes where that is said, else one.
var breakerMatrix = matrix{
	table: `
state                    | ok            | error         | ignored       | panic         | Goexit        | hang          | cancel        | timeout       | refused       | function      | hooks
closed                   | closed S      | closed F      | closed N      | closed F      | closed F      | closed .      | closed N      | closed F      | closed N      | closed F      | closed F
closed, edge             | closed S      | open F        | closed N      | open F        | open F        | closed .      | closed N      | open F        | closed N      | open F        | open F
open                     | R open        | R open        | R open        | R open        | R open        | R open        | R open        | R open        | R open        | R open        | R open
open time over           | closed S      | open F        | half-open N   | open F        | open F        | half-open X   | half-open N   | open F        | half-open N   | open F        | open F
half-open, 1 of 2        | half-open S   | open F        | half-open N   | open F        | open F        | half-open X   | half-open N   | open F        | half-open N   | open F        | open F
half-open, 2 of 2        | closed S      | open F        | half-open N   | open F        | open F        | half-open X   | half-open N   | open F        | half-open N   | open F        | open F
half-open, taken         | R half-open   | R half-open   | R half-open   | R half-open   | R half-open   | R half-open   | R half-open   | R half-open   | R half-open   | R half-open   | R half-open
forced open              | R forced open | R forced open | R forced open | R forced open | R forced open | R forced open | R forced open | R forced open | R forced open | R forced open | R forced open
forced closed            | forced closed S | forced closed F | forced closed N | forced closed F | forced closed F | forced closed . | forced closed N | forced closed F | forced closed N | forced closed F | forced closed F
disabled, edge           | disabled S    | disabled F    | disabled N    | disabled F    | disabled F    | disabled .    | disabled N    | disabled F    | disabled N    | disabled F    | disabled F
disabled, would refuse   | disabled N    | disabled N    | disabled N    | disabled N    | disabled N    | disabled .    | disabled N    | disabled N    | disabled N    | disabled N    | disabled N
reset meanwhile          | closed X      | closed X      | closed X      | closed X      | closed X      | closed .      | closed X      | closed X      | closed X      | closed X      | closed X
opened meanwhile         | open X        | open X        | open X        | open X        | open X        | open .        | open X        | open X        | open X        | open X        | open X
half-open meanwhile      | half-open X   | half-open X   | half-open X   | half-open X   | half-open X   | half-open X   | half-open X   | half-open X   | half-open X   | half-open X   | half-open X
closed again meanwhile   | closed X      | closed X      | closed X      | closed X      | closed X      | closed .      | closed X      | closed X      | closed X      | closed X      | closed X
forced open meanwhile    | forced open X | forced open X | forced open X | forced open X | forced open X | forced open . | forced open X | forced open X | forced open X | forced open X | forced open X
lease over meanwhile     | half-open X   | half-open X   | half-open X   | half-open X   | half-open X   | half-open X   | half-open X   | half-open X   | half-open X   | half-open X   | half-open X
reset during the probe   | closed X      | closed X      | closed X      | closed X      | closed X      | closed X      | closed X      | closed X      | closed X      | closed X      | closed X
`,
	states: map[string]func(outcome) subject{
		"closed":            breakerIn(1, nil, nil),
		"closed, edge":      breakerIn(1, func(b *breaker.Breaker) { fail(b) }, nil),
		"open":              breakerIn(1, open, nil),
		"open time over":    breakerIn(1, openOver, nil),
		"half-open, 1 of 2": breakerIn(2, openOver, nil),
		"half-open, 2 of 2": breakerIn(2, func(b *breaker.Breaker) { openOver(b); succeed(b) }, nil),
		"half-open, taken": breakerIn(1, func(b *breaker.Breaker) {
			openOver(b)
			_, _, _ = b.Admit(context.Background())
		}, nil),
		"forced open":    breakerIn(1, (*breaker.Breaker).ForceOpen, nil),
		"forced closed":  breakerIn(1, (*breaker.Breaker).ForceClosed, nil),
		"disabled, edge": breakerIn(1, func(b *breaker.Breaker) { b.Disable(); fail(b) }, nil),
		"disabled, would refuse": breakerIn(1, func(b *breaker.Breaker) {
			b.Disable()
			fail(b)
			fail(b)
		}, nil),
		"reset meanwhile":        breakerIn(1, func(b *breaker.Breaker) { fail(b) }, (*breaker.Breaker).Reset),
		"opened meanwhile":       breakerIn(1, nil, open),
		"half-open meanwhile":    breakerIn(1, nil, func(b *breaker.Breaker) { openOver(b); _, _, _ = b.Admit(context.Background()) }),
		"closed again meanwhile": breakerIn(1, nil, func(b *breaker.Breaker) { openOver(b); succeed(b); fail(b) }),
		"forced open meanwhile":  breakerIn(1, nil, (*breaker.Breaker).ForceOpen),
		"lease over meanwhile":   breakerIn(1, openOver, func(*breaker.Breaker) { time.Sleep(lease) }),
		"reset during the probe": breakerIn(1, openOver, (*breaker.Breaker).Reset),
	},
}

func TestMatrixOfTheBreaker(t *testing.T) { breakerMatrix.run(t) }

// A breaker behind a key is a breaker.
func TestMatrixOfABreakerPerKey(t *testing.T) {
	behindKeys := matrix{table: breakerMatrix.table, states: map[string]func(outcome) subject{}}
	for name, state := range breakerMatrix.states {
		behindKeys.states[name] = func(o outcome) subject {
			s := state(o)
			b := s.layer.(*breaker.Breaker)
			one := keyed.New(func(string) *breaker.Breaker { return b }, keyed.Max(1))
			s.layer = keyed.By(func(context.Context) string { return "key" }, one)
			return s
		}
	}
	behindKeys.run(t)
}

func settle(b *breaker.Breaker, err error) {
	permit, refused := policy.Acquire(context.Background(), b)
	if refused != nil {
		panic(refused)
	}
	permit.Done(err)
}

func fail(b *breaker.Breaker)    { settle(b, errDown) }
func succeed(b *breaker.Breaker) { settle(b, nil) }
func open(b *breaker.Breaker)    { b.Trip() }

func openOver(b *breaker.Breaker) {
	b.Trip()
	time.Sleep(openTime)
}

// breakerIn returns a breaker after before, to which meanwhile happens while the operation runs.
func breakerIn(successes int, before, meanwhile func(*breaker.Breaker)) func(outcome) subject {
	return func(o outcome) subject {
		options := []breaker.Option{
			breaker.ConsecutiveFailures(2), breaker.OpenFor(openTime), breaker.Jitter(0), breaker.ProbeLease(lease), breaker.Successes(successes),
			breaker.Classify(func(err error) policy.Class {
				switch {
				case errors.Is(err, errUnclear):
					panic(panicOfFunction)
				case errors.Is(err, errIgnored):
					return policy.Ignored
				}
				return policy.Transient
			}),
		}
		if o.loud {
			options = append(options, breaker.OnChange(func(breaker.Change) { panic("a subscriber panics") }))
		}
		b := breaker.New(options...)
		if before != nil {
			before(b)
		}
		was := b.Snapshot()
		s := subject{layer: b}
		if meanwhile != nil {
			s.meanwhile = func() {
				probe := b.Snapshot().InFlight > 0 // is in the ledger already
				meanwhile(b)
				if !probe { // what happened to other attempts is not the outcome of this one
					was = b.Snapshot()
				}
			}
		}
		s.read = func() string {
			is := b.Snapshot()
			if is.Rejections > was.Rejections {
				return fmt.Sprintf("R %v", is.State)
			}
			return fmt.Sprintf("%v %s", is.State, gained(map[string][2]uint64{
				"S": {was.Successes, is.Successes}, "F": {was.Failures, is.Failures}, "N": {was.Neutral, is.Neutral}, "X": {was.Stale, is.Stale},
			}))
		}
		s.rest = func() error {
			is := b.Snapshot()
			if is.Requests != is.Successes+is.Failures+is.Neutral+is.Stale+is.InFlight {
				return fmt.Errorf("requests do not add up: %+v", is)
			}
			return nil
		}
		return s
	}
}
