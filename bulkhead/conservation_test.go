package bulkhead_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
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
	"github.com/go-resilience/resilience/policy"
)

// rounds is how many rounds a stress test makes: RESILIENCE_ROUNDS if that is set, otherwise what is given, and a tenth
// of it with -short or under the race detector.
func rounds(t *testing.T, normally int) int {
	if text := os.Getenv("RESILIENCE_ROUNDS"); text != "" {
		n, err := strconv.Atoi(text)
		require.NoError(t, err)
		return n
	}
	if raced || testing.Short() {
		return normally / 10
	}
	return testsize.Pick(normally/5, normally)
}

// A slot that is granted while the waiter's context ends must go on to somebody: neither lost nor doubled.
func TestFault074_GrantAndCancelAtTheSameTime(t *testing.T) {
	b := bulkhead.New(1, bulkhead.Queue(1, time.Hour))
	var granted, cancelled int
	for round := range rounds(t, 50_000) {
		holder := acquire(t, b)
		ctx, cancel := context.WithCancel(context.Background())
		result := make(chan error)
		go func() {
			permit, err := policy.Acquire(ctx, b)
			if err == nil {
				permit.Done(nil)
			}
			result <- err
		}()
		for b.Snapshot().Waiting == 0 {
			runtime.Gosched() // the waiter is on its way; the queue has a place for it
		}
		var both sync.WaitGroup
		if release := func() { holder.Done(nil) }; round%2 == 0 { // either has a head start sometimes
			both.Go(cancel)
			release()
		} else {
			both.Go(release)
			cancel()
		}
		both.Wait()
		switch err := <-result; {
		case err == nil:
			granted++
		case errors.Is(err, context.Canceled):
			cancelled++
		default:
			require.NoError(t, err)
		}
		s := b.Snapshot()
		require.Zero(t, s.InFlight)
		require.Zero(t, s.Waiting)
	}
	t.Logf("granted %d, cancelled %d", granted, cancelled)
	require.Positive(t, granted)
	require.Positive(t, cancelled)
	require.Equal(t, 1, free(t, b))
}

// The same, one right after the other. A waiter that is granted first may be gone, with its slot, before the cancellation.
func TestFault074_GrantedAndCancelled(t *testing.T) {
	for _, grantFirst := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			b := bulkhead.New(1, bulkhead.Queue(2, time.Hour))
			holder := acquire(t, b)
			ctx, cancel := context.WithCancel(context.Background())
			results := make(chan error, 2)
			for _, ctx := range []context.Context{ctx, context.Background()} {
				go func() {
					permit, err := policy.Acquire(ctx, b)
					if err == nil {
						permit.Done(nil)
					}
					results <- err
				}()
				synctest.Wait()
			}
			if grantFirst {
				holder.Done(nil)
				cancel()
			} else {
				cancel()
				holder.Done(nil)
			}
			first, second := <-results, <-results
			if !grantFirst || first != nil || second != nil {
				require.True(t, errors.Is(first, context.Canceled) != errors.Is(second, context.Canceled), "%v, %v", first, second)
				require.True(t, (first == nil) != (second == nil), "the slot went on to the other one")
			}
			require.Zero(t, b.Snapshot().InFlight)
			require.Equal(t, 1, free(t, b))
		})
	}
}

// A slot that is granted in the moment in which the wait is over is taken, not refused.
func TestGrantedAtTheEndOfTheWait(t *testing.T) {
	granted := 0
	for range 200 {
		bubble(t, func(t *testing.T) {
			b := bulkhead.New(1, bulkhead.Queue(1, time.Second))
			holder := acquire(t, b)
			result := make(chan error, 1)
			go func() {
				_, err := policy.Acquire(context.Background(), b)
				result <- err
			}()
			synctest.Wait()
			time.Sleep(time.Second)
			holder.Done(nil)
			if b.Snapshot().InFlight == 1 {
				granted++
				require.NoError(t, <-result)
			} else {
				require.ErrorIs(t, <-result, bulkhead.ErrFull)
			}
		})
	}
	require.Positive(t, granted)
}

