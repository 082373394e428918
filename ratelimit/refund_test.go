package ratelimit_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

func TestFault123_TokenOfAnAttemptThatWasNeverMade(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, full := ratelimit.New(10, 5), bulkhead.New(1)
		slot, err := policy.Acquire(context.Background(), full)
		require.NoError(t, err)
		defer slot.Done(nil)
		p := resilience.Compose(full, l)
		require.Equal(t, "rate limit 10/s burst 5 > bulkhead 1", p.String())
		for range 100 {
			err := p.Run(context.Background(), func(context.Context) error { return nil })
			require.ErrorIs(t, err, bulkhead.ErrFull)
		}
		require.Equal(t, ratelimit.Snapshot{PerSecond: 10, Burst: 5, Tokens: 5, Admitted: 100, Returned: 100}, l.Snapshot())
		permit, err := policy.Acquire(context.Background(), l)
		require.NoError(t, err)
		time.Sleep(time.Millisecond)
		require.True(t, permit.Settle(neverCalled))
		require.Equal(t, 5, drain(t, l))
	})
}

func TestFault122_123_ReturnInAnyOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		order := rapid.Permutation(sequence(100)).Draw(r, "order")
		gap := time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(r, "gap"))
		check(r, t, func(fail func(string, ...any)) {
			l := ratelimit.New(0, 100)
			permits := make([]*policy.Permit, 100)
			for i := range permits {
				permits[i], _ = policy.Acquire(context.Background(), l)
			}
			for n, i := range order {
				time.Sleep(gap)
				permits[i].Settle(neverCalled)
				if tokens := l.Snapshot().Tokens; tokens != float64(n+1) {
					fail("%v tokens after %d came back", tokens, n+1)
				}
			}
		})
	})
}

// A token that goes back counts as one that comes in: that is the whole difference it makes to the window bound.
func TestFault117_123_WindowBoundWithReturns(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		const perSecond = 10.0
		burst := rapid.IntRange(1, 8).Draw(r, "burst")
		steps := slice(r, rapid.IntRange(0, 1000), 200)
		check(r, t, func(fail func(string, ...any)) {
			l := ratelimit.New(perSecond, burst)
			type event struct {
				at    time.Duration
				taken float64 // -1: given back
			}
			var events []event
			var open []*policy.Permit
			start := time.Now()
			for _, s := range steps {
				switch {
				case s%4 == 0:
					time.Sleep(time.Duration(s) * time.Millisecond)
				case s%4 == 1 && len(open) > 0:
					i := s % len(open)
					open[i].Settle(neverCalled)
					open = append(open[:i], open[i+1:]...)
					events = append(events, event{time.Since(start), -1})
				default:
					if permit, err := policy.Acquire(context.Background(), l); err == nil {
						open = append(open, permit)
						events = append(events, event{time.Since(start), 1})
					}
				}
			}
			for i := range events {
				net := 0.0
				for j := i; j < len(events); j++ {
					net += events[j].taken
					window := (events[j].at - events[i].at).Seconds()
					if net > float64(burst)+perSecond*window+1e-9 {
						fail("%v more taken than given back within %vs", net, window)
					}
				}
			}
		})
	})
}

func TestFault123_ATokenThatComesBackServesWhoWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.Every(time.Minute, 1, ratelimit.MaxWait(time.Hour))
		permit, err := policy.Acquire(context.Background(), l)
		require.NoError(t, err)
		start := time.Now()
		time.AfterFunc(time.Second, func() { permit.Settle(neverCalled) })
		require.True(t, admitted(t, l))
		require.Equal(t, time.Second, time.Since(start))
		require.True(t, admitted(t, l))
		require.Equal(t, 61*time.Second, time.Since(start), "what had come in meanwhile overflowed")
	})
}

func TestFault123_GrantedAndCancelledGoesToTheNext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.Every(time.Second, 1, ratelimit.MaxWait(time.Hour))
		permit, err := policy.Acquire(context.Background(), l)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { _, err := policy.Acquire(ctx, l); first <- err }()
		synctest.Wait()
		go func() { _, err := policy.Acquire(context.Background(), l); second <- err }()
		synctest.Wait()
		start := time.Now()
		permit.Settle(neverCalled) // grants the first, which cannot run before
		cancel()                   // its context has ended
		require.ErrorIs(t, <-first, context.Canceled)
		require.NoError(t, <-second)
		require.Zero(t, time.Since(start))
	})
}

// A ticket that Admit never issued takes no token, whatever the size of an int.
func TestFault123_ATicketThatWasNeverIssued(t *testing.T) {
	l := ratelimit.New(0, 10)
	for _, slot := range []int64{math.MaxInt64, 1 << 32, math.MinInt64, 0, -1} {
		l.Settle(context.Background(), policy.Ticket{Number: slot}, neverCalled)
		require.EqualValues(t, 10, l.Snapshot().Tokens)
	}
}

// Who was admitted because there was no limit for a while has taken nothing, and gives nothing back.
func TestFault123_WithoutALimitNothingComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.New(1, 10, ratelimit.MaxWait(time.Hour), ratelimit.CostOf(costMark))
		_, _, err := l.Admit(costing(t.Context(), 10))
		require.NoError(t, err)
		var waited policy.Ticket
		go func() { _, waited, err = l.Admit(costing(t.Context(), 8)) }()
		synctest.Wait()
		require.NoError(t, setRate(l, math.Inf(1)))
		synctest.Wait()
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.NoError(t, setRate(l, 0))
		_, _, err = l.Admit(costing(t.Context(), 10))
		require.NoError(t, err)
		l.Settle(t.Context(), waited, policy.Outcome{Kind: policy.NotCalled})
		require.Zero(t, l.Snapshot().Tokens)

		require.NoError(t, setRate(l, 1))
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _, _ = l.Admit(costing(ctx, 8)) }()
		synctest.Wait()
		require.NoError(t, setRate(l, math.Inf(1)))
		require.NoError(t, setRate(l, 0))
		cancel() // at once: whether the waiter has seen that it was granted or not
		synctest.Wait()
		require.Zero(t, l.Snapshot().Tokens)
		require.Zero(t, l.Snapshot().Returned)
	})
}

func TestTokensThatWereNotTakenDoNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := ratelimit.New(math.Inf(1), 100)
		var permits []*policy.Permit
		for range 100 {
			permit, err := policy.Acquire(t.Context(), limit)
			require.NoError(t, err)
			permits = append(permits, permit)
		}
		require.NoError(t, setRate(limit, 1e-9))
		admitted := func() (n int) {
			for {
				if _, _, err := limit.Admit(t.Context()); err != nil {
					return n
				}
				n++
			}
		}
		require.Equal(t, 100, admitted())
		for _, permit := range permits {
			require.True(t, permit.Settle(policy.Outcome{Kind: policy.NotCalled}))
		}
		require.Zero(t, admitted())
	})
}

// A token that goes back is worth what would be there had it never been taken.
func TestFault283_ARefundMintsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(10, 5)
		early := acquire(t, l, 1)
		time.Sleep(time.Second)
		require.Equal(t, 5, drain(t, l))
		early.Settle(neverCalled)
		require.Zero(t, l.Snapshot().Tokens, "it would have overflowed")
		require.EqualValues(t, 1, l.Snapshot().Returned)
	})
	bubble(t, func(t *testing.T) { // nearly full in between
		l := ratelimit.New(1, 4, ratelimit.CostOf(costMark))
		early := acquire(t, l, 3)
		time.Sleep(2250 * time.Millisecond)
		late := acquire(t, l, 3)
		require.Equal(t, 0.25, l.Snapshot().Tokens)
		early.Settle(neverCalled)
		require.Equal(t, 1.0, l.Snapshot().Tokens, "three quarters were missing")
		late.Settle(neverCalled)
		require.Equal(t, 4.0, l.Snapshot().Tokens, "as if neither had been")
	})
	bubble(t, func(t *testing.T) { // the same through the burst
		l := ratelimit.New(0, 4, ratelimit.CostOf(costMark))
		early := acquire(t, l, 3)
		require.NoError(t, l.Reconfigure(0, 2))
		require.NoError(t, l.Reconfigure(0, 10))
		early.Settle(neverCalled)
		require.Equal(t, 2.0, l.Snapshot().Tokens, "a burst of 2 had room for one more")
	})
	bubble(t, func(t *testing.T) { // full when the burst grew
		l := ratelimit.New(1, 4)
		early := acquire(t, l, 1)
		time.Sleep(time.Second)
		require.NoError(t, l.Reconfigure(1, 10))
		early.Settle(neverCalled)
		require.Equal(t, 4.0, l.Snapshot().Tokens, "it would have overflowed")
	})
	bubble(t, func(t *testing.T) { // full when the burst shrank, whatever is taken afterwards
		l := ratelimit.New(0, 4)
		early := acquire(t, l, 1)
		require.NoError(t, l.Reconfigure(0, 2))
		require.Equal(t, 2, drain(t, l))
		early.Settle(neverCalled)
		require.Zero(t, l.Snapshot().Tokens, "a burst of 2 was full")
	})
}

// Also when many attempts come at nearly the same time, and none of them is made.
func TestFault123_ManyTokensComeBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(0.01, 100)
		var permits []*policy.Permit
		for range 100 {
			permits = append(permits, acquire(t, l, 1))
			time.Sleep(time.Millisecond)
		}
		for i := range permits {
			permits[i*37%100].Settle(neverCalled)
		}
		require.InDelta(t, 100, l.Snapshot().Tokens, 0.01)
	})
}

// Attempts that were never made do not matter: in every window, those that were are at most burst + rate·window.
func TestFault283_WindowBoundOfTheAttemptsThatWereMade(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		perSecond := rapid.SampledFrom([]float64{1, 3, 7.7, 100}).Draw(r, "rate")
		burst := rapid.IntRange(1, 6).Draw(r, "burst")
		steps := slice(r, rapid.IntRange(0, 1<<20), 200)
		check(r, t, func(fail func(string, ...any)) {
			l := ratelimit.New(perSecond, burst)
			type attempt struct {
				permit *policy.Permit
				at     time.Duration
			}
			var open []attempt
			refunded := make(map[*policy.Permit]bool)
			var all []attempt
			start := time.Now()
			for _, s := range steps {
				switch what, value := s%4, s/4; {
				case what == 0:
					time.Sleep(time.Duration(float64(value%2000) / 500 / perSecond * 1e9))
				case what == 1 && len(open) > 0:
					i := value % len(open)
					open[i].permit.Settle(neverCalled)
					refunded[open[i].permit] = true
					open = append(open[:i], open[i+1:]...)
				default:
					if permit, err := policy.Acquire(context.Background(), l); err == nil {
						open = append(open, attempt{permit, time.Since(start)})
						all = append(all, open[len(open)-1])
					}
				}
			}
			var made []time.Duration
			for _, a := range all {
				if !refunded[a.permit] {
					made = append(made, a.at)
				}
			}
			checkWindows(fail, made, perSecond, burst)
		})
	})
}
