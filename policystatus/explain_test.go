package policystatus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/fallback"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policystatus"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
)

// Every reason that the library has for refusing or ending a call has a sentence of its own, and says what to do.
func TestT8_ExplainEveryReason(t *testing.T) {
	rejection := func(kind string, reason error) error {
		return fmt.Errorf("get user: %w", &policy.Rejection{Kind: kind, Name: "users", Reason: reason})
	}
	for want, err := range map[string]error{
		`Breaker "users" refuses every call: the circuit is open, because too many calls failed.`:                             rejection("breaker", breaker.ErrOpen),
		`Throttle "users" refuses a share of the calls: the dependency has accepted too few of the last calls.`:               rejection("throttle", throttle.ErrThrottled),
		`Rate limiter "users" refuses calls: calls come faster than the rate allows.`:                                         rejection("rate limiter", ratelimit.ErrLimited),
		`Rate limiter "users" refuses calls: calls come faster than the rate allows, and would wait for longer than allowed.`: rejection("rate limiter", ratelimit.ErrMaxWait),
		`Rate limiter "users" refuses calls: the next token would come too late for the deadline of the call.`:                rejection("rate limiter", ratelimit.ErrDeadline),
		`Rate limiter "users" refuses calls: too many calls wait for a token already.`:                                        rejection("rate limiter", ratelimit.ErrQueueFull),
		`Rate limiter "users" refuses calls: the call costs more tokens than there can ever be, or less than none.`:           rejection("rate limiter", ratelimit.ErrCost),
		`Rate limiter "users" refuses calls: no more tokens will come, because the rate is 0 or next to it.`:                  rejection("rate limiter", ratelimit.ErrExhausted),
		`Rate limiter per key "users" refuses calls: calls come faster than the rate allows.`:                                 rejection("rate limiter per key", ratelimit.ErrLimited),
		`Bulkhead "users" refuses calls: all slots are taken.`:                                                                rejection("bulkhead", bulkhead.ErrFull),
		`Bulkhead "users" refuses calls: all slots are taken, and all places in the queue.`:                                   rejection("bulkhead", bulkhead.ErrQueueFull),
		`Bulkhead "users" refuses calls: all slots are taken, and none became free in the time that a call may wait.`:         rejection("bulkhead", bulkhead.ErrQueueTimeout),
		`Bulkhead "users" refuses calls: the weight of the call is above the limit, or below 1.`:                              rejection("bulkhead", bulkhead.ErrTooHeavy),
		`The bulkhead refuses calls: all slots are taken, and none became free before the deadline of the call.`:              bulkhead.ErrDeadline,
		`Bulkhead "users" refuses every call: it is draining, as before the end of the process.`:                              rejection("bulkhead", bulkhead.ErrDraining),
		`Abandoning timeout "users" refuses calls: too many operations are running, abandoned ones included.`:                 rejection("abandoning timeout", timeout.ErrMaxRunning),
		`The retry makes no more retries: its budget is spent, because too many calls failed lately.`:                         &retry.Error{Reason: retry.ErrBudget, Last: errDown},
		`The retry gave up: every attempt it may make has failed.`:                                                            &retry.Error{Reason: retry.ErrExhausted, Last: errDown},
		`The retry made no further attempt: the last error is one that another attempt would not mend.`:                       &retry.Error{Reason: retry.ErrFinal, Last: errDown},
		`The retry made no further attempt: the wait before it would outlast the deadline of the call.`:                       &retry.Error{Reason: retry.ErrDeadline, Last: errDown},
		`The retry made no further attempt: the dependency asked to wait for longer than a retry may.`:                        &retry.Error{Reason: retry.ErrRetryAfter, Last: errDown},
		`The retry ended the loop: a pass of it ended without Done, which is a mistake in the code of this service.`:          retry.ErrNotDone,
		`The hedge ended the attempt: another attempt of the same call was faster.`:                                           hedge.ErrLost,
		`The fallback had no answer: the call failed, and there is no earlier good result that is young enough.`:              &fallback.Error{Err: errDown, Fallback: fallback.ErrNoLastGood},
		`The fallback failed too: the call failed, and so did the fallback.`:                                                  &fallback.Error{Err: errDown, Fallback: errDown},
		`The caller ended the call: it cancelled the context, as when a client goes away.`:                                    context.Canceled,
		`The caller ended the call: its deadline was over.`:                                                                   context.DeadlineExceeded,
		`The operation failed: the dependency returned an error; no policy refused the call.`:                                 errDown,
		`Maintenance "users" refuses calls: until six o'clock.`:                                                               rejection("maintenance", errors.New("until six o'clock")),
		`Maintenance "users" refuses calls: it gave no reason.`:                                                               rejection("maintenance", nil),
	} {
		text := policystatus.Explain(err)
		require.True(t, strings.HasPrefix(text, want), "%v:\n%s", err, text)
		if policy.Code(err) != "hedge.lost" {
			require.Greater(t, len(text), len(want)+10+len(err.Error()), "it says what to do: %s", text)
		}
		require.NotContains(t, text, "..")
		require.Contains(t, text, " The error: ")
	}
	require.Empty(t, policystatus.Explain(nil))
}

