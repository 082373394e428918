package bulkhead_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func nothing(context.Context) (struct{}, error) { return struct{}{}, nil }

// acquire takes a slot of b and fails the test when it is refused.
func acquire(t *testing.T, b *bulkhead.Bulkhead) *policy.Permit {
	t.Helper()
	permit, err := policy.Acquire(context.Background(), b)
	require.NoError(t, err)
	return permit
}

// free counts the slots of b that can be taken now, and gives them back. Nobody may wait.
func free(t *testing.T, b *bulkhead.Bulkhead) int {
	t.Helper()
	var permits []*policy.Permit
	for {
		permit, err := policy.Acquire(&impatient{Context: context.Background()}, b)
		if err != nil {
			break
		}
		permits = append(permits, permit)
	}
	for _, permit := range permits {
		require.True(t, permit.Done(nil))
	}
	return len(permits)
}

// impatient is a context that ends as soon as somebody wants to wait for its end.
type impatient struct {
	context.Context
	ended bool
}

func (c *impatient) Done() <-chan struct{} {
	c.ended = true
	done := make(chan struct{})
	close(done)
	return done
}

func (c *impatient) Err() error {
	if c.ended {
		return context.Canceled
	}
	return nil
}

// isolated runs f on a goroutine of its own, which f may end with runtime.Goexit or a panic, and waits for its end.
func isolated(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		f()
	}()
	<-done
}

var endings = map[string]policy.Func[struct{}]{
	"ok":     nothing,
	"fail":   func(context.Context) (struct{}, error) { return struct{}{}, context.DeadlineExceeded },
	"panic":  func(context.Context) (struct{}, error) { panic("boom") },
	"goexit": func(context.Context) (struct{}, error) { runtime.Goexit(); return struct{}{}, nil },
}

// bubble runs f in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}
