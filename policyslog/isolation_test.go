package policyslog_test

import (
	"context"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyslog"
	"github.com/go-resilience/resilience/retry"
)

// handler is a handler that does what it is told.
type handler struct {
	enabled func(slog.Level) bool // nil: from INFO on
	handle  func(slog.Record) error
}

func (h handler) Enabled(_ context.Context, level slog.Level) bool {
	if h.enabled != nil {
		return h.enabled(level)
	}
	return level >= slog.LevelInfo
}
func (h handler) Handle(_ context.Context, r slog.Record) error { return h.handle(r) }
func (h handler) WithAttrs([]slog.Attr) slog.Handler            { return h }
func (h handler) WithGroup(string) slog.Handler                 { return h }

// everything causes an event of each kind and a change, and asserts what the calls return.
func everything(t *testing.T, log *policyslog.Log) {
	t.Helper()
	observe := resilience.Observe(log)
	b := breaker.New(breaker.ConsecutiveFailures(1), breaker.OpenFor(time.Second), breaker.OnChange(log.Change))
	require.NoError(t, named("users", observe).Run(t.Context(), ok))
	p := named("users", retry.New(retry.Attempts(2), retry.Constant(time.Second), retry.NoJitter()), observe)
	require.ErrorIs(t, p.Run(t.Context(), fail), retry.ErrExhausted)
	require.ErrorIs(t, named("users", b, observe).Run(t.Context(), fail), errDown)
	for range 3 {
		require.ErrorIs(t, named("users", b, observe).Run(t.Context(), fail), breaker.ErrOpen)
	}
	time.Sleep(2 * time.Second)
	value, permit, err := resilience.Open(t.Context(), named("users", b, observe), func(context.Context) (int, error) { return 7, nil })
	require.NoError(t, err)
	require.Equal(t, 7, value)
	require.True(t, permit.Done(nil))
	require.Equal(t, breaker.Closed, b.State())
	log.Flush()
}

func TestFault231_P5_AHandlerThatPanicsChangesNothing(t *testing.T) {
	for name, h := range map[string]handler{
		"Handle":  {handle: func(slog.Record) error { panic("handler") }},
		"Enabled": {enabled: func(slog.Level) bool { panic("enabled") }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				everything(t, policyslog.New(slog.New(h), policyslog.Level(policy.EventAttempt, 0), policyslog.Level(policy.EventCall, 0)))
				time.Sleep(time.Minute) // the timer of the refusals does not end the process
			})
		})
	}
}

func TestFault231_P5_AHandlerThatFailsChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		everything(t, policyslog.New(slog.New(handler{handle: func(slog.Record) error { return errDown }})))
		time.Sleep(time.Minute)
	})
}

// The refusals after the first of a second do not wait for a handler that hangs, and its lines are not lost. Who waits is
// documented: the call that logs.
func TestFault231_P5_AHandlerThatHangsHoldsOnlyTheCallThatLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		counts := make(chan int64, 100)
		log := policyslog.New(slog.New(handler{handle: func(r slog.Record) error {
			<-hang
			r.Attrs(func(a slog.Attr) bool {
				for _, a := range a.Value.Group() {
					if a.Key == "count" {
						counts <- a.Value.Int64()
					}
				}
				return true
			})
			return nil
		}}))
		p := named("users", &refuse{"front"}, resilience.Observe(log))
		first := make(chan error)
		go func() { first <- p.Run(t.Context(), ok) }()
		synctest.Wait()

		before := time.Now()
		for range 1000 {
			require.ErrorIs(t, p.Run(t.Context(), ok), errClosed)
		}
		require.NoError(t, named("fine", resilience.Observe(log)).Run(t.Context(), ok))
		require.Zero(t, time.Since(before), "nobody else has waited")
		time.Sleep(5 * time.Second) // the line of the 1000 hangs too
		for range 10 {
			require.ErrorIs(t, p.Run(t.Context(), ok), errClosed)
		}
		select {
		case <-first:
			t.Fatal("the call that logs does not wait: then it need not be documented")
		default:
		}
		close(hang)
		require.ErrorIs(t, <-first, errClosed)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		close(counts)
		var total int64
		for n := range counts {
			total += n
		}
		require.EqualValues(t, 1+1000+10, total)
	})
}

func TestFault231_P5_AHandlerThatEndsItsGoroutineStopsNoLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines atomic.Int64
		log := policyslog.New(slog.New(handler{handle: func(slog.Record) error {
			if lines.Add(1) > 1 { // on the goroutine of the timer
				runtime.Goexit()
			}
			return nil
		}}))
		p := named("users", &refuse{"front"}, resilience.Observe(log))
		for range 3 {
			require.Error(t, p.Run(t.Context(), ok))
			require.Error(t, p.Run(t.Context(), ok))
			time.Sleep(1100 * time.Millisecond)
		}
		require.EqualValues(t, 4, lines.Load())
		time.Sleep(time.Minute)
	})
}

// A subscriber that hangs holds the goroutine that caused the change, as documented for breaker.OnChange, and no other.
func TestFault231_ASubscriberThatHangsHoldsOnlyWhoCausedTheChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		log := policyslog.New(slog.New(handler{handle: func(slog.Record) error { <-hang; return nil }}))
		b := breaker.New(breaker.ConsecutiveFailures(1), breaker.OnChange(log.Change))
		p := named("users", b)
		first := make(chan error)
		go func() { first <- p.Run(t.Context(), fail) }()
		synctest.Wait()
		before := time.Now()
		require.ErrorIs(t, p.Run(t.Context(), ok), breaker.ErrOpen)
		b.Reset()
		require.NoError(t, p.Run(t.Context(), ok))
		require.Zero(t, time.Since(before))
		close(hang)
		require.ErrorIs(t, <-first, errDown)
	})
}
