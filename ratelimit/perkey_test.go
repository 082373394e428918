package ratelimit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/ratelimit"
)

type clientKey struct{}

func client(name string) context.Context {
	return context.WithValue(context.Background(), clientKey{}, name)
}

func clientOf(ctx context.Context) string { name, _ := ctx.Value(clientKey{}).(string); return name }

// allowed takes tokens of a key until there are none.
func allowed(p *ratelimit.PerKey[string], key string) (n int) {
	for p.Allow(key) {
		n++
	}
	return n
}

func TestPerKeyKeepsTheContract(t *testing.T) {
	policytest.Guard(t, func() policy.Guard { return ratelimit.NewPerKey(10, 5, clientOf) })
	policytest.Guard(t, func() policy.Guard { return ratelimit.NewPerKey(10, 300, clientOf) })
	policytest.Guard(t, func() policy.Guard { return ratelimit.NewPerKey(math.Inf(1), 0, clientOf, ratelimit.Shadow()) })
}

func TestPerKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := ratelimit.NewPerKey(2, 3, clientOf, ratelimit.Name("clients"))
		require.Equal(t, `rate limit per key "clients" 2/s burst 3`, p.String())
		require.Equal(t, policy.StageRateLimit, p.Stage())
		require.Equal(t, 3, allowed(p, "a"))
		require.Equal(t, 3, allowed(p, "b"))
		_, _, err := p.Admit(client("a"))
		require.ErrorIs(t, err, ratelimit.ErrLimited)
		require.ErrorIs(t, err, policy.ErrRejected)
		require.Equal(t, "ratelimit.limited", policy.Code(err))
		require.Equal(t, "clients", rejection(t, err).Name)
		wait, ok := policy.RetryAfter(err)
		require.True(t, ok)
		require.Equal(t, 500*time.Millisecond, wait)
		time.Sleep(wait - 1)
		require.Zero(t, allowed(p, "a"))
		time.Sleep(1)
		require.Equal(t, 1, allowed(p, "a"))
		require.False(t, p.Idle())
		time.Sleep(2 * time.Second)
		require.True(t, p.Idle())
		require.Zero(t, p.Snapshot().Keys, "full buckets are forgotten")
		require.NoError(t, resilience.Compose(p).Run(client("a"), func(context.Context) error { return nil }))
		require.Equal(t, 2, allowed(p, "a"))
	})
}

func TestPerKeyForKeysOfManyTypes(t *testing.T) {
	type tenant struct {
		name string
		id   [4]byte
	}
	addresses := ratelimit.NewPerKey[netip.Addr](0, 1, nil)
	tenants := ratelimit.NewPerKey[tenant](0, 1, nil)
	for i := range byte(100) {
		require.True(t, addresses.Allow(netip.AddrFrom4([4]byte{192, 0, 2, i})))
		require.False(t, addresses.Allow(netip.AddrFrom4([4]byte{192, 0, 2, i})))
		require.True(t, tenants.Allow(tenant{"x", [4]byte{i}}))
		require.False(t, tenants.Allow(tenant{strings.Clone("x"), [4]byte{i}}))
	}
	long := ratelimit.NewPerKey[string](0, 1, nil)
	key := strings.Repeat("x", 1<<20)
	require.True(t, long.Allow(key+"a"))
	require.True(t, long.Allow(key+"b"))
	require.False(t, long.Allow(key+"a"))
}

func TestPerKeyCosts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := ratelimit.NewPerKey(1, 5, clientOf, ratelimit.CostOf(costMark))
		for range 10 {
			_, ticket, err := p.Admit(costing(client("a"), 0))
			require.NoError(t, err)
			require.Zero(t, ticket)
		}
		for cost, reason := range map[int]string{-1: "negative", 6: "above the burst", math.MaxInt: "above the burst", math.MinInt: "negative"} {
			_, _, err := p.Admit(costing(client("a"), cost))
			require.ErrorIs(t, err, ratelimit.ErrCost)
			require.ErrorContains(t, err, reason)
			_, ok := policy.RetryAfter(err)
			require.False(t, ok)
		}
		_, _, err := p.Admit(costing(client("a"), 4))
		require.NoError(t, err)
		_, _, err = p.Admit(costing(client("a"), 3))
		wait, _ := policy.RetryAfter(err)
		require.Equal(t, 2*time.Second, wait)
		require.Equal(t, 1, allowed(p, "a"))
	})
}

func TestPerKeyWithoutRateOrLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := ratelimit.NewPerKey(0, 2, clientOf)
		require.Equal(t, 2, allowed(p, "a"))
		time.Sleep(1000 * time.Hour)
		_, _, err := p.Admit(client("a"))
		require.ErrorIs(t, err, ratelimit.ErrExhausted)
		_, ok := policy.RetryAfter(err)
		require.False(t, ok)

		require.NoError(t, p.Reconfigure(math.Inf(1), 0))
		require.Equal(t, "rate limit per key none", p.String())
		for range 1000 {
			require.True(t, p.Allow("a"))
			_, ticket, err := p.Admit(client("a"))
			require.NoError(t, err)
			p.Settle(context.Background(), ticket, neverCalled)
		}
		report, _ := p.ReportOf("a")
		require.True(t, report.Values[0].Unknown)
		require.NoError(t, p.Reconfigure(1e-9, 3))
		require.Equal(t, 3, allowed(p, "a"), "without a limit, buckets are full")
		_, _, err = p.Admit(client("a"))
		wait, ok := policy.RetryAfter(err)
		require.True(t, ok)
		require.InDelta(t, 1e9, wait.Seconds(), 1)
	})
}

func TestFault283_PerKeyARefundMintsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := ratelimit.NewPerKey(10, 5, clientOf)
		ctx, early, err := p.Admit(client("a"))
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.Equal(t, 5, allowed(p, "a"))
		p.Settle(ctx, early, neverCalled)
		require.Zero(t, allowed(p, "a"), "it would have overflowed")
		require.EqualValues(t, 1, p.Snapshot().Returned)

		ctx, taken, err := p.Admit(client("b"))
		require.NoError(t, err)
		require.Equal(t, 4, allowed(p, "b"))
		time.Sleep(25 * time.Millisecond)
		p.Settle(ctx, taken, neverCalled)
		report, _ := p.ReportOf("b")
		require.Equal(t, 1.0, report.Values[0].Number, "a quarter has come in, three quarters went back")
	})
	bubble(t, func(t *testing.T) { // what was taken before a change does not come back
		p := ratelimit.NewPerKey(0, 4, clientOf)
		ctx, taken, err := p.Admit(client("a"))
		require.NoError(t, err)
		require.NoError(t, p.Reconfigure(0, 2))
		require.NoError(t, p.Reconfigure(0, 10))
		p.Settle(ctx, taken, neverCalled)
		require.Equal(t, 3, allowed(p, "a"), "a burst of 2 had no room for it")
	})
	bubble(t, func(t *testing.T) { // every other outcome spends it
		p := ratelimit.NewPerKey(0, 3, clientOf)
		for _, kind := range []policy.Kind{policy.Returned, policy.Panicked, policy.Exited} {
			ctx, ticket, err := p.Admit(client("a"))
			require.NoError(t, err)
			p.Settle(ctx, ticket, policy.Outcome{Kind: kind})
		}
		require.Zero(t, allowed(p, "a"))
		for _, number := range []int64{math.MaxInt64, 1 << 32, math.MinInt64, 0, -1} { // never issued
			p.Settle(context.Background(), policy.Ticket{Period: 1, Number: number}, neverCalled)
		}
		require.Zero(t, allowed(p, "a"))
		require.Equal(t, 3, allowed(p, "b"))
	})
}

// Attempts side by side that were not made lose what came in meanwhile once for each, and never more.
func TestFault283_PerKeyManyRefunds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := ratelimit.NewPerKey(10, 5, clientOf)
		var tickets []policy.Ticket
		for range 5 {
			_, ticket, err := p.Admit(client("a"))
			require.NoError(t, err)
			tickets = append(tickets, ticket)
		}
		time.Sleep(time.Millisecond)
		for _, i := range []int{3, 0, 4, 1, 2} {
			p.Settle(context.Background(), tickets[i], neverCalled)
		}
		report, _ := p.ReportOf("a")
		require.InDelta(t, 5-4*0.01, report.Values[0].Number, 1e-9)
		time.Sleep(4 * time.Millisecond)
		require.Equal(t, 5, allowed(p, "a"))
	})
}

