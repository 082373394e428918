package proof

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
)

// The cells: slots taken afterwards, of the limit; R refused, W let through only in shadow. The function of the user is WeightOf, which panics before anything is
// taken.
func TestMatrixOfTheBulkhead(t *testing.T) {
	fixed := func(options ...bulkhead.Option) *bulkhead.Bulkhead { return bulkhead.New(2, options...) }
	adaptive := func(options ...bulkhead.Option) *bulkhead.Bulkhead {
		return bulkhead.Adaptive(bulkhead.Vegas(), 2, 2, options...)
	}
	in := func(make func(...bulkhead.Option) *bulkhead.Bulkhead, others int, before, meanwhile func(*bulkhead.Bulkhead), options ...bulkhead.Option) func(outcome) subject {
		return func(o outcome) subject {
			started := false
			options := append(options, bulkhead.WeightOf(func(context.Context) int {
				if o.fails && started {
					panic(panicOfFunction)
				}
				return 1
			}))
			b := make(options...)
			var held []*policy.Permit
			for range others {
				permit, err := policy.Acquire(context.Background(), b)
				if err != nil {
					panic(err)
				}
				held = append(held, permit)
			}
			if before != nil {
				before(b)
			}
			started = true
			was := b.Snapshot()
			s := subject{layer: b}
			s.meanwhile = func() {
				if meanwhile != nil {
					meanwhile(b)
				}
				if b.Snapshot().Waiting > 0 { // the one before it leaves
					held[0].Done(nil)
					held = held[1:]
				}
			}
			s.read = func() string {
				is := b.Snapshot()
				text := fmt.Sprintf("%d of %d", is.InFlight, is.Limit)
				switch {
				case is.Rejected > was.Rejected:
					return "R " + text
				case is.ShadowRejected > was.ShadowRejected:
					return "W " + text
				}
				return text
			}
			s.rest = func() error {
				is := b.Snapshot()
				if is.InFlight != len(held) || is.Waiting != 0 {
					return fmt.Errorf("%d in flight and %d waiting, want %d and none", is.InFlight, is.Waiting, len(held))
				}
				return nil
			}
			return s
		}
	}
	resize := func(limit int, options ...bulkhead.Option) func(*bulkhead.Bulkhead) {
		return func(b *bulkhead.Bulkhead) {
			if err := b.Reconfigure(limit, options...); err != nil {
				panic(err)
			}
		}
	}
	queue := bulkhead.Queue(1, time.Minute)
	m := matrix{
		table: `
state            | ok     | error  | ignored | panic  | Goexit | hang   | cancel | timeout | refused | function | hooks
free             | 0 of 2 | 0 of 2 | 0 of 2  | 0 of 2 | 0 of 2 | 1 of 2 | 0 of 2 | 0 of 2  | 0 of 2  | 0 of 2   | 0 of 2
last slot        | 1 of 2 | 1 of 2 | 1 of 2  | 1 of 2 | 1 of 2 | 2 of 2 | 1 of 2 | 1 of 2  | 1 of 2  | 1 of 2   | 1 of 2
full             | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | - | R 2 of 2
waits            | 1 of 2 | 1 of 2 | 1 of 2  | 1 of 2 | 1 of 2 | 2 of 2 | 1 of 2 | 1 of 2  | 1 of 2  | 2 of 2   | 1 of 2
above the limit  | R 2 of 1 | R 2 of 1 | R 2 of 1 | R 2 of 1 | R 2 of 1 | R 2 of 1 | R 2 of 1 | R 2 of 1 | R 2 of 1 | - | R 2 of 1
shrunk meanwhile | 1 of 1 | 1 of 1 | 1 of 1  | 1 of 1 | 1 of 1 | 2 of 1 | 1 of 1 | 1 of 1  | 1 of 1  | 1 of 1   | 1 of 1
grown meanwhile  | 1 of 9 | 1 of 9 | 1 of 9  | 1 of 9 | 1 of 9 | 2 of 9 | 1 of 9 | 1 of 9  | 1 of 9  | 1 of 9   | 1 of 9
waits, grown     | 2 of 9 | 2 of 9 | 2 of 9  | 2 of 9 | 2 of 9 | 3 of 9 | 2 of 9 | 2 of 9  | 2 of 9  | 2 of 9   | 2 of 9
shadow, free     | 0 of 2 | 0 of 2 | 0 of 2  | 0 of 2 | 0 of 2 | 1 of 2 | 0 of 2 | 0 of 2  | 0 of 2  | 0 of 2   | 0 of 2
shadow, full     | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | 2 of 2 | W 2 of 2
shadow meanwhile | 1 of 2 | 1 of 2 | 1 of 2  | 1 of 2 | 1 of 2 | 2 of 2 | 1 of 2 | 1 of 2  | 1 of 2  | 1 of 2   | 1 of 2
shadow, enforced | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | 2 of 2 | W 2 of 2
adaptive, free   | 0 of 2 | 0 of 2 | 0 of 2  | 0 of 2 | 0 of 2 | 1 of 2 | 0 of 2 | 0 of 2  | 0 of 2  | 0 of 2   | 0 of 2
adaptive, full   | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | - | R 2 of 2
adaptive, waits  | 1 of 2 | 1 of 2 | 1 of 2  | 1 of 2 | 1 of 2 | 2 of 2 | 1 of 2 | 1 of 2  | 1 of 2  | 2 of 2   | 1 of 2
`,
		states: map[string]func(outcome) subject{
			"free":             in(fixed, 0, nil, nil),
			"last slot":        in(fixed, 1, nil, nil),
			"full":             in(fixed, 2, nil, nil),
			"waits":            in(fixed, 2, nil, nil, queue),
			"above the limit":  in(fixed, 2, resize(1), nil),
			"shrunk meanwhile": in(fixed, 1, nil, resize(1)),
			"grown meanwhile":  in(fixed, 1, nil, resize(9)),
			"waits, grown":     in(fixed, 2, nil, resize(9, queue), queue),
			"shadow, free":     in(fixed, 0, nil, nil, bulkhead.Shadow()),
			"shadow, full":     in(fixed, 2, nil, nil, bulkhead.Shadow()),
			"shadow meanwhile": in(fixed, 1, nil, (*bulkhead.Bulkhead).Shadow),
			"shadow, enforced": in(fixed, 2, (*bulkhead.Bulkhead).Shadow, (*bulkhead.Bulkhead).Enforce),
			"adaptive, free":   in(adaptive, 0, nil, nil),
			"adaptive, full":   in(adaptive, 2, nil, nil),
			"adaptive, waits":  in(adaptive, 2, nil, nil, queue),
		},
	}
	m.run(t)
	same := `
state            | never    | success  | error    | ignored  | cancel   | late     | twice    | elsewhere | panic    | exit     | not called
free             | 1 of 2   | 0 of 2   | 0 of 2   | 0 of 2   | 0 of 2   | 0 of 2   | 0 of 2   | 0 of 2    | 0 of 2   | 0 of 2   | 0 of 2
last slot        | 2 of 2   | 1 of 2   | 1 of 2   | 1 of 2   | 1 of 2   | 1 of 2   | 1 of 2   | 1 of 2    | 1 of 2   | 1 of 2   | 1 of 2
full             | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2  | R 2 of 2 | R 2 of 2 | R 2 of 2
waits            | 2 of 2   | 1 of 2   | 1 of 2   | 1 of 2   | 1 of 2   | 1 of 2   | 1 of 2   | 1 of 2    | 1 of 2   | 1 of 2   | 1 of 2
above the limit  | R 2 of 1 | R 2 of 1 | R 2 of 1 | R 2 of 1 | R 2 of 1 | R 2 of 1 | R 2 of 1 | R 2 of 1  | R 2 of 1 | R 2 of 1 | R 2 of 1
shrunk meanwhile | 2 of 1   | 1 of 1   | 1 of 1   | 1 of 1   | 1 of 1   | 1 of 1   | 1 of 1   | 1 of 1    | 1 of 1   | 1 of 1   | 1 of 1
grown meanwhile  | 2 of 9   | 1 of 9   | 1 of 9   | 1 of 9   | 1 of 9   | 1 of 9   | 1 of 9   | 1 of 9    | 1 of 9   | 1 of 9   | 1 of 9
waits, grown     | 3 of 9   | 2 of 9   | 2 of 9   | 2 of 9   | 2 of 9   | 2 of 9   | 2 of 9   | 2 of 9    | 2 of 9   | 2 of 9   | 2 of 9
shadow, free     | 1 of 2   | 0 of 2   | 0 of 2   | 0 of 2   | 0 of 2   | 0 of 2   | 0 of 2   | 0 of 2    | 0 of 2   | 0 of 2   | 0 of 2
shadow, full     | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2  | W 2 of 2 | W 2 of 2 | W 2 of 2
shadow meanwhile | 2 of 2   | 1 of 2   | 1 of 2   | 1 of 2   | 1 of 2   | 1 of 2   | 1 of 2   | 1 of 2    | 1 of 2   | 1 of 2   | 1 of 2
shadow, enforced | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2 | W 2 of 2  | W 2 of 2 | W 2 of 2 | W 2 of 2
adaptive, free   | 1 of 2   | 0 of 2   | 0 of 2   | 0 of 2   | 0 of 2   | 0 of 2   | 0 of 2   | 0 of 2    | 0 of 2   | 0 of 2   | 0 of 2
adaptive, full   | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2 | R 2 of 2  | R 2 of 2 | R 2 of 2 | R 2 of 2
adaptive, waits  | 2 of 2   | 1 of 2   | 1 of 2   | 1 of 2   | 1 of 2   | 1 of 2   | 1 of 2   | 1 of 2    | 1 of 2   | 1 of 2   | 1 of 2
`
	m.ends(t, byOpen, same)
	m.ends(t, byAcquire, same)
}

