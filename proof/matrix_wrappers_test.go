package proof

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/timeout"
)

// The cells: how many operations run on behind the caller's back, and what was counted: E expired, D a result discarded,
// P a panic contained, R refused. The limit is 1.5 s, and nothing that runs over it reaches the caller.
func TestMatrixOfTheAbandoningTimeout(t *testing.T) {
	in := func(others int, meanwhile func(), check func(*testing.T, error, any, bool)) func(outcome) subject {
		return func(outcome) subject {
			layer := timeout.Abandon(1500*time.Millisecond, timeout.MaxRunning(1), timeout.OnDiscard(func(any) { panic(panicOfFunction) }))
			end := make(chan struct{})
			for range others {
				_, _ = timeout.AbandonPolicy[int]{Abandoner: layer}.Do(context.Background(), func(context.Context) (int, error) {
					<-end
					return 0, errDown
				})
			}
			was := layer.Snapshot()
			return subject{
				layer:     layer,
				meanwhile: meanwhile,
				check:     check,
				read: func() string {
					is := layer.Snapshot()
					counts := gained(map[string][2]uint64{
						"E": {was.Expired, is.Expired}, "D": {was.Discarded, is.Discarded}, "P": {was.Panics, is.Panics}, "R": {was.Rejected, is.Rejected},
					})
					if is.Rejected > was.Rejected {
						return counts
					}
					return fmt.Sprintf("%d %s", is.Abandoned, counts)
				},
				rest: func() error {
					if others > 0 {
						close(end)
						synctest.Wait()
					}
					if is := layer.Snapshot(); is.Running != 0 || is.Abandoned != 0 {
						return fmt.Errorf("at rest: %+v", is)
					}
					return nil
				},
			}
		}
	}
	m := matrix{
		table: `
state | ok    | error | ignored | panic | Goexit | hang | cancel | timeout | refused | function | hooks
runs  | 0 .   | 0 .   | 0 .     | 0 .   | 0 .    | 1 E  | 0 .    | 0 .     | 0 .     | -        | 0 .
over  | 0 DEP | 0 E   | 0 E     | 0 EP  | 0 E    | 1 E  | 0 E    | 0 E     | 0 E     | -        | 0 E
full  | R     | R     | R       | R     | R      | R    | R      | R       | R       | -        | R
`,
		states: map[string]func(outcome) subject{
			"runs": in(0, nil, nil),
			"over": in(0, func() { time.Sleep(1600 * time.Millisecond) }, returns(timeout.ErrTimeout)),
			"full": in(1, nil, nil),
		},
	}
	m.run(t)
	m.ends(t, byOpen, `
state | never | success | error | ignored | cancel | late  | twice | elsewhere | panic | exit  | not called
runs  | 0 .   | 0 .     | 0 .   | 0 .     | 0 .    | 0 .   | 0 .   | 0 .       | 0 .   | 0 .   | 0 .
over  | 0 DEP | 0 DEP   | 0 DEP | 0 DEP   | 0 DEP  | 0 DEP | 0 DEP | 0 DEP     | 0 DEP | 0 DEP | 0 DEP
full  | R     | R       | R     | R       | R      | R     | R     | R         | R     | R     | R
`)
}

