package proof

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

var races = testsize.Pick(2_000, 100_000)

// Of each race exactly one call wins. Its context lives until its permit is settled, those of the others have ended by
// then, its slot is the only one that is still taken, and Won counts the wins of extra attempts.
func TestExactlyOneCallOfARaceWins(t *testing.T) {
	for name, layers := range map[string][]policy.Layer{
		"hedge":          nil,
		"hedge, timeout": {timeout.PerAttempt(time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			var made, results, won, discarded, decided atomic.Int64
			h := hedge.New(hedge.Idempotent(), hedge.After(time.Nanosecond), hedge.Extra(3), hedge.AfterFailure(),
				hedge.Limit(10, 1e9), hedge.MaxRunning(1<<20), hedge.OnDiscard(func(any) { discarded.Add(1) }))
			slots := bulkhead.New(1 << 20)
			backend := resilience.Compose(append(layers, h, slots)...)
			race := func(random *rand.Rand) {
				var plan [4]struct{ turns, end int }
				for i := range plan {
					plan[i].turns, plan[i].end = random.IntN(12), random.IntN(12)
				}
				var mu sync.Mutex
				var contexts []context.Context
				value, permit, err := resilience.Open(context.Background(), backend, func(ctx context.Context) (int, error) {
					number := hedge.Attempt(ctx)
					mu.Lock()
					contexts = append(contexts, ctx)
					mu.Unlock()
					for range plan[number-1].turns {
						runtime.Gosched()
					}
					switch plan[number-1].end {
					case 0, 1, 2:
						return 0, errDown
					case 3:
						return 0, permanent{errIgnored}
					}
					made.Add(1)
					return number, nil
				})
				if err != nil {
					if permit != nil || errors.Is(err, hedge.ErrLost) {
						t.Errorf("%v and a permit %v", err, permit != nil)
					}
					if errors.Is(err, errIgnored) {
						decided.Add(1)
					}
				} else {
					results.Add(1)
					if value > 1 {
						won.Add(1)
					}
					work := permit.Context()
					if number := hedge.Attempt(work); number != value {
						t.Errorf("the value of attempt %d, the context of attempt %d", value, number)
					}
					for range random.IntN(4) {
						runtime.Gosched()
					}
					if work.Err() != nil {
						t.Errorf("the context of the winner has ended: %v", context.Cause(work))
					}
					mu.Lock()
					for _, ctx := range contexts {
						if ctx != work && ctx.Err() == nil {
							t.Error("the context of a loser lives on")
						}
					}
					mu.Unlock()
					if !permit.Done(nil) || permit.Done(nil) || work.Err() == nil {
						t.Error("the permit is not settled once")
					}
				}
				mu.Lock()
				defer mu.Unlock()
				for _, ctx := range contexts {
					if ctx.Err() == nil {
						t.Error("a context lives on")
					}
				}
			}
			var callers sync.WaitGroup
			for i := range 4 {
				callers.Go(func() {
					random := rand.New(rand.NewPCG(uint64(i), 4))
					for range races / 4 {
						race(random)
					}
				})
			}
			callers.Wait()
			for h.Snapshot().Running > 0 {
				runtime.Gosched()
			}
			s := h.Snapshot()
			require.Zero(t, s.Left)
			require.Zero(t, slots.Snapshot().InFlight)
			require.EqualValues(t, races, s.Calls)
			require.EqualValues(t, won.Load(), s.Won, "Won does not agree")
			require.Equal(t, made.Load(), results.Load()+discarded.Load(), "a result has no owner, or two")
			require.EqualValues(t, discarded.Load(), s.Discarded)
			require.Greater(t, won.Load(), int64(races/100), "no race was close")
			require.Greater(t, decided.Load(), int64(races/1000), "no error has decided a race")
			t.Logf("%d races, %d won by an extra attempt, %d results discarded", races, won.Load(), discarded.Load())
		})
	}
}

// permanent is an error that decides a race.
type permanent struct{ error }

func (permanent) Class() policy.Class { return policy.Permanent }
func (p permanent) Unwrap() error     { return p.error }