// The cells: tokens afterwards; R refused, W let through only in shadow. A token is spent however the operation ends, and comes back when it was never entered.
// The rate is so low that nothing comes in by itself. The function of the user is CostOf, which panics before anything is
// taken.
func TestMatrixOfTheRateLimit(t *testing.T) {
	in := func(perSecond float64, burst, spent int, meanwhile func(*ratelimit.Limiter), options ...ratelimit.Option) func(outcome) subject {
		return func(o outcome) subject {
			started := false
			options := append(options, ratelimit.CostOf(func(context.Context) int {
				if o.fails && started {
					panic(panicOfFunction)
				}
				return 1
			}))
			l := ratelimit.New(perSecond, burst, options...)
			for range spent {
				if _, _, err := l.Admit(context.Background()); err != nil {
					panic(err)
				}
			}
			started = true
			was := l.Snapshot()
			return subject{
				layer: l,
				meanwhile: func() {
					if meanwhile != nil {
						meanwhile(l)
					}
				},
				read: func() string {
					is := l.Snapshot()
					text := fmt.Sprint(math.Round(is.Tokens))
					switch {
					case is.Rejected > was.Rejected:
						return "R " + text
					case is.ShadowRejected > was.ShadowRejected:
						return "W " + text
					}
					return text
				},
				rest: func() error {
					is := l.Snapshot()
					if is.Waiting != 0 || is.Tokens > float64(is.Burst) || is.Returned > is.Admitted {
						return fmt.Errorf("out of order: %+v", is)
					}
					return nil
				},
			}
		}
	}
	patient := ratelimit.MaxWait(10_000_000 * time.Second)
	// The wait for a token must be over when the attempt is looked at: one comes in at the largest rate meanwhile.
	opened := func(l *ratelimit.Limiter) {
		if err := l.Reconfigure(ratelimit.MaxRate, 1, patient); err != nil {
			panic(err)
		}
		time.Sleep(1)
		synctest.Wait() // the attempt has its token, and is inside
		if err := l.Reconfigure(1e-6, 1, patient); err != nil {
			panic(err)
		}
	}
	smaller := func(l *ratelimit.Limiter) {
		if err := l.Reconfigure(1e-6, 2); err != nil {
			panic(err)
		}
	}
	m := matrix{
		table: `
state            | ok  | error | ignored | panic | Goexit | hang | cancel | timeout | refused | function | hooks
full             | 4   | 4     | 4       | 4     | 4      | 4    | 4      | 4       | 5       | 5        | 4
last token       | 0   | 0     | 0       | 0     | 0      | 0    | 0      | 0       | 1       | 1        | 0
empty            | R 0 | R 0   | R 0     | R 0   | R 0    | R 0  | R 0    | R 0     | R 0     | -        | R 0
empty, no rate   | R 0 | R 0   | R 0     | R 0   | R 0    | R 0  | R 0    | R 0     | R 0     | -        | R 0
no rate          | 4   | 4     | 4       | 4     | 4      | 4    | 4      | 4       | 5       | 5        | 4
waits            | 0   | 0     | 0       | 0     | 0      | 0    | 0      | 0       | 1       | -        | 0
shrunk meanwhile | 2   | 2     | 2       | 2     | 2      | 2    | 2      | 2       | 2       | 2        | 2
shadow, full     | 4   | 4     | 4       | 4     | 4      | 4    | 4      | 4       | 5       | 5        | 4
shadow, last     | 0   | 0     | 0       | 0     | 0      | 0    | 0      | 0       | 1       | 1        | 0
shadow, empty    | W 0 | W 0   | W 0     | W 0   | W 0    | W 0  | W 0    | W 0     | W 0     | 0        | W 0
shadow meanwhile | 4   | 4     | 4       | 4     | 4      | 4    | 4      | 4       | 5       | 5        | 4
shadow, enforced | W 0 | W 0   | W 0     | W 0   | W 0    | W 0  | W 0    | W 0     | W 0     | 0        | W 0
`,
		states: map[string]func(outcome) subject{
			"full":             in(1e-6, 5, 0, nil),
			"last token":       in(1e-6, 5, 4, nil),
			"empty":            in(1e-6, 5, 5, nil),
			"empty, no rate":   in(0, 5, 5, nil),
			"no rate":          in(0, 5, 0, nil),
			"waits":            in(1e-6, 1, 1, opened, patient),
			"shrunk meanwhile": in(1e-6, 5, 0, smaller),
			"shadow, full":     in(1e-6, 5, 0, nil, ratelimit.Shadow()),
			"shadow, last":     in(1e-6, 5, 4, nil, ratelimit.Shadow()),
			"shadow, empty":    in(1e-6, 5, 5, nil, ratelimit.Shadow()),
			"shadow meanwhile": in(1e-6, 5, 0, (*ratelimit.Limiter).Shadow),
			"shadow, enforced": in(1e-6, 5, 5, (*ratelimit.Limiter).Enforce, ratelimit.Shadow()),
		},
	}
	m.run(t)
	same := `
state            | never | success | error | ignored | cancel | late | twice | elsewhere | panic | exit | not called
full             | 4     | 4       | 4     | 4       | 4      | 4    | 4     | 4         | 4     | 4    | 5
last token       | 0     | 0       | 0     | 0       | 0      | 0    | 0     | 0         | 0     | 0    | 1
empty            | R 0   | R 0     | R 0   | R 0     | R 0    | R 0  | R 0   | R 0       | R 0   | R 0  | R 0
empty, no rate   | R 0   | R 0     | R 0   | R 0     | R 0    | R 0  | R 0   | R 0       | R 0   | R 0  | R 0
no rate          | 4     | 4       | 4     | 4       | 4      | 4    | 4     | 4         | 4     | 4    | 5
waits            | 0     | 0       | 0     | 0       | 0      | 0    | 0     | 0         | 0     | 0    | 1
shrunk meanwhile | 2     | 2       | 2     | 2       | 2      | 2    | 2     | 2         | 2     | 2    | 2
shadow, full     | 4     | 4       | 4     | 4       | 4      | 4    | 4     | 4         | 4     | 4    | 5
shadow, last     | 0     | 0       | 0     | 0       | 0      | 0    | 0     | 0         | 0     | 0    | 1
shadow, empty    | W 0   | W 0     | W 0   | W 0     | W 0    | W 0  | W 0   | W 0       | W 0   | W 0  | W 0
shadow meanwhile | 4     | 4       | 4     | 4       | 4      | 4    | 4     | 4         | 4     | 4    | 5
shadow, enforced | W 0   | W 0     | W 0   | W 0     | W 0    | W 0  | W 0   | W 0       | W 0   | W 0  | W 0
`
	m.ends(t, byAcquire, same)
	// An operation that was called has used its token, whatever its permit is settled with.
	m.ends(t, byOpen, strings.NewReplacer("| 5\n", "| 4\n", "| 1\n", "| 0\n").Replace(same))
}