func TestFault123_PerKeyTokenOfAnAttemptThatWasNeverMade(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, full := ratelimit.NewPerKey(10, 5, clientOf), bulkhead.New(1)
		slot, err := policy.Acquire(context.Background(), full)
		require.NoError(t, err)
		defer slot.Done(nil)
		pipeline := resilience.Compose(full, p)
		require.Equal(t, "rate limit per key 10/s burst 5 > bulkhead 1", pipeline.String())
		for range 100 {
			require.ErrorIs(t, pipeline.Run(client("a"), func(context.Context) error { return nil }), bulkhead.ErrFull)
		}
		require.Equal(t, 5, allowed(p, "a"))
	})
}

func TestPerKeyReconfigure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := ratelimit.NewPerKey(10, 5, clientOf, ratelimit.Name("x"), ratelimit.CostOf(costMark))
		require.Equal(t, 5, allowed(p, "a"))
		require.True(t, p.Allow("b"))
		for _, burst := range []int{8, 3} {
			require.NoError(t, p.Reconfigure(10, burst))
			report, _ := p.ReportOf("a")
			require.Zero(t, report.Values[0].Number, "a larger burst mints none, a smaller one takes none")
		}
		report, _ := p.ReportOf("b")
		require.Equal(t, 3.0, report.Values[0].Number, "at most the burst")
		require.Equal(t, 3, allowed(p, "c"))
		time.Sleep(100*time.Millisecond + 10)
		require.Equal(t, 1, allowed(p, "a"))
		for _, perSecond := range []float64{1, 1000, 0, 0.01, 100, 20, 10} { // near and far
			require.NoError(t, p.Reconfigure(perSecond, 3))
			require.Zero(t, allowed(p, "a"))
			if perSecond > 0 {
				time.Sleep(time.Duration(2e9/perSecond) + 10)
				require.Equal(t, 2, allowed(p, "a"), "%v", perSecond)
			}
		}
		_, _, err := p.Admit(costing(client("a"), 4))
		require.ErrorIs(t, err, ratelimit.ErrCost, "the function stays")
		require.EqualError(t, p.Reconfigure(-1, 0, ratelimit.Name("y"), ratelimit.Keys(0)),
			`ratelimit: rate -1 per second: must be 0, from 1e-09 to 1e+09, or math.Inf(1) for no limit; `+
				`burst 0 with a rate of -1 per second: nothing would ever be admitted; `+
				`Name "y": the limiter is "x", and a name cannot be changed; Keys 0: must be from 1 to 1073741824`)
		require.Equal(t, `rate limit per key "x" 10/s burst 3`, p.String())
		time.Sleep(time.Hour)
		require.False(t, p.Idle(), "it was changed by hand")
	})
}

// While keys come and are asked for, rates change a little and a lot, and the room too. Nobody gets more than the most
// generous configuration would grant.
func TestPerKeyReconfigureInUse(t *testing.T) {
	p := ratelimit.NewPerKey(10, 5, clientOf, ratelimit.Keys(20_000))
	begin := time.Now()
	var running sync.WaitGroup
	var granted [16]atomic.Int64
	var modes atomic.Int64 // odd while it is in shadow, where everybody goes ahead
	var stop atomic.Bool
	for g := range 8 {
		running.Go(func() {
			for i := 0; !stop.Load(); i++ {
				mode := modes.Load()
				if p.Allow(fmt.Sprint("hot ", i%len(granted))) && mode%2 == 0 && modes.Load() == mode {
					granted[i%len(granted)].Add(1)
				}
				p.Allow(fmt.Sprint(g, " ", i))
				if ctx, ticket, err := p.Admit(client(fmt.Sprint("other ", i%100))); err == nil {
					p.Settle(ctx, ticket, neverCalled)
				}
			}
		})
	}
	for i := range testsize.Pick(60, 600) {
		rate := []float64{10, 20, 0, 15, 0.001, 10}[i%6]
		require.NoError(t, p.Reconfigure(rate, 1+i%5, ratelimit.Keys([]int{20_000, 100, 30_000}[i%3])))
		_ = p.Snapshot()
		if i%10 == 0 {
			modes.Add(1)
			p.Shadow()
			p.Enforce()
			modes.Add(1)
		}
		runtime.Gosched()
	}
	stop.Store(true)
	running.Wait()
	most := 20*time.Since(begin).Seconds() + 5
	for i := range granted {
		require.LessOrEqual(t, float64(granted[i].Load()), most)
	}
}

