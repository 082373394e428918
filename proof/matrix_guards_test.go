package proof

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
)

// The cells: slots taken afterwards, of the limit. The function of the user is WeightOf, which panics before anything is
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
				if is.Rejected > was.Rejected {
					return "R " + text
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
	resize := func(limit int) func(*bulkhead.Bulkhead) {
		return func(b *bulkhead.Bulkhead) {
			if err := b.Resize(limit); err != nil {
				panic(err)
			}
		}
	}
	queue := bulkhead.Queue(1, time.Minute)
	matrix{
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
			"waits, grown":     in(fixed, 2, nil, resize(9), queue),
			"adaptive, free":   in(adaptive, 0, nil, nil),
			"adaptive, full":   in(adaptive, 2, nil, nil),
			"adaptive, waits":  in(adaptive, 2, nil, nil, queue),
		},
	}.run(t)
}

// The cells: tokens afterwards. A token is spent however the operation ends, and comes back when it was never entered.
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
					if is.Rejected > was.Rejected {
						return "R " + text
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
	// The wait for a token must be over when the attempt is looked at: one comes in at the largest rate meanwhile.
	opened := func(l *ratelimit.Limiter) {
		if err := l.SetRate(ratelimit.MaxRate); err != nil {
			panic(err)
		}
		time.Sleep(1)
		synctest.Wait() // the attempt has its token, and is inside
		if err := l.SetRate(1e-6); err != nil {
			panic(err)
		}
	}
	smaller := func(l *ratelimit.Limiter) {
		if err := l.SetBurst(2); err != nil {
			panic(err)
		}
	}
	matrix{
		table: `
state            | ok  | error | ignored | panic | Goexit | hang | cancel | timeout | refused | function | hooks
full             | 4   | 4     | 4       | 4     | 4      | 4    | 4      | 4       | 5       | 5        | 4
last token       | 0   | 0     | 0       | 0     | 0      | 0    | 0      | 0       | 1       | 1        | 0
empty            | R 0 | R 0   | R 0     | R 0   | R 0    | R 0  | R 0    | R 0     | R 0     | -        | R 0
empty, no rate   | R 0 | R 0   | R 0     | R 0   | R 0    | R 0  | R 0    | R 0     | R 0     | -        | R 0
no rate          | 4   | 4     | 4       | 4     | 4      | 4    | 4      | 4       | 5       | 5        | 4
waits            | 0   | 0     | 0       | 0     | 0      | 0    | 0      | 0       | 1       | -        | 0
shrunk meanwhile | 2   | 2     | 2       | 2     | 2      | 2    | 2      | 2       | 2       | 2        | 2
`,
		states: map[string]func(outcome) subject{
			"full":             in(1e-6, 5, 0, nil),
			"last token":       in(1e-6, 5, 4, nil),
			"empty":            in(1e-6, 5, 5, nil),
			"empty, no rate":   in(0, 5, 5, nil),
			"no rate":          in(0, 5, 0, nil),
			"waits":            in(1e-6, 1, 1, opened, ratelimit.MaxWait(10_000_000*time.Second)),
			"shrunk meanwhile": in(1e-6, 5, 0, smaller),
		},
	}.run(t)
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
	matrix{
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
	}.run(t)
}

// The cells: attempts in the window, of which accepted. A neutral outcome is as if the attempt had not been made; one that hangs for
// seconds is a request that was not accepted.
func TestMatrixOfTheThrottle(t *testing.T) {
	in := func(failures int, then luck) func(outcome) subject {
		return func(outcome) subject {
			luck := luck(math.MaxUint64)
			guard := throttle.New(throttle.Rand(&luck), throttle.Classify(func(err error) policy.Class {
				switch {
				case errors.Is(err, errUnclear):
					panic(panicOfFunction)
				case errors.Is(err, errIgnored):
					return policy.Ignored
				}
				return policy.Transient
			}))
			for range failures {
				_, ticket, err := guard.Admit(context.Background())
				if err != nil {
					panic(err)
				}
				guard.Settle(context.Background(), ticket, policy.Outcome{Kind: policy.Returned, Err: errDown})
			}
			luck = then
			was := guard.Snapshot()
			return subject{
				layer: guard,
				read: func() string {
					is := guard.Snapshot()
					text := fmt.Sprintf("%d/%d", is.Requests-was.Requests, is.Accepts-was.Accepts)
					if is.Refused > was.Refused {
						return "R " + text
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
	matrix{
		table: `
state        | ok    | error | ignored | panic | Goexit | hang  | cancel | timeout | refused | function | hooks
healthy      | 1/1   | 1/0   | 0/0     | 1/0   | 1/0    | 1/0   | 0/0    | 1/0     | 0/0     | 1/0      | 1/0
down, lucky  | 1/1   | 1/0   | 0/0     | 1/0   | 1/0    | 1/0   | 0/0    | 1/0     | 0/0     | 1/0      | 1/0
down         | R 1/0 | R 1/0 | R 1/0   | R 1/0 | R 1/0  | R 1/0 | R 1/0  | R 1/0   | R 1/0   | R 1/0    | R 1/0
`,
		states: map[string]func(outcome) subject{
			"healthy":     in(0, 0),
			"down, lucky": in(20, math.MaxUint64),
			"down":        in(20, 0),
		},
	}.run(t)
}

// luck is a source of chance that always says the same.
type luck uint64

func (l *luck) Uint64() uint64 { return uint64(*l) }

var _ rand.Source = (*luck)(nil)