// The cells: how many attempts run, and what was counted: H an extra attempt was started, S it was not started for want of
// budget, D a result was discarded, P a panic had no caller any more. Both attempts end in the same way and in the same
// moment, so that chance says which of them wins. The function of the user is the budget.
func TestMatrixOfTheHedge(t *testing.T) {
	in := func(mark hedge.Option, budget budget, meanwhile func()) func(outcome) subject {
		return func(o outcome) subject {
			budget.panics = o.fails
			layer := hedge.New(hedge.After(500*time.Millisecond), hedge.WithBudget(budget), mark)
			return subject{
				layer:     layer,
				meanwhile: meanwhile,
				read: func() string {
					s := layer.Snapshot()
					return fmt.Sprintf("%d %s", s.Running, gained(map[string][2]uint64{
						"H": {0, s.Extra}, "S": {0, s.OverBudget}, "D": {0, s.Discarded}, "P": {0, s.Panics},
					}))
				},
				rest: func() error {
					if s := layer.Snapshot(); s.Running != 0 || s.Left != 0 {
						return fmt.Errorf("at rest: %+v", s)
					}
					return nil
				},
			}
		}
	}
	rich := budget{allows: true}
	late := func() { time.Sleep(600 * time.Millisecond) }
	m := matrix{
		table: `
state         | ok    | error | ignored | panic | Goexit | hang | cancel | timeout | refused | function | hooks
in time       | 0 .   | 0 .   | 0 .     | 0 .   | 0 .    | 2 H  | 0 .    | 0 H     | 0 .     | -        | 0 .
late          | 0 DH  | 0 H   | 0 H     | 0 HP  | 0 H    | 2 H  | 0 H    | 0 H     | 0 H     | 0 .      | 0 H
late, spent   | 0 S   | 0 S   | 0 S     | 0 S   | 0 S    | 1 S  | 0 S    | 0 S     | 0 S     | 0 .      | 0 S
not hedged    | 0 .   | 0 .   | 0 .     | 0 .   | 0 .    | 0 .  | 0 .    | 0 .     | 0 .     | -        | 0 .
`,
		states: map[string]func(outcome) subject{
			"in time":     in(hedge.Idempotent(), rich, nil),
			"late":        in(hedge.Idempotent(), rich, late),
			"late, spent": in(hedge.Idempotent(), budget{}, late),
			"not hedged":  in(hedge.Name("not idempotent"), rich, late),
		},
	}
	m.run(t)
	m.ends(t, byOpen, `
state       | never | success | error | ignored | cancel | late | twice | elsewhere | panic | exit | not called
in time     | 0 .   | 0 .     | 0 .   | 0 .     | 0 .    | 0 .  | 0 .   | 0 .       | 0 .   | 0 .  | 0 .
late        | 0 DH  | 0 DH    | 0 DH  | 0 DH    | 0 DH   | 0 DH | 0 DH  | 0 DH      | 0 DH  | 0 DH | 0 DH
late, spent | 0 S   | 0 S     | 0 S   | 0 S     | 0 S    | 0 S  | 0 S   | 0 S       | 0 S   | 0 S  | 0 S
not hedged  | 0 .   | 0 .     | 0 .   | 0 .     | 0 .    | 0 .  | 0 .   | 0 .       | 0 .   | 0 .  | 0 .
`)
}

// budget always says the same.
type budget struct{ allows, panics bool }

func (b budget) Withdraw() bool {
	if b.panics {
		panic(panicOfFunction)
	}
	return b.allows
}

func (budget) Return()  {}
func (budget) Deposit() {}