// The cells: whether the timeout says that it has expired. The limit is 1.5 s, above that of the attempt timeout further in.
func TestMatrixOfTheTimeouts(t *testing.T) {
	const limit = 1500 * time.Millisecond
	in := func(make func() *timeout.Timeout, meanwhile func()) func(outcome) subject {
		return func(outcome) subject {
			guard := make()
			return subject{
				layer:     guard,
				meanwhile: meanwhile,
				read:      func() string { return fmt.Sprint(guard.Snapshot().Expired) },
				rest:      func() error { return nil },
			}
		}
	}
	total := func() *timeout.Timeout { return timeout.Total(limit) }
	attempt := func() *timeout.Timeout { return timeout.PerAttempt(limit) }
	latency := func() *timeout.Timeout { return timeout.FromLatency(0.9, 2, time.Millisecond, limit) } // knows none yet
	over := func() { time.Sleep(1600 * time.Millisecond) }
	m := matrix{
		table: `
state         | ok | error | ignored | panic | Goexit | hang | cancel | timeout | refused | function | hooks
total, runs   | 0  | 0     | 0       | 0     | 0      | 0    | 0      | 0       | 0       | -        | 0
total, over   | 0  | 1     | 1       | 1     | 1      | 0    | -      | -       | 1       | -        | 1
attempt, runs | 0  | 0     | 0       | 0     | 0      | 0    | 0      | 0       | 0       | -        | 0
attempt, over | 0  | 1     | 1       | 1     | 1      | 0    | -      | -       | 1       | -        | 1
latency, runs | 0  | 0     | 0       | 0     | 0      | 0    | 0      | 0       | 0       | -        | 0
latency, over | 0  | 1     | 1       | 1     | 1      | 0    | -      | -       | 1       | -        | 1
`,
		states: map[string]func(outcome) subject{
			"total, runs":   in(total, nil),
			"total, over":   in(total, over),
			"attempt, runs": in(attempt, nil),
			"attempt, over": in(attempt, over),
			"latency, runs": in(latency, nil),
			"latency, over": in(latency, over),
		},
		opened: map[string]string{"total, over/ok": "1"}, // it bounds the use of the result too
	}
	m.run(t)
	m.ends(t, byOpen, `
state         | never | success | error | ignored | cancel | late | twice | elsewhere | panic | exit | not called
total, runs   | 0     | 0       | 0     | 0       | 0      | 0    | 0     | 0         | 0     | 0    | 0
total, over   | 0     | 1       | 1     | 1       | 1      | 1    | 1     | 1         | 1     | 1    | 1
attempt, runs | 0     | 0       | 0     | 0       | 0      | 0    | 0     | 0         | 0     | 0    | 0
attempt, over | 0     | 0       | 0     | 0       | 0      | 0    | 0     | 0         | 0     | 0    | 0
latency, runs | 0     | 0       | 0     | 0       | 0      | 0    | 0     | 0         | 0     | 0    | 0
latency, over | 0     | 0       | 0     | 0       | 0      | 0    | 0     | 0         | 0     | 0    | 0
`)
	m.ends(t, byAcquire, `
state         | never | success | error | ignored | cancel | late | twice | elsewhere | panic | exit | not called
total, runs   | 0     | 0       | 0     | 0       | 0      | 0    | 0     | 0         | 0     | 0    | 0
total, over   | 0     | 0       | 1     | 1       | 1      | 0    | 0     | 1         | 1     | 1    | 1
attempt, runs | 0     | 0       | 0     | 0       | 0      | 0    | 0     | 0         | 0     | 0    | 0
attempt, over | 0     | 0       | 1     | 1       | 1      | 0    | 0     | 1         | 1     | 1    | 1
latency, runs | 0     | 0       | 0     | 0       | 0      | 0    | 0     | 0         | 0     | 0    | 0
latency, over | 0     | 0       | 1     | 1       | 1      | 0    | 0     | 1         | 1     | 1    | 1
`)
}

