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
// W let through only in shadow, "." not at all yet. A probe whose lease is over counts as long as no other has taken its slot.
// The rule is two failures in a row; one probe; two successes where that is said, else one.
var breakerMatrix = matrix{
	table: `
state                    | ok            | error         | ignored       | panic         | Goexit        | hang          | cancel        | timeout       | refused       | function      | hooks
closed                   | closed S      | closed F      | closed N      | closed F      | closed F      | closed .      | closed N      | closed F      | closed N      | closed F      | closed F
closed, edge             | closed S      | open F        | closed N      | open F        | open F        | closed .      | closed N      | open F        | closed N      | open F        | open F
open                     | R open        | R open        | R open        | R open        | R open        | R open        | R open        | R open        | R open        | R open        | R open
open time over           | closed S      | open F        | half-open N   | open F        | open F        | half-open .   | half-open N   | open F        | half-open N   | open F        | open F
half-open, 1 of 2        | half-open S   | open F        | half-open N   | open F        | open F        | half-open .   | half-open N   | open F        | half-open N   | open F        | open F
half-open, 2 of 2        | closed S      | open F        | half-open N   | open F        | open F        | half-open .   | half-open N   | open F        | half-open N   | open F        | open F
half-open, taken         | R half-open   | R half-open   | R half-open   | R half-open   | R half-open   | R half-open   | R half-open   | R half-open   | R half-open   | R half-open   | R half-open
forced open              | R forced open | R forced open | R forced open | R forced open | R forced open | R forced open | R forced open | R forced open | R forced open | R forced open | R forced open
forced closed            | forced closed S | forced closed F | forced closed N | forced closed F | forced closed F | forced closed . | forced closed N | forced closed F | forced closed N | forced closed F | forced closed F
shadow, edge             | closed S      | open F        | closed N      | open F        | open F        | closed .      | closed N      | open F        | closed N      | open F        | open F
shadow, open             | open W        | open W        | open W        | open W        | open W        | open W        | open W        | open W        | open W        | open W        | open W
shadow, taken            | half-open W   | half-open W   | half-open W   | half-open W   | half-open W   | half-open W   | half-open W   | half-open W   | half-open W   | half-open W   | half-open W
shadow, forced open      | forced open W | forced open W | forced open W | forced open W | forced open W | forced open W | forced open W | forced open W | forced open W | forced open W | forced open W
shadow meanwhile, edge   | closed S      | open F        | closed N      | open F        | open F        | closed .      | closed N      | open F        | closed N      | open F        | open F
reset meanwhile          | closed X      | closed X      | closed X      | closed X      | closed X      | closed .      | closed X      | closed X      | closed X      | closed X      | closed X
opened meanwhile         | open X        | open X        | open X        | open X        | open X        | open .        | open X        | open X        | open X        | open X        | open X
half-open meanwhile      | half-open X   | half-open X   | half-open X   | half-open X   | half-open X   | half-open .   | half-open X   | half-open X   | half-open X   | half-open X   | half-open X
closed again meanwhile   | closed X      | closed X      | closed X      | closed X      | closed X      | closed .      | closed X      | closed X      | closed X      | closed X      | closed X
forced open meanwhile    | forced open X | forced open X | forced open X | forced open X | forced open X | forced open . | forced open X | forced open X | forced open X | forced open X | forced open X
lease over meanwhile     | closed S      | open F        | half-open N   | open F        | open F        | half-open .   | half-open N   | open F        | half-open N   | open F        | open F
slot taken meanwhile     | half-open X   | half-open X   | half-open X   | half-open X   | half-open X   | half-open X   | half-open X   | half-open X   | half-open X   | half-open X   | half-open X
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
		"forced open":   breakerIn(1, (*breaker.Breaker).ForceOpen, nil),
		"forced closed": breakerIn(1, (*breaker.Breaker).ForceClosed, nil),
		"shadow, edge":  breakerIn(1, func(b *breaker.Breaker) { b.Shadow(); fail(b) }, nil),
		"shadow, open":  breakerIn(1, func(b *breaker.Breaker) { b.Shadow(); open(b) }, nil),
		"shadow, taken": breakerIn(1, func(b *breaker.Breaker) {
			b.Shadow()
			openOver(b)
			_, _, _ = b.Admit(context.Background())
		}, nil),
		"shadow, forced open":    breakerIn(1, func(b *breaker.Breaker) { b.Shadow(); b.ForceOpen() }, nil),
		"shadow meanwhile, edge": breakerIn(1, func(b *breaker.Breaker) { fail(b) }, (*breaker.Breaker).Shadow),
		"reset meanwhile":        breakerIn(1, func(b *breaker.Breaker) { fail(b) }, (*breaker.Breaker).Reset),
		"opened meanwhile":       breakerIn(1, nil, open),
		"half-open meanwhile":    breakerIn(1, nil, func(b *breaker.Breaker) { openOver(b); _, _, _ = b.Admit(context.Background()) }),
		"closed again meanwhile": breakerIn(1, nil, func(b *breaker.Breaker) { openOver(b); succeed(b); fail(b) }),
		"forced open meanwhile":  breakerIn(1, nil, (*breaker.Breaker).ForceOpen),
		"lease over meanwhile":   breakerIn(1, openOver, func(*breaker.Breaker) { time.Sleep(lease) }),
		"slot taken meanwhile": breakerIn(1, openOver, func(b *breaker.Breaker) {
			time.Sleep(lease)
			_, _, _ = b.Admit(context.Background())
		}),
		"reset during the probe": breakerIn(1, openOver, (*breaker.Breaker).Reset),
	},
}

func TestMatrixOfTheBreaker(t *testing.T) {
	breakerMatrix.run(t)
	breakerMatrix.ends(t, byOpen, `
state                  | never           | success         | error            | ignored         | cancel          | late            | twice           | elsewhere        | panic            | exit             | not called
closed                 | closed S        | closed S        | closed FS        | closed S        | closed S        | closed S        | closed S        | closed FS        | closed FS        | closed FS        | closed S
closed, edge           | closed S        | closed S        | closed FS        | closed S        | closed S        | closed S        | closed S        | closed FS        | closed FS        | closed FS        | closed S
open                   | R open          | R open          | R open           | R open          | R open          | R open          | R open          | R open           | R open           | R open           | R open
open time over         | closed S        | closed S        | closed FS        | closed S        | closed S        | closed S        | closed S        | closed FS        | closed FS        | closed FS        | closed S
half-open, 1 of 2      | half-open S     | half-open S     | open FS          | half-open S     | half-open S     | half-open S     | half-open S     | open FS          | open FS          | open FS          | half-open S
half-open, 2 of 2      | closed S        | closed S        | closed FS        | closed S        | closed S        | closed S        | closed S        | closed FS        | closed FS        | closed FS        | closed S
half-open, taken       | R half-open     | R half-open     | R half-open      | R half-open     | R half-open     | R half-open     | R half-open     | R half-open      | R half-open      | R half-open      | R half-open
forced open            | R forced open   | R forced open   | R forced open    | R forced open   | R forced open   | R forced open   | R forced open   | R forced open    | R forced open    | R forced open    | R forced open
forced closed          | forced closed S | forced closed S | forced closed FS | forced closed S | forced closed S | forced closed S | forced closed S | forced closed FS | forced closed FS | forced closed FS | forced closed S
shadow, edge           | closed S        | closed S        | closed FS        | closed S        | closed S        | closed S        | closed S        | closed FS        | closed FS        | closed FS        | closed S
shadow, open           | open W          | open W          | open W           | open W          | open W          | open W          | open W          | open W           | open W           | open W           | open W
shadow, taken          | half-open W     | half-open W     | half-open W      | half-open W     | half-open W     | half-open W     | half-open W     | half-open W      | half-open W      | half-open W      | half-open W
shadow, forced open    | forced open W   | forced open W   | forced open W    | forced open W   | forced open W   | forced open W   | forced open W   | forced open W    | forced open W    | forced open W    | forced open W
shadow meanwhile, edge | closed S        | closed S        | closed FS        | closed S        | closed S        | closed S        | closed S        | closed FS        | closed FS        | closed FS        | closed S
reset meanwhile        | closed X        | closed X        | closed X         | closed X        | closed X        | closed X        | closed X        | closed X         | closed X         | closed X         | closed X
opened meanwhile       | open X          | open X          | open X           | open X          | open X          | open X          | open X          | open X           | open X           | open X           | open X
half-open meanwhile    | half-open X     | half-open X     | half-open X      | half-open X     | half-open X     | half-open X     | half-open X     | half-open X      | half-open X      | half-open X      | half-open X
closed again meanwhile | closed X        | closed X        | closed X         | closed X        | closed X        | closed X        | closed X        | closed X         | closed X         | closed X         | closed X
forced open meanwhile  | forced open X   | forced open X   | forced open X    | forced open X   | forced open X   | forced open X   | forced open X   | forced open X    | forced open X    | forced open X    | forced open X
lease over meanwhile   | closed S        | closed S        | closed FS        | closed S        | closed S        | closed S        | closed S        | closed FS        | closed FS        | closed FS        | closed S
slot taken meanwhile   | half-open X     | half-open X     | half-open X      | half-open X     | half-open X     | half-open X     | half-open X     | half-open X      | half-open X      | half-open X      | half-open X
reset during the probe | closed X        | closed X        | closed X         | closed X        | closed X        | closed X        | closed X        | closed X         | closed X         | closed X         | closed X
`)
	breakerMatrix.ends(t, byAcquire, `
state                  | never           | success         | error           | ignored         | cancel          | late            | twice           | elsewhere       | panic           | exit            | not called
closed                 | closed .        | closed S        | closed F        | closed N        | closed N        | closed S        | closed S        | closed F        | closed F        | closed F        | closed N
closed, edge           | closed .        | closed S        | open F          | closed N        | closed N        | closed S        | closed S        | open F          | open F          | open F          | closed N
open                   | R open          | R open          | R open          | R open          | R open          | R open          | R open          | R open          | R open          | R open          | R open
open time over         | half-open .     | closed S        | open F          | half-open N     | half-open N     | closed S        | closed S        | open F          | open F          | open F          | half-open N
half-open, 1 of 2      | half-open .     | half-open S     | open F          | half-open N     | half-open N     | half-open S     | half-open S     | open F          | open F          | open F          | half-open N
half-open, 2 of 2      | half-open .     | closed S        | open F          | half-open N     | half-open N     | closed S        | closed S        | open F          | open F          | open F          | half-open N
half-open, taken       | R half-open     | R half-open     | R half-open     | R half-open     | R half-open     | R half-open     | R half-open     | R half-open     | R half-open     | R half-open     | R half-open
forced open            | R forced open   | R forced open   | R forced open   | R forced open   | R forced open   | R forced open   | R forced open   | R forced open   | R forced open   | R forced open   | R forced open
forced closed          | forced closed . | forced closed S | forced closed F | forced closed N | forced closed N | forced closed S | forced closed S | forced closed F | forced closed F | forced closed F | forced closed N
shadow, edge           | closed .        | closed S        | open F          | closed N        | closed N        | closed S        | closed S        | open F          | open F          | open F          | closed N
shadow, open           | open W          | open W          | open W          | open W          | open W          | open W          | open W          | open W          | open W          | open W          | open W
shadow, taken          | half-open W     | half-open W     | half-open W     | half-open W     | half-open W     | half-open W     | half-open W     | half-open W     | half-open W     | half-open W     | half-open W
shadow, forced open    | forced open W   | forced open W   | forced open W   | forced open W   | forced open W   | forced open W   | forced open W   | forced open W   | forced open W   | forced open W   | forced open W
shadow meanwhile, edge | closed .        | closed S        | open F          | closed N        | closed N        | closed S        | closed S        | open F          | open F          | open F          | closed N
reset meanwhile        | closed .        | closed X        | closed X        | closed X        | closed X        | closed X        | closed X        | closed X        | closed X        | closed X        | closed X
opened meanwhile       | open .          | open X          | open X          | open X          | open X          | open X          | open X          | open X          | open X          | open X          | open X
half-open meanwhile    | half-open .     | half-open X     | half-open X     | half-open X     | half-open X     | half-open X     | half-open X     | half-open X     | half-open X     | half-open X     | half-open X
closed again meanwhile | closed .        | closed X        | closed X        | closed X        | closed X        | closed X        | closed X        | closed X        | closed X        | closed X        | closed X
forced open meanwhile  | forced open .   | forced open X   | forced open X   | forced open X   | forced open X   | forced open X   | forced open X   | forced open X   | forced open X   | forced open X   | forced open X
lease over meanwhile   | half-open .     | closed S        | open F          | half-open N     | half-open N     | closed S        | closed S        | open F          | open F          | open F          | half-open N
slot taken meanwhile   | half-open X     | half-open X     | half-open X     | half-open X     | half-open X     | half-open X     | half-open X     | half-open X     | half-open X     | half-open X     | half-open X
reset during the probe | closed X        | closed X        | closed X        | closed X        | closed X        | closed X        | closed X        | closed X        | closed X        | closed X        | closed X
`)
}

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
		if o.fails && was.Shadow && was.State != breaker.Closed { // what only a shadow lets through is not judged
			s.check = returns(errUnclear)
		}
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
			if is.Rejected > was.Rejected {
				return fmt.Sprintf("R %v", is.State)
			}
			return fmt.Sprintf("%v %s", is.State, gained(map[string][2]uint64{
				"S": {was.Successes, is.Successes}, "F": {was.Failures, is.Failures}, "N": {was.Neutral, is.Neutral}, "X": {was.Stale, is.Stale},
				"W": {was.ShadowRejected, is.ShadowRejected},
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
