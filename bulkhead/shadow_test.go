package bulkhead_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
)

// common returns what an enforcing bulkhead and its shadow have in common.
func common(s bulkhead.Snapshot) bulkhead.Snapshot {
	s.Rejected, s.ShadowRejected, s.Shadow = s.Rejected+s.ShadowRejected, 0, false
	return s
}

// Without a queue, shadow mode counts exactly what an enforcing twin counts on the same attempts, also when the limit and
// the mode change meanwhile.
func TestShadowCountsAsItsTwin(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		limit := rapid.IntRange(1, 4).Draw(r, "limit")
		enforcing := bulkhead.New(limit, bulkhead.WeightOf(weightMark))
		shadow := bulkhead.New(limit, bulkhead.WeightOf(weightMark), bulkhead.Shadow())
		type attempt struct{ enforced, shadowed *policy.Permit }
		var inside []attempt
		for i, s := range slice(r, rapid.Custom(drawStep), 60) {
			switch s.what {
			case "arrive", "cancel":
				ctx := context.WithValue(context.Background(), weightKey{}, s.weight)
				enforced, err := policy.Acquire(ctx, enforcing)
				shadowed, refused := policy.Acquire(ctx, shadow)
				if refused != nil {
					r.Fatalf("step %d: shadow mode refuses: %v", i, refused)
				}
				if err != nil && !errors.Is(err, bulkhead.ErrFull) {
					r.Fatal(err)
				}
				inside = append(inside, attempt{enforced, shadowed})
			case "end":
				if len(inside) > 0 {
					at := s.pick % len(inside)
					inside[at].enforced.Done(nil)
					inside[at].shadowed.Done(nil)
					inside = append(inside[:at], inside[at+1:]...)
				}
			case "resize":
				for _, err := range []error{enforcing.Reconfigure(s.weight), shadow.Reconfigure(s.weight, bulkhead.Shadow())} {
					if err != nil {
						r.Fatal(err)
					}
				}
			}
			if e, s := enforcing.Snapshot(), shadow.Snapshot(); common(e) != common(s) || s.Rejected != 0 {
				r.Fatalf("step %d: enforcing %+v, shadow %+v", i, e, s)
			}
		}
		shadow.Enforce() // goes on from what was counted
		for range 5 {
			enforced, err := policy.Acquire(context.Background(), enforcing)
			shadowed, refused := policy.Acquire(context.Background(), shadow)
			if (err == nil) != (refused == nil) {
				r.Fatalf("enforcing %v, enforcing again %v", err, refused)
			}
			inside = append(inside, attempt{enforced, shadowed})
		}
		for _, a := range inside {
			a.enforced.Done(nil)
			a.shadowed.Done(nil)
		}
		if s := shadow.Snapshot(); s.InFlight != 0 || s.Waiting != 0 {
			r.Fatalf("%+v", s)
		}
	})
}

// With a queue, a place is held until a slot is free, the wait is over, or the attempt ends.
func TestShadowEstimatesAQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(1, bulkhead.Queue(2, time.Second), bulkhead.Shadow())
		start := time.Now()
		first, second, third, fourth := acquire(t, b), acquire(t, b), acquire(t, b), acquire(t, b)
		require.Zero(t, time.Since(start), "none waits")
		require.Equal(t, bulkhead.Snapshot{Limit: 1, InFlight: 1, PeakInFlight: 1, Waiting: 2, PeakWaiting: 2, Waited: 2, ShadowRejected: 1, Shadow: true}, b.Snapshot())
		first.Done(nil) // the second would be inside now
		require.Equal(t, 1, b.Snapshot().InFlight)
		require.Equal(t, 1, b.Snapshot().Waiting)
		time.Sleep(time.Second - 1)
		require.Equal(t, 1, b.Snapshot().Waiting)
		time.Sleep(1) // the third would have waited too long
		require.Equal(t, bulkhead.Snapshot{Limit: 1, InFlight: 1, PeakInFlight: 1, PeakWaiting: 2, Waited: 2, TimedOut: 1, ShadowRejected: 2, Shadow: true}, b.Snapshot())
		third.Done(nil)
		fourth.Done(nil)
		require.Equal(t, 1, b.Snapshot().InFlight, "neither holds a slot")
		hurried, err := policy.Acquire(policy.NoWait(context.Background()), b)
		require.NoError(t, err)
		require.Equal(t, uint64(3), b.Snapshot().ShadowRejected, "it would not have waited")
		fifth := acquire(t, b)
		require.Equal(t, 1, b.Snapshot().Waiting)
		fifth.Done(nil)
		require.Zero(t, b.Snapshot().Waiting, "it has ended")
		second.Done(nil)
		hurried.Done(nil)
		require.True(t, b.Idle())
		b.Enforce()
		require.Equal(t, 1, free(t, b))
	})
}

