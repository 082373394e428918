package keyed_test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/keyed"
)

// One of ten shards is dead. With a breaker for each, the dead shard is left alone; a breaker for all, at the same
// threshold, never opens. (The figures of docs/keyed.md.)
func TestOneBreakerPerShard(t *testing.T) {
	newBreaker := func(string) *breaker.Breaker {
		return breaker.New(breaker.FailureRate(0.5, 20), breaker.CountWindow(100), breaker.OpenFor(5*time.Second), breaker.Jitter(0))
	}
	simulate := func(t *testing.T, breakers *keyed.Registry[string, *breaker.Breaker], keyFor func(shard int) string) (availability float64, dead int) {
		random := rand.New(rand.NewPCG(1, 2))
		const calls = 600_000
		succeeded := 0
		for i := range calls {
			if i%10 == 0 {
				time.Sleep(10 * time.Millisecond)
			}
			shard := random.IntN(10)
			_, err := resilience.Do(t.Context(), breakers.Get(keyFor(shard)), func(context.Context) (int, error) {
				if shard == 0 {
					dead++
					return 0, errBackend
				}
				return 0, nil
			})
			if err == nil {
				succeeded++
			}
		}
		return float64(succeeded) / calls, dead
	}
	synctest.Test(t, func(t *testing.T) {
		availability, dead := simulate(t, keyed.New(newBreaker), strconv.Itoa)
		require.InDelta(t, 0.9, availability, 0.003)
		require.InDelta(t, 139, dead, 3)
	})
	synctest.Test(t, func(t *testing.T) {
		availability, dead := simulate(t, keyed.New(newBreaker), func(int) string { return "all" })
		require.InDelta(t, 0.9, availability, 0.003)
		require.InDelta(t, 60_000, dead, 1000)
	})
}