// While the configuration changes, nobody is refused who has tokens under each.
func TestPerKeyReconfigureRefusesNobody(t *testing.T) {
	p := ratelimit.NewPerKey(1e8, 1e8, clientOf)
	for i := range 5000 {
		require.True(t, p.Allow(fmt.Sprint("key ", i)))
	}
	var running sync.WaitGroup
	var refused atomic.Int64
	var stop atomic.Bool
	for g := range 4 {
		running.Go(func() {
			for key := fmt.Sprint(g); !stop.Load(); {
				if !p.Allow(key) {
					refused.Add(1)
				}
			}
		})
	}
	for i := range 100 { // all keys move to another table
		require.NoError(t, p.Reconfigure(1e8, 1e8, ratelimit.Keys(10_000*(2+i%2))))
	}
	stop.Store(true)
	running.Wait()
	require.Zero(t, refused.Load())
}

func TestPerKeyShadowIsExact(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		steps := slice(r, rapid.IntRange(0, 1<<20), 150)
		check(r, t, func(fail func(string, ...any)) {
			enforcing := ratelimit.NewPerKey(4, 3, clientOf, ratelimit.CostOf(costMark))
			shadow := ratelimit.NewPerKey(4, 3, clientOf, ratelimit.CostOf(costMark), ratelimit.Shadow())
			type pair struct{ first, second *policy.Permit }
			var open []pair
			for _, s := range steps {
				switch what, value := s%4, s/4; what {
				case 0, 1:
					ctx := costing(client(fmt.Sprint(value%2)), value/2%6-1)
					first, err := policy.Acquire(ctx, enforcing)
					second, refused := policy.Acquire(ctx, shadow)
					if refused != nil {
						fail("refused in shadow: %v", refused)
					}
					if err != nil {
						first = nil
					}
					open = append(open, pair{first, second})
				case 2:
					if len(open) > 0 {
						one := open[value%len(open)]
						one.first.Settle(neverCalled)
						one.second.Settle(neverCalled)
					}
				case 3:
					time.Sleep(time.Duration(value%1000) * time.Millisecond)
				}
				want, got := enforcing.Snapshot(), shadow.Snapshot()
				want.Shadow, want.Rejected, want.ShadowRejected = true, 0, want.Rejected
				if want != got {
					fail("%+v in shadow, but %+v", got, want)
				}
			}
		})
	})
	bubble(t, func(t *testing.T) {
		p := ratelimit.NewPerKey(10, 2, clientOf, ratelimit.Shadow())
		for range 5 {
			require.True(t, p.Allow("a"))
		}
		require.EqualValues(t, 3, p.Snapshot().ShadowRejected)
		time.Sleep(150 * time.Millisecond)
		p.Enforce()
		require.Equal(t, 1, allowed(p, "a"), "it goes on from the shadow's state")
		p.Shadow()
		require.True(t, p.Report().Shadow)
		require.True(t, p.Allow("a"))
		require.False(t, p.Idle())
	})
}

// A limiter that was made outside of a bubble, as a global one is, goes on inside, and the other way round.
func TestFault118_APerKeyMadeOutsideOfABubble(t *testing.T) {
	p := ratelimit.NewPerKey(10, 5, clientOf)
	require.Equal(t, 5, allowed(p, "a"))
	_, early, err := p.Admit(client("b"))
	require.NoError(t, err)
	require.Equal(t, 4, allowed(p, "b"))
	bubble(t, func(t *testing.T) {
		p.Allow("a")
		p.Settle(context.Background(), early, neverCalled)
		require.LessOrEqual(t, allowed(p, "b"), 1)
		n := allowed(p, "a")
		require.LessOrEqual(t, n, 5)
		_, _, err := p.Admit(client("a"))
		wait, ok := policy.RetryAfter(err)
		require.True(t, ok)
		require.LessOrEqual(t, wait, 100*time.Millisecond)
		time.Sleep(wait)
		require.Equal(t, 1, allowed(p, "a"))
		require.NoError(t, p.Reconfigure(20, 5))
		time.Sleep(time.Second)
		require.Equal(t, 5, allowed(p, "a"))
		time.Sleep(100 * 365 * 24 * time.Hour) // for ever and a day
		require.Equal(t, 5, allowed(p, "a"))
		time.Sleep(50 * time.Millisecond)
		require.Equal(t, 1, allowed(p, "a"))
	})
	require.LessOrEqual(t, allowed(p, "a"), 100)
	_, _, err = p.Admit(client("a"))
	wait, ok := policy.RetryAfter(err)
	require.True(t, ok)
	require.LessOrEqual(t, wait, 50*time.Millisecond)

	bubble(t, func(t *testing.T) { // the first that a limiter does by another clock is a change
		p := p
		require.NoError(t, p.Reconfigure(10, 5))
		require.LessOrEqual(t, allowed(p, "a"), 5)
	})
}