// The cells: slots taken afterwards, of all bulkheads that there ever were, and keys. There is a place for one key, and
// another one that is in use takes it where that is said. The function of the user is the one that says the key.
func TestMatrixOfABulkheadPerKey(t *testing.T) {
	in := func(before, meanwhile func(*keyed.Registry[string, *bulkhead.Bulkhead])) func(outcome) subject {
		return func(o outcome) subject {
			var all []*bulkhead.Bulkhead
			registry := keyed.New(func(string) *bulkhead.Bulkhead {
				b := bulkhead.New(1)
				all = append(all, b)
				return b
			}, keyed.Max(1))
			if before != nil {
				before(registry)
			}
			taken := func() (n int) {
				for _, b := range all {
					n += b.Snapshot().InFlight
				}
				return n
			}
			was := taken()
			s := subject{
				layer: keyed.By(func(context.Context) string {
					if o.fails {
						panic(panicOfFunction)
					}
					return "key"
				}, registry),
				read: func() string { return fmt.Sprintf("%d of %d", taken()-was, registry.Len()) },
				rest: func() error {
					if taken() != was {
						return fmt.Errorf("%d slots are taken, and %d were", taken(), was)
					}
					return nil
				},
			}
			if meanwhile != nil {
				s.meanwhile = func() { meanwhile(registry) }
			}
			return s
		}
	}
	use := func(r *keyed.Registry[string, *bulkhead.Bulkhead], key string) {
		if _, _, err := r.Get(key).Admit(context.Background()); err != nil {
			panic(err)
		}
	}
	type registry = *keyed.Registry[string, *bulkhead.Bulkhead]
	m := matrix{
		table: `
state               | ok     | error  | ignored | panic  | Goexit | hang   | cancel | timeout | refused | function | hooks
new key             | 0 of 1 | 0 of 1 | 0 of 1  | 0 of 1 | 0 of 1 | 1 of 1 | 0 of 1 | 0 of 1  | 0 of 1  | 0 of 0   | 0 of 1
known key           | 0 of 1 | 0 of 1 | 0 of 1  | 0 of 1 | 0 of 1 | 1 of 1 | 0 of 1 | 0 of 1  | 0 of 1  | 0 of 1   | 0 of 1
idle key in place   | 0 of 1 | 0 of 1 | 0 of 1  | 0 of 1 | 0 of 1 | 1 of 1 | 0 of 1 | 0 of 1  | 0 of 1  | 0 of 1   | 0 of 1
no place            | 0 of 1 | 0 of 1 | 0 of 1  | 0 of 1 | 0 of 1 | 1 of 1 | 0 of 1 | 0 of 1  | 0 of 1  | 0 of 1   | 0 of 1
deleted meanwhile   | 0 of 0 | 0 of 0 | 0 of 0  | 0 of 0 | 0 of 0 | 1 of 0 | 0 of 0 | 0 of 0  | 0 of 0  | 0 of 0   | 0 of 0
other key meanwhile | 0 of 1 | 0 of 1 | 0 of 1  | 0 of 1 | 0 of 1 | 1 of 1 | 0 of 1 | 0 of 1  | 0 of 1  | 0 of 1   | 0 of 1
`,
		states: map[string]func(outcome) subject{
			"new key":             in(nil, nil),
			"known key":           in(func(r registry) { r.Get("key") }, nil),
			"idle key in place":   in(func(r registry) { r.Get("other") }, nil),
			"no place":            in(func(r registry) { use(r, "other") }, nil),
			"deleted meanwhile":   in(nil, func(r registry) { r.Delete("key") }),
			"other key meanwhile": in(nil, func(r registry) { r.Get("other") }),
		},
	}
	m.run(t)
	same := `
state               | never  | success | error  | ignored | cancel | late   | twice  | elsewhere | panic  | exit   | not called
new key             | 1 of 1 | 0 of 1  | 0 of 1 | 0 of 1  | 0 of 1 | 0 of 1 | 0 of 1 | 0 of 1    | 0 of 1 | 0 of 1 | 0 of 1
known key           | 1 of 1 | 0 of 1  | 0 of 1 | 0 of 1  | 0 of 1 | 0 of 1 | 0 of 1 | 0 of 1    | 0 of 1 | 0 of 1 | 0 of 1
idle key in place   | 1 of 1 | 0 of 1  | 0 of 1 | 0 of 1  | 0 of 1 | 0 of 1 | 0 of 1 | 0 of 1    | 0 of 1 | 0 of 1 | 0 of 1
no place            | 1 of 1 | 0 of 1  | 0 of 1 | 0 of 1  | 0 of 1 | 0 of 1 | 0 of 1 | 0 of 1    | 0 of 1 | 0 of 1 | 0 of 1
deleted meanwhile   | 1 of 0 | 0 of 0  | 0 of 0 | 0 of 0  | 0 of 0 | 0 of 0 | 0 of 0 | 0 of 0    | 0 of 0 | 0 of 0 | 0 of 0
other key meanwhile | 1 of 1 | 0 of 1  | 0 of 1 | 0 of 1  | 0 of 1 | 0 of 1 | 0 of 1 | 0 of 1    | 0 of 1 | 0 of 1 | 0 of 1
`
	m.ends(t, byOpen, same)
	m.ends(t, byAcquire, same)
}

func TestGained(t *testing.T) {
	require.Equal(t, ".", gained(map[string][2]uint64{"A": {1, 1}}))
	require.Equal(t, "AB+2", gained(map[string][2]uint64{"B": {1, 3}, "C": {1, 1}, "A": {0, 1}}))
}