// Everything at once, in real time: no limit is ever passed and nothing is lost.
func TestFault131_132_StressOfEverything(t *testing.T) {
	const limit, queue, goroutines = 5, 7, 64
	b := bulkhead.New(limit, bulkhead.Queue(queue, 50*time.Microsecond), bulkhead.WeightOf(weightMark))
	var inside, most gauge
	var admitted, refused, left atomic.Int64
	worker := func(random *rand.Rand) {
		weight := 1 + random.IntN(3)
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), weightKey{}, weight))
		defer cancel()
		if random.IntN(4) == 0 {
			defer time.AfterFunc(time.Duration(random.IntN(50))*time.Microsecond, cancel).Stop()
		}
		ending := random.IntN(40)
		_, err := resilience.Do(ctx, b, func(context.Context) (int, error) {
			admitted.Add(1)
			most.raise(inside.Add(int64(weight)))
			defer inside.Add(-int64(weight))
			runtime.Gosched()
			switch ending {
			case 0:
				panic("boom")
			case 1:
				runtime.Goexit()
			case 2:
				return 0, errors.New("failed")
			}
			return 0, nil
		})
		switch {
		case errors.Is(err, policy.ErrRejected):
			refused.Add(1)
		case errors.Is(err, context.Canceled):
			left.Add(1)
		}
	}
	var workers sync.WaitGroup
	for seed := range goroutines {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(seed)))
			for left := rounds(t, 100_000) / goroutines; left > 0; {
				isolated(func() { // until it panics or exits
					for left > 0 {
						left--
						worker(random)
					}
				})
			}
		})
	}
	stop := make(chan struct{})
	var observer sync.WaitGroup
	observer.Go(func() {
		for {
			if s := b.Snapshot(); s.InFlight > limit || s.Waiting > queue {
				t.Errorf("broken: %+v", s)
			}
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Microsecond):
			}
		}
	})
	workers.Wait()
	close(stop)
	observer.Wait()
	t.Logf("admitted %d, refused %d, left the queue %d, most at once %d", admitted.Load(), refused.Load(), left.Load(), most.Load())
	require.LessOrEqual(t, most.Load(), int64(limit))
	require.Positive(t, admitted.Load())
	require.Positive(t, refused.Load())
	require.Positive(t, left.Load())
	s := b.Snapshot()
	require.Zero(t, s.InFlight)
	require.Zero(t, s.Waiting)
	require.LessOrEqual(t, s.PeakInFlight, limit)
	require.LessOrEqual(t, s.PeakWaiting, queue)
	require.Equal(t, limit, free(t, b))
}

// gauge is a number with a memory of nothing but itself; raise keeps the largest.
type gauge struct{ atomic.Int64 }

func (g *gauge) raise(to int64) {
	for old := g.Load(); to > old && !g.CompareAndSwap(old, to); old = g.Load() {
	}
}

type weightKey struct{}

func weightMark(ctx context.Context) int {
	if weight, ok := ctx.Value(weightKey{}).(int); ok {
		return weight
	}
	return 1
}

// The bulkhead against a model that is obviously right, in virtual time: a counter and a list.
func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		limit, length := rapid.IntRange(1, 4).Draw(r, "limit"), rapid.IntRange(0, 4).Draw(r, "queue")
		checkModel(t, r, limit, length, slice(r, rapid.Custom(drawStep), 60))
	})
}

// The same, and from some step on it drains.
func TestModelOfDraining(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		limit, length := rapid.IntRange(1, 4).Draw(r, "limit"), rapid.IntRange(0, 4).Draw(r, "queue")
		steps := slice(r, rapid.Custom(drawStep), 40)
		at := rapid.IntRange(0, len(steps)).Draw(r, "drain")
		checkModel(t, r, limit, length, slices.Insert(steps, at, step{what: "drain"}))
	})
}

func checkModel(t *testing.T, r *rapid.T, limit, length int, steps []step) {
	var difference string
	synctest.Test(t, func(*testing.T) {
		for at, problem := range runModel(limit, length, steps) {
			difference = fmt.Sprintf("limit %d+%d, step %d: %s\n%v", limit, length, at, problem, steps)
		}
	})
	if difference != "" {
		r.Fatal(difference)
	}
}

// slice draws up to longest elements; left to itself, rapid prefers slices that are too short to get anywhere.
func slice[T any](r *rapid.T, element *rapid.Generator[T], longest int) []T {
	n := rapid.IntRange(1, longest).Draw(r, "length")
	return rapid.SliceOfN(element, n, n).Draw(r, "elements")
}

// step is one thing that happens to a bulkhead.
type step struct {
	what   string // "arrive", "end", "cancel", "resize", "drain"
	weight int    // arrive: the weight; resize: the new limit
	pick   int    // end, cancel: which of those who hold a slot or wait
}