// Whose turn it is to notice that the clock is another one: nobody is refused who has tokens, what goes back mints none, and
// the mode stays.
func TestFault118_APerKeyThatIsFirstUsedByAnotherClock(t *testing.T) {
	for name, first := range map[string]func(t *testing.T, p *ratelimit.PerKey[string], taken policy.Ticket){
		"an attempt": func(t *testing.T, p *ratelimit.PerKey[string], _ policy.Ticket) {
			require.True(t, p.Allow("half"), "it has two tokens")
			require.Equal(t, 1, allowed(p, "half"))
		},
		"a refund": func(t *testing.T, p *ratelimit.PerKey[string], taken policy.Ticket) {
			p.Settle(t.Context(), taken, neverCalled)
		},
		"a report": func(t *testing.T, p *ratelimit.PerKey[string], _ policy.Ticket) {
			report, _ := p.ReportOf("empty")
			require.Zero(t, report.Values[0].Number)
		},
		"a mode": func(t *testing.T, p *ratelimit.PerKey[string], _ policy.Ticket) {
			p.Shadow()
			require.True(t, p.Allow("empty"))
			require.True(t, p.Snapshot().Shadow)
			p.Enforce()
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := ratelimit.NewPerKey(10, 5, clientOf)
			var taken policy.Ticket
			bubble(t, func(t *testing.T) {
				time.Sleep(48 * time.Hour)
				require.NoError(t, p.Reconfigure(10, 5))
				var err error
				_, taken, err = p.Admit(client("empty"))
				require.NoError(t, err)
				time.Sleep(time.Second)
				require.Equal(t, 5, allowed(p, "empty"))
				require.Equal(t, 5, allowed(p, "other"))
				for range 3 {
					require.True(t, p.Allow("half"))
				}
			})
			bubble(t, func(t *testing.T) { // which begins two days before
				first(t, p, taken)
				require.Zero(t, allowed(p, "empty"))
				report, _ := p.ReportOf("empty")
				require.Zero(t, report.Values[0].Number)
				time.Sleep(100 * time.Millisecond)
				require.Equal(t, 1, allowed(p, "empty"))
			})
		})
	}
}

// A configuration may be as far from the next one as it gets.
func TestPerKeyReconfigureFarAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := ratelimit.NewPerKey(1, ratelimit.MaxBurst, clientOf, ratelimit.CostOf(costMark))
		_, _, err := p.Admit(costing(client("a"), ratelimit.MaxBurst-16))
		require.NoError(t, err)
		require.NoError(t, p.Reconfigure(ratelimit.MinRate, 1))
		require.Equal(t, 1, allowed(p, "a"), "16 tokens are more than a bucket holds now")

		p = ratelimit.NewPerKey(ratelimit.MinRate, ratelimit.MaxBurst, clientOf, ratelimit.CostOf(costMark))
		_, _, err = p.Admit(costing(client("a"), ratelimit.MaxBurst))
		require.NoError(t, err)
		for cost := 1; cost < 100; cost++ {
			_, _, err := p.Admit(costing(client("a"), cost))
			_, ever := policy.RetryAfter(err)
			require.Equal(t, cost <= 4, ever, "a token takes 32 years, and 146 are for ever")
			require.Equal(t, cost > 4, errors.Is(err, ratelimit.ErrExhausted), cost)
		}
	})
}