// An attempt at the head of the queue that would have waited too long makes room for those behind it, whose waits are
// judged by that moment and not by when somebody looks.
func TestShadowAdmitsBehindAHeavyOneThatIsOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(2, bulkhead.Queue(3, time.Second), bulkhead.WeightOf(weightMark), bulkhead.Shadow())
		heavy := context.WithValue(context.Background(), weightKey{}, 2)
		first := acquire(t, b)
		second, err := policy.Acquire(heavy, b)
		require.NoError(t, err)
		third := acquire(t, b)
		require.Equal(t, 2, b.Snapshot().Waiting)
		time.Sleep(time.Minute)
		s := b.Snapshot()
		require.Equal(t, 2, s.InFlight, "the first and the third")
		require.Zero(t, s.Waiting)
		require.Equal(t, uint64(1), s.ShadowRejected, "the second")
		for _, permit := range []*policy.Permit{first, second, third} {
			permit.Done(nil)
		}
		require.Zero(t, b.Snapshot().InFlight)
	})
}

func TestShadowLetsThoseThroughThatWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(1, bulkhead.Queue(2, time.Minute))
		holder := acquire(t, b)
		permits := make(chan *policy.Permit, 2)
		for range 2 {
			go func() {
				permit, err := policy.Acquire(context.Background(), b)
				if err != nil {
					t.Error(err)
				}
				permits <- permit
			}()
			synctest.Wait()
		}
		b.Shadow()
		synctest.Wait()
		require.Len(t, permits, 2)
		require.True(t, b.Report().Shadow)
		require.Equal(t, 2, b.Snapshot().Waiting, "counted as if they waited")
		holder.Done(nil)
		require.Equal(t, 1, b.Snapshot().InFlight, "one of them has a slot now")
		b.Enforce()
		require.Zero(t, b.Snapshot().Waiting)
		_, err := policy.Acquire(policy.NoWait(context.Background()), b)
		require.ErrorIs(t, err, bulkhead.ErrFull)
		for range 2 {
			(<-permits).Done(nil)
		}
		require.Equal(t, 1, free(t, b))
		require.False(t, b.Idle(), "the mode was set by hand")
	})
}

// An attempt that waits when shadow mode begins goes on waiting as a shadow for as long as it would have, whatever queue the new
// configuration has.
func TestShadowsWaitAsLongAsTheyWouldHave(t *testing.T) {
	for name, begin := range map[string]func(*bulkhead.Bulkhead) error{
		"by Shadow":      func(b *bulkhead.Bulkhead) error { b.Shadow(); return nil },
		"by Reconfigure": func(b *bulkhead.Bulkhead) error { return b.Reconfigure(1, bulkhead.Shadow()) },
		"to a long queue": func(b *bulkhead.Bulkhead) error {
			return b.Reconfigure(1, bulkhead.Shadow(), bulkhead.Queue(1, time.Hour))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := bulkhead.New(1, bulkhead.Queue(1, time.Minute))
				defer acquire(t, b).Done(nil)
				let := make(chan *policy.Permit)
				go func() { let <- acquire(t, b) }()
				time.Sleep(20 * time.Second)
				require.NoError(t, begin(b))
				defer (<-let).Done(nil)
				time.Sleep(40*time.Second - 1)
				require.Equal(t, 1, b.Snapshot().Waiting)
				require.Zero(t, b.Snapshot().ShadowRejected)
				time.Sleep(1)
				require.Zero(t, b.Snapshot().Waiting)
				require.EqualValues(t, 1, b.Snapshot().ShadowRejected)
			})
		})
	}
}

// Slots of a higher limit are for those that wait, also if shadow mode begins with it, without a queue.
func TestAHigherLimitInShadow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(1, bulkhead.Queue(1, time.Minute))
		defer acquire(t, b).Done(nil)
		let := make(chan *policy.Permit)
		go func() { let <- acquire(t, b) }()
		synctest.Wait()
		require.NoError(t, b.Reconfigure(2, bulkhead.Shadow()))
		require.Equal(t, 2, b.Snapshot().InFlight)
		require.Zero(t, b.Snapshot().ShadowRejected)
		(<-let).Done(nil)
	})
}

func TestShadowAndDrain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(1, bulkhead.Shadow())
		inside, outside := acquire(t, b), acquire(t, b)
		drained := make(chan error, 1)
		go func() { drained <- b.Drain(context.Background()) }()
		synctest.Wait()
		_, err := policy.Acquire(context.Background(), b)
		require.ErrorIs(t, err, bulkhead.ErrDraining)
		inside.Done(nil)
		synctest.Wait()
		require.Empty(t, drained, "one without a slot is still running")
		outside.Done(nil)
		require.NoError(t, <-drained)
	})
}

func TestShadowOfAnAdaptiveBulkhead(t *testing.T) {
	b := bulkhead.Adaptive(bulkhead.Vegas(), 1, 2)
	require.PanicsWithError(t, "bulkhead: Shadow: an adaptive limit learns from what it limits, and has no shadow mode", b.Shadow)
	b.Enforce()
	require.False(t, b.Snapshot().Shadow)
	require.True(t, b.Idle())
}

func TestShadowSettledTwice(t *testing.T) {
	b := bulkhead.New(1, bulkhead.Shadow())
	defer acquire(t, b).Done(nil)
	ctx, ticket, err := b.Admit(context.Background())
	require.NoError(t, err)
	b.Settle(ctx, ticket, returned(nil))
	require.Panics(t, func() { b.Settle(ctx, ticket, returned(nil)) })
	require.Equal(t, 1, b.Snapshot().InFlight)
}