// The errors of real timeouts, which only a timeout can make.
func TestT8_ExplainTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		for want, layer := range map[string]policy.Layer{
			"The total timeout ended the call: all attempts and waits together took longer than it allows.": timeout.Total(time.Second),
			"The attempt timeout ended the attempt: it took longer than the timeout allows.":                timeout.PerAttempt(time.Second),
		} {
			err := resilience.Run(t.Context(), layer, hang)
			require.Contains(t, policystatus.Explain(err), want)
		}
	})
}

func TestT8_ExplainSaysUntilWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Name("users"), breaker.OpenFor(5*time.Second), breaker.Jitter(0))
		b.Trip()
		time.Sleep(time.Second)
		err := resilience.Run(t.Context(), b, ok)
		require.Equal(t, `Breaker "users" refuses every call: the circuit is open, because too many calls failed. `+
			`A call passes again at 00:00:05 UTC, in 4 s. Then it tries again with a first call: if that succeeds it closes, if not it `+
			`stays open. Find out why the dependency fails. If you know that it is well again, reset the breaker: it lets calls through and decides anew. To let every call `+
			`through whatever happens, force it closed. The error: breaker "users": circuit open (retry after 4s).`, policystatus.Explain(err))
		b.ForceOpen()
		require.Contains(t, policystatus.Explain(resilience.Run(t.Context(), b, ok)), "it was forced open by hand. It stays open until it is reset.")
	})
}

// hostile is an error whose methods panic.
type hostile struct{}

func (hostile) Error() string                     { panic("Error") }
func (hostile) Code() string                      { panic("Code") }
func (hostile) Is(error) bool                     { panic("Is") }
func (hostile) As(any) bool                       { panic("As") }
func (hostile) Unwrap() error                     { panic("Unwrap") }
func (hostile) RetryAfter() (time.Duration, bool) { panic("RetryAfter") }

func TestExplainAHostileError(t *testing.T) {
	require.NotEmpty(t, policystatus.Explain(hostile{}))
	require.Less(t, len(policystatus.Explain(errors.New(strings.Repeat("x", 1<<20)))), 2000)
	page := policystatus.New()
	page.Observe(t.Context(), policy.Event{Kind: policy.EventRejected, Outcome: policy.Outcome{Err: hostile{}}})
	page.Observe(t.Context(), policy.Event{Kind: policy.EventRejected})
	page.Observe(t.Context(), policy.Event{})
	require.Len(t, read(t, page).Refusals, 1)
}

// Explain never panics and never says nothing, whatever the code.
func FuzzExplain(f *testing.F) {
	for _, code := range []string{"breaker.open", "ratelimit.", "bulkhead.full", "timeout", "retry.budget", "x.y", "", "."} {
		f.Add(code, "breaker", "users", "reason")
	}
	f.Fuzz(func(t *testing.T, code, kind, name, reason string) {
		for _, err := range []error{
			&policy.Rejection{Kind: kind, Name: name, Reason: policy.NewReason(code, reason)},
			policy.NewReason(code, reason),
		} {
			if text := policystatus.Explain(err); !strings.HasSuffix(text, ".") || strings.ContainsAny(text, "\n\r\x00") {
				t.Errorf("%q", text)
			}
		}
	})
}

