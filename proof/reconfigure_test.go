package proof

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
)

const (
	callers      = 16
	mostBurst    = 100
	mostProbes   = 3
	mostInFlight = 32
)

// changing is a pipeline all of whose policies change while it runs, within bounds in which nothing needs to be refused.
type changing struct {
	retrier  *retry.Retrier
	budget   *retry.Budget
	throttle *throttle.Throttle
	breaker  *breaker.Breaker
	limiter  *ratelimit.Limiter
	slots    *bulkhead.Bulkhead
	hedge    *hedge.Hedge
	attempt  *timeout.Timeout
	pipeline *resilience.Pipeline

	began    time.Time
	entered  teller
	running  atomic.Int64 // weight
	problems atomic.Pointer[string]
}

func (c *changing) options() (random func(least, most int) int, r []retry.Option, t []throttle.Option, b []breaker.Option,
	l []ratelimit.Option, s []bulkhead.Option, h []hedge.Option) {
	random = func(least, most int) int { return least + rand.IntN(most-least+1) }
	r = []retry.Option{retry.Attempts(random(8, 12)), retry.Constant(time.Duration(random(1, 50)) * time.Microsecond)}
	t = []throttle.Option{throttle.K(2 + rand.Float64()), throttle.Window(time.Duration(random(10, 20))*time.Second, random(4, 8)),
		throttle.Padding(random(5, 20))}
	b = []breaker.Option{breaker.FailureRate(0.5+0.5*rand.Float64(), random(20, 50)), breaker.OpenFor(time.Millisecond), breaker.ProbeLease(10 * time.Second),
		breaker.Probes(random(1, mostProbes)), breaker.Successes(random(1, 3)), breaker.FailedProbes(random(0, 2))}
	switch random(0, 2) {
	case 0:
		b = append(b, breaker.CountWindow(random(50, 200)))
	case 1:
		b = append(b, breaker.TimeWindow(time.Duration(random(4000, 8000))*time.Millisecond, random(2, 20)))
	}
	l = []ratelimit.Option{ratelimit.MaxWait(time.Duration(random(10, 20)) * time.Second)}
	s = []bulkhead.Option{bulkhead.Queue(random(1000, 2000), time.Duration(random(10, 20))*time.Second)}
	h = []hedge.Option{hedge.Extra(random(1, 2)), hedge.Idempotent(), hedge.MaxRunning(random(100, 1000))}
	if random(0, 1) == 0 {
		h = append(h, hedge.After(time.Duration(random(100, 2000))*time.Microsecond))
	} else {
		h = append(h, hedge.Quantile(0.5+rand.Float64()*0.4))
	}
	return random, r, t, b, l, s, h
}

func newChanging() *changing {
	c := &changing{budget: retry.NewBudget(1, 1e6), attempt: timeout.PerAttempt(2 * time.Second), began: time.Now()}
	_, r, t, b, l, s, h := c.options()
	c.retrier = retry.New(append(r, retry.WithBudget(c.budget))...)
	c.throttle = throttle.New(t...)
	for range 1000 { // it may refuse when the first attempts of all fail by chance, as one in 32 does: let it know better ones
		if err := resilience.Run(context.Background(), c.throttle, func(context.Context) error { return nil }); err != nil {
			panic(err)
		}
	}
	c.breaker = breaker.New(b...)
	c.limiter = ratelimit.New(1e6, mostBurst, l...)
	c.slots = bulkhead.New(mostInFlight, append(s, bulkhead.WeightOf(weigh))...)
	c.hedge = hedge.New(append(h, hedge.WithBudget(c.budget))...)
	c.pipeline = resilience.Compose(c.retrier, c.throttle, c.breaker, c.limiter, c.slots, &c.entered, c.hedge, c.attempt)
	return c
}

// teller is a guard that counts the attempts that were entered, however often they were hedged.
type teller struct{ atomic.Int64 }

func (*teller) Stage() policy.Stage { return policy.StageBulkhead + 1 }

func (*teller) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, nil
}

func (t *teller) Settle(_ context.Context, _ policy.Ticket, outcome policy.Outcome) {
	if outcome.Kind != policy.NotCalled {
		t.Add(1)
	}
}

// change changes all policies.
func (c *changing) change() error {
	random, r, t, b, l, s, h := c.options()
	return errors.Join(
		c.retrier.Reconfigure(r...),
		c.budget.Reconfigure(0.5+rand.Float64(), 1e6),
		c.throttle.Reconfigure(t...),
		c.breaker.Reconfigure(b...),
		c.limiter.Reconfigure(float64(random(100_000, 1_000_000)), random(2, mostBurst), l...),
		c.slots.Reconfigure(random(2, mostInFlight), s...),
		c.hedge.Reconfigure(h...),
		c.attempt.Reconfigure(time.Duration(random(1000, 2000))*time.Millisecond),
	)
}

func (c *changing) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.problems.CompareAndSwap(nil, &text)
}