// Years after it was made, a limiter that is changed still tells what it holds.
func TestPerKeyReconfigureAfterYears(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := ratelimit.NewPerKey(1, 2, clientOf)
		for range 3 {
			time.Sleep(15 * 365 * 24 * time.Hour)
			require.NoError(t, p.Reconfigure(1, 2))
			require.Equal(t, 2, allowed(p, "a"))
			require.Equal(t, 1, p.Snapshot().Keys)
			report, _ := p.ReportOf("a")
			require.Zero(t, report.Values[0].Number)
		}
	})
}

// Room for more keys is there at once.
func TestPerKeyReconfigureTheRoom(t *testing.T) {
	p := ratelimit.NewPerKey(0, 1, clientOf, ratelimit.Keys(10))
	require.True(t, p.Allow("first"))
	require.NoError(t, p.Reconfigure(0, 1, ratelimit.Keys(5000)))
	for i := range 4999 {
		require.True(t, p.Allow(fmt.Sprint(i)))
	}
	require.False(t, p.Allow("first"))
	s := p.Snapshot()
	require.Equal(t, 5000, s.Keys)
	require.Zero(t, s.Overflowed)
}

func TestPerKeyChangedByHandIsNotIdle(t *testing.T) {
	for name, change := range map[string]func(*ratelimit.PerKey[string]){
		"shadow":  func(p *ratelimit.PerKey[string]) { p.Shadow() },
		"enforce": func(p *ratelimit.PerKey[string]) { p.Enforce() },
	} {
		p := ratelimit.NewPerKey(1, 1, clientOf)
		require.True(t, p.Idle())
		change(p)
		require.False(t, p.Idle(), name)
	}
}

func TestPerKeyValidation(t *testing.T) {
	require.NoError(t, ratelimit.ValidatePerKey(10, 5, clientOf, ratelimit.Name("x"), ratelimit.Keys(1), ratelimit.Shadow()))
	require.NoError(t, ratelimit.ValidatePerKey(10, 5, clientOf, ratelimit.Keys(ratelimit.MaxKeys)))
	for _, test := range []struct {
		err  error
		text string
	}{
		{ratelimit.ValidatePerKey(math.NaN(), 5, clientOf), "rate NaN"},
		{ratelimit.ValidatePerKey(1, -1, clientOf), "burst -1"},
		{ratelimit.ValidatePerKey(1, 1, clientOf, ratelimit.MaxWait(time.Second)), "MaxWait 1s: a limiter per key lets no attempt wait"},
		{ratelimit.ValidatePerKey(1, 1, clientOf, ratelimit.MaxWaiters(7)), "MaxWaiters 7: a limiter per key lets no attempt wait"},
		{ratelimit.ValidatePerKey(1, 1, clientOf, ratelimit.Keys(ratelimit.MaxKeys+1)), "Keys 1073741825: must be from 1 to 1073741824"},
		{ratelimit.ValidatePerKey(1, 1, clientOf, ratelimit.CostOf(nil)), "CostOf: the function is nil"},
		{ratelimit.ValidatePerKey(1, 1, clientOf, nil), "option 1 is nil"},
		{ratelimit.ValidatePerKey[float64](1, 1, nil), "key type float64: contains a floating-point number"},
		{ratelimit.ValidatePerKey[any](1, 1, nil), "key type interface {}: contains an interface"},
		{ratelimit.Validate(1, 1, ratelimit.Keys(5)), "Keys 5: is for NewPerKey; this limiter has one bucket"},
	} {
		require.ErrorContains(t, test.err, test.text)
		require.IsType(t, (*policy.ConfigError)(nil), test.err)
	}
	require.PanicsWithError(t, ratelimit.ValidatePerKey(1, 0, clientOf).Error(), func() { ratelimit.NewPerKey(1, 0, clientOf) })
	var zero ratelimit.PerKey[string]
	for name, use := range map[string]func(){
		"Allow": func() { zero.Allow("") }, "Admit": func() { _, _, _ = zero.Admit(context.Background()) },
		"Settle": func() { zero.Settle(context.Background(), policy.Ticket{}, neverCalled) }, "Report": func() { zero.Report() },
		"ReportOf": func() { zero.ReportOf("") }, "ReportFor": func() { zero.ReportFor(context.Background()) },
		"Check": func() { _ = zero.Check(nil, nil) }, "Snapshot": func() { zero.Snapshot() }, "String": func() { _ = zero.String() },
		"Shadow": zero.Shadow, "Enforce": zero.Enforce, "Idle": func() { zero.Idle() }, "Reconfigure": func() { _ = zero.Reconfigure(1, 1) },
	} {
		require.PanicsWithValue(t, "ratelimit: a PerKey must be made with NewPerKey", use, name)
	}
}

