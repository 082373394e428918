package policyredis_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/adapters/policyredis"
)

// hanging is a server that answers until it hangs, and clients that keep to the deadlines of contexts or do not.
type hanging struct {
	mu      sync.Mutex
	hangs   bool
	ignores time.Duration // for how long a call hangs that ignores its context; 0: until its end
}

func (h *hanging) hang(yes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hangs = yes
}

func (h *hanging) client() fake {
	server := scriptInGo()
	return func(ctx context.Context, args []any) (any, error) {
		h.mu.Lock()
		hangs := h.hangs
		h.mu.Unlock()
		switch {
		case !hangs:
			return server(ctx, args)
		case h.ignores > 0:
			time.Sleep(h.ignores)
			return nil, errDown
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
}

// Callers that have less time than the deadline leaves cannot keep a store that hangs from being found out.
func TestFault213_CallersWithLittleTime(t *testing.T) {
	for name, h := range map[string]*hanging{"prompt": {}, "deaf": {ignores: 10 * time.Second}} {
		for _, option := range []policyredis.Option{policyredis.FailLocal(1), policyredis.TrustClient()} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := policyredis.New(h.client(), "little time", 1000, 1000, option)
					h.hang(true)
					hurried := func() error {
						ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
						defer cancel()
						return attemptIn(ctx, l)
					}
					asked := 0
					for l.Snapshot().Mode == policyredis.Shared {
						began := time.Now()
						require.ErrorIs(t, hurried(), context.DeadlineExceeded)
						require.Equal(t, 20*time.Millisecond, time.Since(began), "nobody waits for longer than it has time")
						asked++
					}
					require.LessOrEqual(t, asked, 10)
					before := l.Snapshot()
					require.EqualValues(t, 3, before.Timeouts)
					require.Equal(t, policyredis.Local, before.Mode)
					for range 10 {
						require.NoError(t, hurried())
					}
					require.Equal(t, before.Calls, l.Snapshot().Calls, "the breaker is open")
					time.Sleep(10 * time.Second) // the probe is not lost with its caller either
					require.Error(t, hurried())
					require.NoError(t, hurried())
					time.Sleep(100 * time.Millisecond)
					require.NoError(t, hurried())
					h.hang(false)
					time.Sleep(2 * time.Second)
					require.NoError(t, hurried())
					require.Equal(t, policyredis.Shared, l.Snapshot().Mode)
					require.NoError(t, l.Drain(t.Context()))
					require.Zero(t, l.Snapshot().Running)
					require.Zero(t, l.Snapshot().Abandoned)
				})
			})
		}
	}
}

// A caller that leaves says nothing about a store that answers.
func TestFault213_CallersWhoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := scriptInGo()
		slow := fake(func(ctx context.Context, args []any) (any, error) {
			time.Sleep(30 * time.Millisecond)
			return server(ctx, args)
		})
		l := policyredis.New(slow, "leave", 1000, 1000)
		for range 10 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(10*time.Millisecond, cancel)
			require.ErrorIs(t, attemptIn(ctx, l), context.Canceled)
		}
		time.Sleep(100 * time.Millisecond)
		require.Equal(t, policyredis.Shared, l.Snapshot().Mode)
		require.Zero(t, l.Snapshot().Errors)
		require.NoError(t, attempt(l))
		require.EqualValues(t, 11, l.Snapshot().Calls)
		require.Zero(t, l.Snapshot().FellBack)
	})
}

// Who drains takes nothing from those who still come.
func TestDrainHindersNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{ignores: 10 * time.Second}
		l := policyredis.New(h.client(), "drain", 1000, 1000)
		h.hang(true)
		require.NoError(t, attempt(l), "locally")
		h.hang(false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		drained := make(chan error, 2)
		go func() { drained <- l.Drain(ctx) }()
		go func() { drained <- l.Drain(t.Context()) }()
		synctest.Wait()
		for range 100 {
			require.NoError(t, attempt(l))
		}
		s := l.Snapshot()
		require.EqualValues(t, 1, s.FellBack)
		require.EqualValues(t, 1, s.Errors)
		require.ErrorIs(t, <-drained, context.DeadlineExceeded)
		require.NoError(t, <-drained)
		require.Zero(t, l.Snapshot().Running)
	})
}

// A function that is told of errors may use the limiter: when it is told, the breaker knows already.
func TestFault213_OnErrorMayUseTheLimiter(t *testing.T) {
	for _, option := range []policyredis.Option{policyredis.FailLocal(1), policyredis.TrustClient()} {
		var l *policyredis.Limiter
		told := 0
		l = policyredis.New(answers(nil, errDown), "again", hourly, 100, option, patient(), policyredis.OnError(func(error) {
			if told++; told < 100 {
				_ = attempt(l)
			}
		}))
		require.NoError(t, attempt(l))
		require.Equal(t, 3, told, "then the breaker is open")
		require.NoError(t, l.Drain(t.Context())) // a call on a goroutine ends a moment after its attempt
		require.Zero(t, l.Snapshot().Running)
	}
}

// Nothing is told after Drain of a call that runs on without its caller, although its deadline ends it and not the client.
func TestDrainWaitsForWhatIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := false
		h := &hanging{hangs: true, ignores: 60 * time.Millisecond}
		l := policyredis.New(h.client(), "told", 1000, 1000, policyredis.OnError(func(error) {
			time.Sleep(time.Second)
			told = true
		}))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, attemptIn(ctx, l), context.DeadlineExceeded)
		require.NoError(t, l.Drain(t.Context()))
		require.True(t, told)
		require.Zero(t, l.Snapshot().Abandoned)
	})
}

// Who makes the probe interval shorter in an outage need not wait for the end of the old one.
func TestReconfigureOfTheProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := downing{down: true}
		l := policyredis.New(server.client(), "probe", 1000, 1000, policyredis.Probe(24*time.Hour))
		admitted(l, 5)
		require.EqualValues(t, 3, l.Snapshot().Calls)
		require.NoError(t, l.Reconfigure(1000, 1000, policyredis.Probe(time.Second)))
		admitted(l, 5)
		require.EqualValues(t, 3, l.Snapshot().Calls, "the breaker is still open")
		server.down = false
		time.Sleep(2 * time.Second)
		require.NoError(t, attempt(l))
		require.EqualValues(t, 4, l.Snapshot().Calls)
		require.Equal(t, policyredis.Shared, l.Snapshot().Mode)
	})
}

// A call that began before the failure mode was changed changes to the mode of now.
func TestReconfigureWhileTheStoreHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{hangs: true}
		l := policyredis.New(h.client(), "live", 1000, 1000)
		admitted(l, 2)
		last := make(chan error)
		go func() { last <- attempt(l) }()
		synctest.Wait()
		require.NoError(t, l.Reconfigure(1000, 1000, policyredis.FailClosed()))
		<-last
		require.Equal(t, policyredis.Closed, l.Snapshot().Mode)
		require.EqualValues(t, 1, l.Snapshot().Changes)
	})
}