// check is what holds at every moment.
func (c *changing) check() {
	if s := c.breaker.Snapshot(); s.Requests != s.Successes+s.Failures+s.Neutral+s.Stale+s.InFlight || s.Probes > mostProbes {
		c.problem("the breaker is out of order: %+v", s)
	}
	if s := c.slots.Snapshot(); s.InFlight < 0 || s.InFlight > mostInFlight || s.PeakInFlight > mostInFlight {
		c.problem("the bulkhead holds too much: %+v", s)
	}
	s := c.limiter.Snapshot()
	if s.Tokens < 0 || s.Tokens > float64(s.Burst) {
		c.problem("the limiter holds %v tokens of %d", s.Tokens, s.Burst)
	}
	if most := mostBurst + 1e6*time.Since(c.began).Seconds(); float64(s.Admitted-s.Returned) > most {
		c.problem("the limiter admitted %d, more than %.0f", s.Admitted-s.Returned, most)
	}
	if s := c.budget.Snapshot(); s.Tokens < 0 || s.Tokens > s.Limit+1e-6 {
		c.problem("the budget holds %v tokens of %v", s.Tokens, s.Limit)
	}
	if s := c.throttle.Snapshot(); s.Requests < 0 || s.Accepts < 0 || s.Probability < 0 || s.Probability >= 1 {
		c.problem("the throttle is out of order: %+v", s)
	}
}

// call makes one call, open or not, of which one attempt in 32 fails.
func (c *changing) call() error {
	weight := 1 + rand.IntN(2)
	ctx := context.WithValue(context.Background(), weighted{}, weight)
	op := func(ctx context.Context) (int, error) {
		switch rand.IntN(32) {
		case 0:
			return 0, errDown
		case 1:
			time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
		case 2:
			runtime.Gosched()
		}
		return weight, nil
	}
	if rand.IntN(3) > 0 {
		_, err := resilience.Do(ctx, c.pipeline, op)
		return err
	}
	_, permit, err := resilience.Open(ctx, c.pipeline, op)
	if err != nil {
		return err
	}
	if now := c.running.Add(int64(weight)); now > mostInFlight {
		c.problem("%d slots are in use", now)
	}
	if rand.IntN(8) == 0 {
		time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond)
	}
	if err := permit.Context().Err(); err != nil {
		c.problem("the context of an open result: %v", err)
	}
	c.running.Add(-int64(weight))
	if !permit.Done(nil) {
		c.problem("a permit was settled already")
	}
	return nil
}

// Everything changes a hundred times a second, and no call fails because of it. With a breaker that is tripped now and then,
// calls are refused by it, and by nothing else.
func TestReconfigureUnderLoad(t *testing.T) {
	for name, trips := range map[string]bool{"healthy": false, "recovering": true} {
		t.Run(name, func(t *testing.T) {
			c := newChanging()
			ctx, stop := context.WithTimeout(t.Context(), testsize.Pick(time.Second/2, 10*time.Second))
			defer stop()
			var calls, refused, changes atomic.Int64
			var running sync.WaitGroup
			for range callers {
				running.Go(func() {
					for ctx.Err() == nil || calls.Load() <= 100 { // however slow the machine is
						calls.Add(1)
						switch err := c.call(); {
						case err == nil:
						case trips && errors.Is(err, breaker.ErrOpen):
							refused.Add(1)
							time.Sleep(100 * time.Microsecond)
						default:
							c.problem("a call failed: %v (%s)", err, policy.Code(err))
						}
					}
				})
			}
			running.Go(func() {
				every := time.NewTicker(10 * time.Millisecond)
				defer every.Stop()
				for ctx.Err() == nil {
					if err := c.change(); err != nil {
						c.problem("%v", err)
					}
					if changes.Add(1)%7 == 1 && trips {
						c.breaker.Trip()
					}
					c.check()
					<-every.C
				}
			})
			running.Wait()
			for deadline := time.Now().Add(10 * time.Second); c.hedge.Snapshot().Running > 0 && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
			c.check()
			if problem := c.problems.Load(); problem != nil {
				t.Fatal(*problem)
			}
			require.Zero(t, c.slots.Snapshot().InFlight)
			require.Zero(t, c.slots.Snapshot().Waiting)
			require.Zero(t, c.limiter.Snapshot().Waiting)
			require.Zero(t, c.breaker.Snapshot().InFlight)
			require.Zero(t, c.hedge.Snapshot().Running)
			l := c.limiter.Snapshot()
			require.EqualValues(t, c.entered.Load(), l.Admitted-l.Returned, "tokens and attempts")
			require.Greater(t, calls.Load(), int64(100))
			require.Equal(t, trips, c.breaker.Snapshot().Changes > 0)
			t.Logf("%d calls, %d refused by the breaker, %d times everything changed", calls.Load(), refused.Load(), changes.Load())
		})
	}
}