// An attempt that is settled twice takes the slot of another one: here that of a shadow that has got its slot. Whoever then finds
// no slot to give back says so, and the limit stays.
func TestFault135_TheSlotOfAShadowIsGivenBackByAnother(t *testing.T) {
	b := bulkhead.New(1, bulkhead.Shadow(), bulkhead.Queue(1, time.Hour))
	ctx, ticket, err := b.Admit(context.Background())
	require.NoError(t, err)
	shadow := acquire(t, b)
	b.Settle(ctx, ticket, returned(nil)) // which gives the slot to the shadow
	require.Equal(t, 1, b.Snapshot().InFlight)
	b.Settle(ctx, ticket, returned(nil))
	require.Panics(t, func() { shadow.Done(nil) })
	require.Zero(t, b.Snapshot().InFlight)
	require.Equal(t, 1, b.Snapshot().Limit)
	b.Enforce()
	require.Equal(t, 1, free(t, b))
}

// slowly is a context that says only after the moment that it has ended.
type slowly struct {
	context.Context
	moment chan struct{}
}

func (c slowly) Err() error {
	if c.Context.Err() != nil {
		<-c.moment
	}
	return c.Context.Err()
}

// The same, of an attempt that leaves in the moment in which it gets its slot.
func TestFault135_TheSlotOfOneThatLeavesIsGivenBackByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(1, bulkhead.Queue(1, time.Hour))
		_, ticket, err := b.Admit(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		panicked, moment := make(chan any), make(chan struct{})
		go func() {
			defer func() { panicked <- recover() }()
			_, _, _ = b.Admit(slowly{ctx, moment})
		}()
		synctest.Wait()
		cancel()
		b.Settle(t.Context(), ticket, returned(nil)) // which gives the slot to the one that waits
		b.Settle(t.Context(), ticket, returned(nil))
		close(moment)
		require.NotNil(t, <-panicked)
		require.Equal(t, 1, free(t, b))
	})
}

// The mode, the limit and the queue change under load in real time: nothing is lost, and what enforcement admits never
// exceeds the limit once shadow mode is over.
func TestModesUnderLoad(t *testing.T) {
	b := bulkhead.New(3, bulkhead.Queue(2, 50*time.Microsecond), bulkhead.WeightOf(weightMark))
	var workers sync.WaitGroup
	for seed := range 8 {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(11, uint64(seed)))
			for range rounds(t, 100_000) / 8 {
				ctx, cancel := context.WithCancel(context.WithValue(context.Background(), weightKey{}, 1+random.IntN(3)))
				if random.IntN(4) == 0 {
					time.AfterFunc(time.Duration(random.IntN(50))*time.Microsecond, cancel)
				}
				_, err := resilience.Do(ctx, b, func(context.Context) (int, error) { runtime.Gosched(); return 0, nil })
				if err != nil && !errors.Is(err, bulkhead.ErrFull) && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	stop := make(chan struct{})
	var changer sync.WaitGroup
	changer.Go(func() {
		random := rand.New(rand.NewPCG(12, 0))
		for {
			select {
			case <-stop:
				return
			default:
			}
			switch random.IntN(4) {
			case 0:
				b.Shadow()
			case 1:
				b.Enforce()
			default:
				options := []bulkhead.Option{bulkhead.Queue(1+random.IntN(3), time.Duration(1+random.IntN(100))*time.Microsecond), bulkhead.Shadow()}
				if err := b.Reconfigure(1+random.IntN(4), options[:random.IntN(3)]...); err != nil {
					t.Error(err)
				}
			}
			if s := b.Snapshot(); s.Waiting > 10 || s.InFlight > 4+3 {
				t.Errorf("broken: %+v", s)
			}
			runtime.Gosched()
		}
	})
	workers.Wait()
	close(stop)
	changer.Wait()
	s := b.Snapshot()
	require.Zero(t, s.InFlight, fmt.Sprint(s))
	require.Zero(t, s.Waiting, fmt.Sprint(s))
	require.NoError(t, b.Reconfigure(3))
	require.Equal(t, 3, free(t, b))
}

// An attempt that Shadow lets through may get its slots before it runs on. It is a shadow all the same, and settled as one.
func TestAShadowThatGetsItsSlotsAtOnce(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			b := bulkhead.New(1, bulkhead.Queue(1, time.Minute))
			first, err := policy.Acquire(t.Context(), b)
			require.NoError(t, err)
			let := make(chan *policy.Permit, 1)
			go func() {
				permit, _ := policy.Acquire(t.Context(), b)
				let <- permit
			}()
			synctest.Wait()
			b.Shadow()
			first.Done(nil)
			second := <-let
			require.NotNil(t, second)
			b.Enforce()
			require.True(t, second.Done(nil))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			require.NoError(t, b.Drain(ctx))
			require.Zero(t, b.Snapshot().InFlight)
		})
	}
}