// The cells: attempts in the window, of which accepted; R refused, W let through only in shadow. A neutral outcome is as if the attempt had not been made; one that hangs for
// seconds is a request that was not accepted.
func TestMatrixOfTheThrottle(t *testing.T) {
	in := func(failures int, then luck, options ...throttle.Option) func(outcome) subject {
		return func(o outcome) subject {
			luck := luck(math.MaxUint64)
			guard := throttle.New(append(options, throttle.Rand(&luck), throttle.Classify(func(err error) policy.Class {
				switch {
				case errors.Is(err, errUnclear):
					panic(panicOfFunction)
				case errors.Is(err, errIgnored):
					return policy.Ignored
				}
				return policy.Transient
			}))...)
			for range failures {
				_, ticket, err := guard.Admit(context.Background())
				if err != nil {
					panic(err)
				}
				guard.Settle(context.Background(), ticket, policy.Outcome{Kind: policy.Returned, Err: errDown})
			}
			luck = then
			was := guard.Snapshot()
			var check func(*testing.T, error, any, bool)
			if o.fails && was.Shadow && then == 0 { // what only a shadow lets through is not judged
				check = returns(errUnclear)
			}
			return subject{
				layer: guard,
				check: check,
				read: func() string {
					is := guard.Snapshot()
					text := fmt.Sprintf("%d/%d", is.Requests-was.Requests, is.Accepts-was.Accepts)
					switch {
					case is.Rejected > was.Rejected:
						return "R " + text
					case is.ShadowRejected > was.ShadowRejected:
						return "W " + text
					}
					return text
				},
				rest: func() error {
					if is := guard.Snapshot(); is.Accepts > is.Requests || is.Probability < 0 || is.Probability >= 1 {
						return fmt.Errorf("out of order: %+v", is)
					}
					return nil
				},
			}
		}
	}
	m := matrix{
		table: `
state        | ok    | error | ignored | panic | Goexit | hang  | cancel | timeout | refused | function | hooks
healthy      | 1/1   | 1/0   | 0/0     | 1/0   | 1/0    | 1/0   | 0/0    | 1/0     | 0/0     | 1/0      | 1/0
down, lucky  | 1/1   | 1/0   | 0/0     | 1/0   | 1/0    | 1/0   | 0/0    | 1/0     | 0/0     | 1/0      | 1/0
down         | R 1/0 | R 1/0 | R 1/0   | R 1/0 | R 1/0  | R 1/0 | R 1/0  | R 1/0   | R 1/0   | R 1/0    | R 1/0
shadow       | 1/1   | 1/0   | 0/0     | 1/0   | 1/0    | 1/0   | 0/0    | 1/0     | 0/0     | 1/0      | 1/0
shadow, down | W 1/0 | W 1/0 | W 1/0   | W 1/0 | W 1/0  | W 1/0 | W 1/0  | W 1/0   | W 1/0   | W 1/0    | W 1/0
`,
		states: map[string]func(outcome) subject{
			"healthy":      in(0, 0),
			"down, lucky":  in(20, math.MaxUint64),
			"down":         in(20, 0),
			"shadow":       in(20, math.MaxUint64, throttle.Shadow()),
			"shadow, down": in(20, 0, throttle.Shadow()),
		},
	}
	m.run(t)
	m.ends(t, byOpen, `
state        | never | success | error | ignored | cancel | late  | twice | elsewhere | panic | exit  | not called
healthy      | 1/1   | 1/1     | 2/1   | 1/1     | 1/1    | 1/1   | 1/1   | 2/1       | 2/1   | 2/1   | 1/1
down, lucky  | 1/1   | 1/1     | 2/1   | 1/1     | 1/1    | 1/1   | 1/1   | 2/1       | 2/1   | 2/1   | 1/1
down         | R 1/0 | R 1/0   | R 1/0 | R 1/0   | R 1/0  | R 1/0 | R 1/0 | R 1/0     | R 1/0 | R 1/0 | R 1/0
shadow       | 1/1   | 1/1     | 2/1   | 1/1     | 1/1    | 1/1   | 1/1   | 2/1       | 2/1   | 2/1   | 1/1
shadow, down | W 1/0 | W 1/0   | W 1/0 | W 1/0   | W 1/0  | W 1/0 | W 1/0 | W 1/0     | W 1/0 | W 1/0 | W 1/0
`)
	m.ends(t, byAcquire, `
state        | never | success | error | ignored | cancel | late  | twice | elsewhere | panic | exit  | not called
healthy      | 1/0   | 1/1     | 1/0   | 0/0     | 0/0    | 1/1   | 1/1   | 1/0       | 1/0   | 1/0   | 0/0
down, lucky  | 1/0   | 1/1     | 1/0   | 0/0     | 0/0    | 1/1   | 1/1   | 1/0       | 1/0   | 1/0   | 0/0
down         | R 1/0 | R 1/0   | R 1/0 | R 1/0   | R 1/0  | R 1/0 | R 1/0 | R 1/0     | R 1/0 | R 1/0 | R 1/0
shadow       | 1/0   | 1/1     | 1/0   | 0/0     | 0/0    | 1/1   | 1/1   | 1/0       | 1/0   | 1/0   | 0/0
shadow, down | W 1/0 | W 1/0   | W 1/0 | W 1/0   | W 1/0  | W 1/0 | W 1/0 | W 1/0     | W 1/0 | W 1/0 | W 1/0
`)
}

// luck is a source of chance that always says the same.
type luck uint64

func (l *luck) Uint64() uint64 { return uint64(*l) }

var _ rand.Source = (*luck)(nil)