func drawStep(r *rapid.T) step {
	return step{
		what:   rapid.SampledFrom([]string{"arrive", "arrive", "arrive", "end", "end", "cancel", "resize"}).Draw(r, "what"),
		weight: rapid.IntRange(1, 5).Draw(r, "weight"),
		pick:   rapid.IntRange(0, 100).Draw(r, "pick"),
	}
}

// customer is an attempt, as the model sees it and as it really goes.
type customer struct {
	weight int
	state  string // of the model: "waiting", "inside", "refused", "left", "ended"
	real   atomic.Value
	cancel context.CancelFunc
	end    chan struct{}
}

// runModel plays the steps and yields the first difference between the bulkhead and the model.
func runModel(limit, length int, steps []step) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		options := []bulkhead.Option{bulkhead.WeightOf(weightMark)}
		if length > 0 {
			options = append(options, bulkhead.Queue(length, time.Hour))
		}
		b := bulkhead.New(limit, options...)
		var customers []*customer
		var drained chan error // nil until the bulkhead drains
		in := func(state string) (all []*customer, weight int) {
			for _, c := range customers {
				if c.state == state {
					all = append(all, c)
					weight += c.weight
				}
			}
			return all, weight
		}
		let := func() { // those who wait go in, in order
			waiting, _ := in("waiting")
			for _, c := range waiting {
				if _, inside := in("inside"); inside+c.weight > limit {
					return
				}
				c.state = "inside"
			}
		}
		defer func() { // let everybody end
			for _, c := range customers {
				c.cancel()
				close(c.end)
			}
			synctest.Wait()
		}()
		for at, s := range steps {
			switch s.what {
			case "arrive":
				ctx, cancel := context.WithCancel(context.WithValue(context.Background(), weightKey{}, s.weight))
				c := &customer{weight: s.weight, cancel: cancel, end: make(chan struct{})}
				c.real.Store("waiting")
				waiting, _ := in("waiting")
				_, inside := in("inside")
				switch {
				case c.weight > limit || drained != nil:
					c.state = "refused"
				case len(waiting) == 0 && inside+c.weight <= limit:
					c.state = "inside"
				case len(waiting) >= length:
					c.state = "refused"
				default:
					c.state = "waiting"
				}
				customers = append(customers, c)
				go c.call(ctx, b)
			case "end":
				if all, _ := in("inside"); len(all) > 0 {
					c := all[s.pick%len(all)]
					c.state = "ended"
					c.end <- struct{}{}
					let()
				}
			case "cancel":
				if all, _ := in("waiting"); len(all) > 0 {
					c := all[s.pick%len(all)]
					c.state = "left"
					c.cancel()
					let()
				}
			case "resize":
				limit = s.weight
				if err := b.Reconfigure(limit, options...); err != nil {
					yield(at, err.Error())
					return
				}
				waiting, _ := in("waiting")
				for _, c := range waiting {
					if c.weight > limit {
						c.state = "refused"
					}
				}
				let()
			}
			if s.what == "drain" && drained == nil {
				drained = make(chan error, 1)
				go func() { drained <- b.Drain(context.Background()) }()
			}
			synctest.Wait()
			waiting, _ := in("waiting")
			_, inside := in("inside")
			if snapshot := b.Snapshot(); snapshot.InFlight != inside || snapshot.Waiting != len(waiting) || snapshot.Limit != limit {
				yield(at, fmt.Sprintf("%+v, but the model has %d inside and %d waiting", snapshot, inside, len(waiting)))
				return
			}
			if inside == 0 && len(waiting) == 0 && drained != nil && len(drained) != 1 || inside > 0 && len(drained) != 0 {
				yield(at, fmt.Sprintf("Drain has returned %d times, with %d inside and %d waiting", len(drained), inside, len(waiting)))
				return
			}
			for i, c := range customers {
				if real := c.real.Load(); real != c.state {
					yield(at, fmt.Sprintf("customer %d is %v, but %s in the model", i, real, c.state))
					return
				}
			}
		}
	}
}

func (c *customer) call(ctx context.Context, b *bulkhead.Bulkhead) {
	_, err := resilience.Do(ctx, b, func(context.Context) (int, error) {
		c.real.Store("inside")
		<-c.end
		return 0, nil
	})
	switch {
	case err == nil:
		c.real.Store("ended")
	case errors.Is(err, bulkhead.ErrFull):
		c.real.Store("refused")
	default:
		c.real.Store("left")
	}
}