// A limiter without a function for keys is for Allow, and fails as a guard before there is an attempt.
func TestPerKeyWithoutAFunction(t *testing.T) {
	keyless := ratelimit.NewPerKey[string](0, 1, nil)
	require.Equal(t, 1, allowed(keyless, "a"))
	err := resilience.Validate(keyless)
	require.ErrorContains(t, err, "NewPerKey: the function for keys is nil; without it the limiter can only be asked with Allow")
	require.IsType(t, (*policy.ConfigError)(nil), err)
	require.PanicsWithValue(t, "ratelimit: a PerKey without a function for keys is no guard",
		func() { _, _, _ = keyless.Admit(context.Background()) })
	_, ok := keyless.ReportFor(client("a"))
	require.False(t, ok)

	require.NoError(t, resilience.Validate(ratelimit.NewPerKey(0, 1, clientOf)))
	made := 0
	require.ErrorContains(t, resilience.Validate(keyed.By(clientOf, keyed.New(func(string) *ratelimit.PerKey[string] {
		made++
		return ratelimit.NewPerKey[string](0, 1, nil)
	}))), "the function for keys is nil")
	require.Equal(t, 1, made)
}

func TestPerKeyReport(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := ratelimit.NewPerKey(2, 5, clientOf, ratelimit.Name("mail"), ratelimit.Keys(500), ratelimit.CostOf(costMark))
		for range 6 {
			_, _, _ = p.Admit(client("a"))
		}
		ctx, ticket, err := p.Admit(client("b"))
		require.NoError(t, err)
		p.Settle(ctx, ticket, neverCalled)
		r := p.Report()
		require.Equal(t, "rate limiter per key", r.Kind)
		require.Equal(t, []policy.Setting{
			{Name: "New", Args: []policy.Argument{{Name: "perSecond", Value: 2.0}, {Name: "burst", Value: 5}}},
			{Name: "Name", Args: []policy.Argument{{Name: "name", Value: "mail"}}},
			{Name: "Keys", Args: []policy.Argument{{Name: "n", Value: 500}}},
			{Name: "CostOf", Code: true},
		}, r.Settings)
		require.Equal(t, []policy.Value{
			{Name: "keys", Unit: policy.UnitCount, Kind: policy.Gauge, Number: 1, Limit: 500},
			{Name: "overflow_share", Unit: policy.UnitRatio, Kind: policy.Gauge, Limit: 1},
			{Name: "overflowed", Unit: policy.UnitCount, Kind: policy.Counter},
			{Name: "returned", Unit: policy.UnitCount, Kind: policy.Counter, Number: 1},
			{Name: "rejected", Unit: policy.UnitCount, Kind: policy.Counter, Number: 1},
			{Name: "shadow_rejected", Unit: policy.UnitCount, Kind: policy.Counter},
		}, r.Values)
		one, ok := p.ReportOf("a")
		require.True(t, ok)
		same, ok := p.ReportFor(client("a"))
		require.True(t, ok)
		require.Equal(t, one, same)
		_, ok = p.ReportFor(costing(client("a"), 0))
		require.False(t, ok, "for what costs nothing there is no limit")
		_, ok = ratelimit.NewPerKey(2, 5, clientOf).ReportFor(client("a"))
		require.True(t, ok)
		require.Equal(t, []policy.Value{{Name: "tokens", Unit: policy.UnitCount, Kind: policy.Gauge, Limit: 5}}, one.Values)
		text, err := json.Marshal(p.Snapshot())
		require.NoError(t, err)
		require.JSONEq(t, `{"name":"mail","per_second":2,"burst":5,"shadow":false,"keys":1,"max_keys":500,"overflow_share":0,
			"overflowed":0,"returned":1,"rejected":1,"shadow_rejected":0}`, string(text))
		text, err = json.Marshal(ratelimit.NewPerKey(math.Inf(1), 0, clientOf).Snapshot())
		require.NoError(t, err)
		require.Contains(t, string(text), `"per_second":null`)
		require.Contains(t, p.Snapshot().LogValue().String(), "max_keys=500")
	})
}

