package resilience_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

func TestComposeOrdersByStageAndKeepsTheOrderWithin(t *testing.T) {
	a1, a2, a3 := &probe{name: "a1", stage: 10}, &probe{name: "a2", stage: 10}, &probe{name: "a3", stage: 10}
	b := &probe{name: "b", stage: 20}
	r := &again{max: 1}
	layers := []policy.Layer{a1, a2, a3}
	require.Equal(t, "a1 > a2 > a3 > b > again", resilience.Compose(r, b, a1, a2, a3).String())
	for range 50 {
		rest := []policy.Layer{r, b}
		mixed := append(append([]policy.Layer{}, rest[:1]...), layers...)
		mixed = append(mixed, rest[1:]...)
		at := rand.IntN(len(mixed))
		mixed[0], mixed[at] = mixed[at], mixed[0]
		p := resilience.Compose(mixed...)
		require.Equal(t, []policy.Layer{b, r}, p.Layers()[3:])
	}
}

func TestTheOrderOfTheArgumentsDoesNotMatter(t *testing.T) {
	p := resilience.Compose(
		timeout.PerAttempt(300*time.Millisecond),
		bulkhead.New(16, bulkhead.Queue(8, 100*time.Millisecond)),
		ratelimit.New(100, 10, ratelimit.MaxWait(time.Second)),
		breaker.New(breaker.Name("users-db"), breaker.FailureRate(0.5, 20), breaker.OpenFor(5*time.Second)),
		retry.New(retry.Attempts(4), retry.Exponential(50*time.Millisecond, 2*time.Second)),
		timeout.Total(2*time.Second),
	)
	require.Equal(t, `total timeout 2s > retry 4 > breaker "users-db" > rate limit 100/s burst 10 > bulkhead 16+8 > attempt timeout 300ms`, p.String())
}

func TestComposeFlattens(t *testing.T) {
	a, b, c := &probe{name: "a", stage: 30}, &probe{name: "b", stage: 20}, &probe{name: "c", stage: 10}
	nested := resilience.Compose(a, resilience.Compose(b, resilience.Compose(), resilience.Compose(c)))
	require.Equal(t, resilience.Compose(a, b, c).String(), nested.String())
	require.Equal(t, []policy.Layer{c, b, a}, nested.Layers())
	require.Equal(t, policy.Stage(10), nested.Stage())
}

func TestAtMovesALayerAndIsKeptWhenFlattened(t *testing.T) {
	front := &probe{name: "front", stage: policy.StageBulkhead}
	base := resilience.Compose(policy.At(policy.StageShed, front), &again{max: 1})
	require.Equal(t, "front > again", base.String())
	require.Equal(t, "front > timeout", resilience.Compose(named{"timeout", policy.StageTotalTimeout}, base).String()[:len("front > timeout")])
	require.Equal(t, []policy.Layer{policy.At(policy.StageShed, front), &again{max: 1}}, base.Layers())
	twice := policy.At(700, policy.At(policy.StageShed, front))
	require.Equal(t, policy.Stage(700), twice.Stage())
	_, err := resilience.Do(t.Context(), twice, answer(1, nil))
	require.NoError(t, err, "a moved layer runs on its own too")
	require.EqualValues(t, 1, front.admitted.Load())
}

// named is a guard that is not a pointer.
type named struct {
	name  string
	stage policy.Stage
}

func (n named) String() string      { return n.name }
func (n named) Stage() policy.Stage { return n.stage }

func (n named) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, nil
}

func (n named) Settle(context.Context, policy.Ticket, policy.Outcome) {}

func TestFault171_PipelinesAreImmutable(t *testing.T) {
	base := resilience.Compose(&probe{name: "base", stage: 10})
	with := func(name string) *resilience.Pipeline { return resilience.Compose(base, &probe{name: name, stage: 20}) }
	x := with("x")
	y := with("y")
	layers := x.Layers()
	layers[0] = nil
	arguments := []policy.Layer{&probe{name: "z", stage: 30}}
	z := resilience.Compose(arguments...)
	arguments[0] = nil
	require.Equal(t, "base", base.String())
	require.Equal(t, "base > x", x.String())
	require.Equal(t, "base > y", y.String())
	require.Equal(t, "z", z.String())
	_, err := resilience.Do(t.Context(), x, answer(1, nil))
	require.NoError(t, err)
}

func TestEmptyPipeline(t *testing.T) {
	p := resilience.Compose()
	require.Equal(t, "empty pipeline", p.String())
	require.Empty(t, p.Layers())
	require.NoError(t, p.Ready(t.Context()))
	require.Zero(t, p.Stage())
	value, err := resilience.Do(t.Context(), p, answer(4, errBackend))
	require.Equal(t, 4, value)
	require.Equal(t, errBackend, err, "the bare error")
}

func TestForSharesTheLayer(t *testing.T) {
	guard := &probe{}
	p := resilience.Compose(guard)
	numbers, texts := resilience.For[int](p), resilience.For[string](p)
	_, err := numbers.Do(t.Context(), answer(1, nil))
	require.NoError(t, err)
	text, err := texts.Do(t.Context(), func(context.Context) (string, error) { return "x", nil })
	require.NoError(t, err)
	require.Equal(t, "x", text)
	require.NoError(t, p.Run(t.Context(), func(context.Context) error { return nil }))
	require.EqualValues(t, 3, guard.admitted.Load())
}

func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, quota, slots := opensAt(1, time.Minute), ratelimit.New(1, 2), bulkhead.New(1)
		p := resilience.Compose(steady(1, 0), db, quota, slots)
		require.True(t, p.Idle())

		_, err := resilience.Do(t.Context(), p, func(context.Context) (int, error) {
			require.False(t, slots.Idle())
			require.False(t, p.Idle())
			return 1, nil
		})
		require.NoError(t, err)
		require.True(t, slots.Idle())
		require.False(t, quota.Idle(), "a token is missing")
		require.False(t, p.Idle())
		time.Sleep(time.Second)
		require.True(t, p.Idle())

		db.Trip()
		require.False(t, p.Idle())
		time.Sleep(time.Minute)
		require.True(t, p.Idle(), "nobody has asked since the open time has passed")
		permit, err := policy.Acquire(t.Context(), db)
		require.NoError(t, err)
		require.False(t, p.Idle(), "half-open, with a probe")
		require.True(t, permit.Settle(policy.Outcome{}))
		require.False(t, p.Idle(), "half-open: a new one would admit more")
		for _, set := range []func(){db.ForceOpen, db.ForceClosed, func() { db.Reset(); db.Shadow() }} {
			set()
			require.False(t, p.Idle(), "what was set by hand must not be forgotten")
		}
		db.Enforce()
		db.Reset()
		require.True(t, p.Idle())
	})
}
