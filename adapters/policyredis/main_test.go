package policyredis_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience/adapters/policyredis"
	"github.com/go-resilience/resilience/policy"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(workerVariable); spec != "" {
		work(spec) // this is one of the processes that TestTenProcessesShareOneKey has started
		return
	}
	redis.SetLogger(silent{})
	// A pool of go-redis whose server was down dials until it is closed, and sees that up to a second later.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// silent drops what the client of go-redis has to say about servers that are down.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// virtual is a miniredis whose clock stands still.
type virtual struct {
	*miniredis.Miniredis
	now    time.Time
	client *redis.Client
}

func newVirtual(t testing.TB) *virtual {
	t.Helper()
	v := &virtual{Miniredis: miniredis.RunT(t), now: time.Unix(1_800_000_000, 0)}
	v.SetTime(v.now)
	v.client = newClient(t, v.Addr())
	return v
}

func (v *virtual) advance(d time.Duration) {
	v.now = v.now.Add(d)
	v.SetTime(v.now)
}

// newClient returns a client as an application has it.
func newClient(t testing.TB, addr string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// drained lets no call of a limiter outlive the test.
func drained[L interface{ Drain(context.Context) error }](t testing.TB, limiter L) L {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		require.NoError(t, limiter.Drain(ctx))
	})
	return limiter
}

// patient is a deadline that no machine is too busy for, where the test is not about deadlines.
func patient() policyredis.Option { return policyredis.Deadline(20 * time.Second) }

// attempt admits one attempt and settles it as made.
func attempt(guard policy.Guard) error { return attemptIn(context.Background(), guard) }

func attemptIn(ctx context.Context, guard policy.Guard) error {
	permit, err := policy.Acquire(ctx, guard)
	if err == nil {
		permit.Done(nil)
	}
	return err
}

// admitted returns how many of n attempts in a row are admitted.
func admitted(guard policy.Guard, n int) (yes int) {
	for range n {
		if attempt(guard) == nil {
			yes++
		}
	}
	return yes
}

var errDown = errors.New("dial tcp: connection refused")

// fake is a client made of a function, which both methods call.
type fake func(ctx context.Context, args []any) (any, error)

func (f fake) Eval(ctx context.Context, _ string, _ []string, args ...any) policyredis.Reply {
	value, err := f(ctx, args)
	return policyredis.Reply{Value: value, Err: err}
}

func (f fake) EvalSha(ctx context.Context, sha string, keys []string, args ...any) policyredis.Reply {
	return f.Eval(ctx, sha, keys, args...)
}

// answers is a client that always says the same.
func answers(value any, err error) fake {
	return func(context.Context, []any) (any, error) { return value, err }
}

type costKey struct{}

// costing is the option that reads the cost from the context, and the context with a cost.
func costing() policyredis.Option {
	return policyredis.CostOf(func(ctx context.Context) int {
		if cost, ok := ctx.Value(costKey{}).(int); ok {
			return cost
		}
		return 1
	})
}

func withCost(cost int) context.Context {
	return context.WithValue(context.Background(), costKey{}, cost)
}

func value(t testing.TB, r policy.Reporter, name string) float64 {
	t.Helper()
	v, ok := r.Report().Value(name, "")
	require.True(t, ok, name)
	return v.Number
}