// Each attempt of a key that finds no room is counted once.
func TestPerKeyCountsWhatOverflows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := ratelimit.NewPerKey(1, 3, clientOf, ratelimit.Keys(1))
		const keys = 2_000
		for i := range keys {
			p.Allow(fmt.Sprint(i))
		}
		s := p.Snapshot()
		require.EqualValues(t, keys-s.Keys, s.Overflowed)
		require.Equal(t, 1.0, s.OverflowShare)
	})
}

func TestPerKeyAllocations(t *testing.T) {
	ctx := client("a")
	p := ratelimit.NewPerKey(1, ratelimit.MaxBurst/4, clientOf)
	empty := ratelimit.NewPerKey(0, 1, clientOf)
	require.True(t, empty.Allow("a"))
	addr := ratelimit.NewPerKey[netip.Addr](1, ratelimit.MaxBurst/4, nil)
	for name, test := range map[string]struct {
		run    func()
		allocs float64
	}{
		"allow":               {func() { p.Allow("a") }, 0},
		"allow an address":    {func() { addr.Allow(netip.IPv6Loopback()) }, 0},
		"allow, refused":      {func() { empty.Allow("a") }, 0},
		"do":                  {func() { _, _ = resilience.Do(ctx, p, nothing) }, 0},
		"admit and give back": {func() { ctx, ticket, _ := p.Admit(ctx); p.Settle(ctx, ticket, neverCalled) }, 0},
		"refused":             {func() { _, _, _ = empty.Admit(ctx) }, 1},
	} {
		require.LessOrEqual(t, testing.AllocsPerRun(100, test.run), test.allocs, name)
	}
}

// A flood of new keys: memory stays within the bound, who is exhausted stays so, and the others share what is left.
func TestFault188_PerKeyInAFloodOfKeys(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const room = 2_000
		p := ratelimit.NewPerKey(1, 2, clientOf, ratelimit.Keys(room))
		require.Equal(t, 2, allowed(p, "victim"))
		total := 0
		for i := range testsize.Pick(50_000, 1_000_000) {
			total += allowed(p, fmt.Sprint("new ", i))
			require.False(t, i%1000 == 0 && p.Allow("victim"))
		}
		s := p.Snapshot()
		require.GreaterOrEqual(t, s.Keys, room)
		require.LessOrEqual(t, s.Keys, 3*room)
		require.Equal(t, 1.0, s.OverflowShare)
		require.Positive(t, s.Overflowed)
		require.LessOrEqual(t, total, 2*(3*room+3*room/3), "what has room, and each overflow bucket")
		require.False(t, p.Allow("victim"))
		time.Sleep(2 * time.Second)
		require.Equal(t, 2, allowed(p, "victim"))
		require.Equal(t, 2, allowed(p, "new 1"), "after the flood")
	})
}

// What a key takes, beside the key itself.
func TestPerKeyMemory(t *testing.T) {
	if raced {
		t.Skip("the race detector has memory of its own")
	}
	for _, count := range testsize.Pick([]int{1000, 100_000}, []int{1000, 100_000, 1_000_000}) {
		keys := make([]string, count)
		for i := range keys {
			keys[i] = fmt.Sprintf("tenant-%07d", i)
		}
		p := ratelimit.NewPerKey[string](1e-6, 10, nil, ratelimit.Keys(count))
		for _, key := range keys {
			p.Allow(key)
		}
		require.Equal(t, count, p.Snapshot().Keys)
		require.Zero(t, p.Snapshot().Overflowed)
		with := heapBytes()
		runtime.KeepAlive(p)
		p = nil
		bytes := float64(with-heapBytes()) / float64(count)
		runtime.KeepAlive(keys)
		require.Greater(t, bytes, 20.0)
		t.Logf("%d keys: %.1f B for each", count, bytes)
		require.LessOrEqual(t, bytes, 60.0)
		require.False(t, count == 1_000_000 && bytes > 40)
	}
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func TestFault051_APerKeyHasNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which would not end
		p := ratelimit.NewPerKey(1, 1, clientOf)
		for i := range 1000 {
			p.Allow(fmt.Sprint(i))
		}
	})
}