// For each code the last refusals, with the facts of that moment.
func TestT8_TheLastRefusalsOfEachCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUsers()
		u.trip()
		for range 1000 {
			_ = u.backend.Run(t.Context(), ok)
		}
		time.Sleep(20 * time.Second)
		require.NoError(t, u.backend.Run(t.Context(), ok))
		release := make(chan struct{})
		for range 16 {
			go u.backend.Run(t.Context(), func(context.Context) error { <-release; return nil })
		}
		synctest.Wait()
		for range 3 {
			require.ErrorIs(t, u.backend.Run(t.Context(), ok), bulkhead.ErrFull)
		}
		close(release)
		time.Sleep(time.Hour)

		d := read(t, u.page)
		require.Len(t, d.Refusals, 2)
		require.Equal(t, "bulkhead.full", d.Codes[0].Code)
		require.Equal(t, 3, d.Codes[0].Count)
		require.Equal(t, "breaker.open", d.Codes[1].Code)
		require.Equal(t, 1000, d.Codes[1].Count)
		require.Equal(t, "16 of 16 slots are taken", d.Refusals[0].Explanation["why"])
		require.Contains(t, d.Refusals[1].Explanation["why"], "13 of the last 20 calls failed (65 %)")
		require.Equal(t, "open", d.Refusals[1].Facts["state"].(map[string]any)["name"], "as it was then, although it is closed now")

		body := get(u.page, "/explain").body
		for _, part := range []string{
			"<code>bulkhead.full</code>", "<code>breaker.open</code>", "16 of 16 slots are taken", "13 of the last 20 calls failed (65 %)",
			"It has been open since 00:00:00 UTC, for 0 s, and stays so until 00:00:05 UTC, for 5 s more.", "1,000 refusals",
		} {
			has(t, body, part)
		}
	})
}

// A retry that gives way to an open breaker tells of the same refusal as the breaker.
func TestT8_ARetryThatGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := policystatus.New()
		b := breaker.New(breaker.Name("db"), breaker.ConsecutiveFailures(1))
		backend := resilience.Compose(resilience.Name("users"), retry.New(), b, resilience.Observe(page))
		page.Add(backend)
		require.Error(t, backend.Run(t.Context(), fail)) // opens the breaker, and so stops the retry
		d := read(t, page)
		require.Len(t, d.Refusals, 1)
		require.Equal(t, "db", d.Refusals[0].Name)
		require.Error(t, backend.Run(t.Context(), ok)) // refused by the breaker itself
		d = read(t, page)
		require.Len(t, d.Codes, 1)
		require.Len(t, d.Refusing, 1)
		require.Equal(t, "breaker", d.Refusing[0].Layer)
		require.Equal(t, 2, d.Refusing[0].Count)
	})
}

// One kind of refusal that comes by the thousand does not push out the others.
func TestT8_AFloodIsOneEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUsers()
		for range 10_000 {
			u.page.Observe(t.Context(), policy.Event{
				Kind: policy.EventRejected, Pipeline: "users", Layer: u.breaker,
				Outcome: policy.Outcome{Err: &policy.Rejection{Kind: "breaker", Reason: breaker.ErrOpen}},
			})
			time.Sleep(10 * time.Millisecond)
		}
		d := read(t, u.page)
		require.LessOrEqual(t, len(d.Refusals), 3)
		require.Equal(t, 10_000, d.Codes[0].Count)
	})
}

// Who has left was not refused.
func TestWhatIsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := policystatus.New()
		backend := resilience.Compose(bulkhead.New(1, bulkhead.Queue(1, time.Minute)), resilience.Observe(page))
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		go backend.Run(t.Context(), func(context.Context) error { <-release; return nil })
		synctest.Wait()
		go backend.Run(ctx, ok)
		synctest.Wait()
		cancel()
		synctest.Wait()
		require.Empty(t, read(t, page).Refusals)
		close(release)
	})
}
