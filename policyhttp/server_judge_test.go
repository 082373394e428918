package policyhttp_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/timeout"
)

func TestHS3_WhatAHandlerAnswersIsJudged(t *testing.T) {
	for code, want := range map[int]struct {
		class   policy.Class
		verdict policy.Verdict
	}{
		101: {policy.Unclassified, policy.Success},
		200: {policy.Unclassified, policy.Success},
		204: {policy.Unclassified, policy.Success},
		304: {policy.Unclassified, policy.Success},
		399: {policy.Unclassified, policy.Success},
		400: {policy.Expected, policy.Success},
		404: {policy.Expected, policy.Success},
		408: {policy.Expected, policy.Success}, // the client was slow: it must not be able to open a breaker
		413: {policy.Expected, policy.Success},
		429: {policy.Throttled, policy.Neutral},
		499: {policy.Expected, policy.Success},
		500: {policy.Transient, policy.Failure},
		501: {policy.Expected, policy.Success},
		502: {policy.Transient, policy.Failure},
		503: {policy.Transient, policy.Failure},
		504: {policy.Transient, policy.Failure},
		505: {policy.Permanent, policy.Failure},
		511: {policy.Permanent, policy.Failure},
		999: {policy.Permanent, policy.Failure},
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			seen := &judge{}
			response := ask(front(status(code), seen), get())
			require.Equal(t, code, response.StatusCode, "the answer is passed on")
			outcome := seen.only(t)
			require.Equal(t, policy.Returned, outcome.Kind)
			require.Equal(t, want.class, outcome.Class)
			require.Equal(t, want.verdict, outcome.Verdict(nil))
			if outcome.Err != nil {
				coded, ok := errors.AsType[interface {
					error
					StatusCode() int
				}](outcome.Err)
				require.True(t, ok)
				require.Equal(t, code, coded.StatusCode())
				require.Empty(t, policy.Code(outcome.Err), "an answer of the handler ends no pipeline")
			}
		})
	}
}

func TestHS3_FiveErrorsOpenABreaker(t *testing.T) {
	door := breaker.New(breaker.ConsecutiveFailures(5))
	handler := front(status(http.StatusInternalServerError), door)
	for range 5 {
		require.Equal(t, 500, ask(handler, get()).StatusCode)
	}
	require.Equal(t, breaker.Open, door.State())
	response := ask(handler, get())
	require.Equal(t, 503, response.StatusCode)
	require.NotEmpty(t, response.Header.Get("Retry-After"))
}

func TestClientsCannotOpenABreaker(t *testing.T) {
	for _, code := range []int{400, 401, 404, 408, 413, 429, 499, 501} {
		door := breaker.New(breaker.ConsecutiveFailures(1))
		ask(front(status(code), door), get())
		require.Equal(t, breaker.Closed, door.State(), code)
	}
}

// A proxy passes on how long its backend wants to be left alone.
func TestTheHandlersRetryAfterIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for value, want := range map[string]time.Duration{
			"120": 2 * time.Minute, time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat): 90 * time.Second,
			"": 5 * time.Second, "-5": 5 * time.Second, "99999999999999999999": 10 * time.Minute,
		} {
			door := breaker.New(breaker.ConsecutiveFailures(1), breaker.RetryAfter(10*time.Minute), breaker.Jitter(0))
			ask(front(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", value)
				w.WriteHeader(http.StatusServiceUnavailable)
			}), door), get())
			require.Equal(t, want, time.Until(door.Report().State.Until).Round(time.Second), value)
		}
	})
}

func TestThePipelinesJudgementCounts(t *testing.T) {
	seen := &judge{}
	classify := resilience.Classify(func(err error) policy.Class {
		coded, ok := err.(interface{ StatusCode() int })
		if ok && coded.StatusCode() == 404 {
			return policy.Transient
		}
		return policy.Unclassified
	})
	ask(front(status(404), seen, classify), get())
	require.Equal(t, policy.Transient, seen.only(t).Class)
}

func TestTheFirstStatusCounts(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter)
		want   policy.Verdict
	}{
		"nothing":               {func(http.ResponseWriter) {}, policy.Success},
		"a body":                {func(w http.ResponseWriter) { _, _ = w.Write([]byte("x")); w.WriteHeader(500) }, policy.Success},
		"an empty write":        {func(w http.ResponseWriter) { _, _ = w.Write(nil); w.WriteHeader(500) }, policy.Success},
		"a string":              {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "x"); w.WriteHeader(500) }, policy.Success},
		"a flush":               {func(w http.ResponseWriter) { w.(http.Flusher).Flush(); w.WriteHeader(500) }, policy.Success},
		"a flush with an error": {func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush(); w.WriteHeader(500) }, policy.Success},
		"from a reader":         {func(w http.ResponseWriter) { _, _ = io.Copy(w, strings.NewReader("x")); w.WriteHeader(500) }, policy.Success},
		"from an empty reader": {func(w http.ResponseWriter) {
			_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader(""))
			w.WriteHeader(500)
		}, policy.Failure},
		"hints first":            {func(w http.ResponseWriter) { w.WriteHeader(103); w.WriteHeader(500) }, policy.Failure},
		"500, then 200":          {func(w http.ResponseWriter) { w.WriteHeader(500); w.WriteHeader(200) }, policy.Failure},
		"500, then a body":       {func(w http.ResponseWriter) { w.WriteHeader(500); _, _ = w.Write([]byte("x")) }, policy.Failure},
		"500, after 200":         {func(w http.ResponseWriter) { w.WriteHeader(200); w.WriteHeader(500) }, policy.Success},
		"an error by http.Error": {func(w http.ResponseWriter) { http.Error(w, "x", 500) }, policy.Failure},
	} {
		t.Run(name, func(t *testing.T) {
			seen := &judge{}
			ask(front(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { c.answer(w) }), seen), get())
			require.Equal(t, c.want, seen.only(t).Verdict(nil))
		})
	}
}

// A server takes http.ErrAbortHandler to mean that the connection is to be closed without an answer.
func TestFault211_APanicIsCountedAndPassedOn(t *testing.T) {
	for name, value := range map[string]any{
		"FAULT 58: a value":       &struct{ n int }{1},
		"http.ErrAbortHandler":    http.ErrAbortHandler,
		"an uncomparable value":   []int{1},
		"after the answer, error": errBoom,
	} {
		t.Run(name, func(t *testing.T) {
			seen, slots := &judge{}, bulkhead.New(1)
			pipeline := resilience.Compose(resilience.Name("front"), seen, slots)
			handler := policyhttp.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if name == "after the answer, error" {
					w.WriteHeader(200)
				}
				panic(value)
			}), pipeline)
			recorder := httptest.NewRecorder()
			require.Equal(t, value, caught(func() { handler.ServeHTTP(recorder, get()) }))
			require.Equal(t, policy.Panicked, seen.only(t).Kind)
			require.Equal(t, policy.Failure, seen.only(t).Verdict(nil))
			require.Equal(t, uint64(1), pipeline.Report().Calls.Panicked)
			require.Zero(t, slots.Snapshot().InFlight)
			require.Zero(t, recorder.Body.Len())
		})
	}
}

func TestFault058_TheStackOfAPanicIsTheHandlers(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	require.Equal(t, []int{1}, caught(func() { // also one that == cannot compare, when the client has gone
		gone, leave := context.WithCancel(t.Context())
		front(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { leave(); panic([]int{1}) }), &judge{}).
			ServeHTTP(httptest.NewRecorder(), get().WithContext(gone))
	}))
	for _, gone := range []bool{false, true} {
		handler := front(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			if gone {
				leave()
			}
			panicsDeepInside()
		}), &judge{})
		func() {
			defer func() {
				require.Equal(t, errBoom, recover())
				stack := make([]byte, 1<<16)
				require.Contains(t, string(stack[:runtime.Stack(stack, false)]), "panicsDeepInside")
			}()
			handler.ServeHTTP(httptest.NewRecorder(), get().WithContext(ctx))
		}()
	}
}

// caught returns the value that f panics with.
func caught(f func()) (value any) {
	defer func() { value = recover() }()
	f()
	return nil
}

func panicsDeepInside() { panic(errBoom) }

// httputil.ReverseProxy aborts when its client leaves in the middle of a body. That says nothing about the handler.
func TestAnAbortForAClientThatHasGoneIsNeutral(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	seen := &judge{}
	handler := front(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
		leave()
		panic(http.ErrAbortHandler)
	}), seen)
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { handler.ServeHTTP(httptest.NewRecorder(), get().WithContext(ctx)) })
	require.Equal(t, policy.Neutral, seen.only(t).Verdict(nil))
}

func TestAnErrorForAClientThatHasGoneIsNeutral(t *testing.T) {
	for _, code := range []int{0, 500, 503} {
		ctx, leave := context.WithCancel(t.Context())
		seen := &judge{}
		handler := front(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			leave()
			if code != 0 {
				w.WriteHeader(code)
			}
		}), seen)
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, get().WithContext(ctx))
		require.Equal(t, policy.Neutral, seen.only(t).Verdict(nil))
		require.Zero(t, recorder.Body.Len())
	}
}

func TestGoexitIsCountedAndPassedOn(t *testing.T) {
	seen := &judge{}
	ended := make(chan bool)
	go func() {
		returned := false
		defer func() { ended <- returned }()
		front(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { runtime.Goexit() }), seen).
			ServeHTTP(httptest.NewRecorder(), get())
		returned = true
	}()
	require.False(t, <-ended)
	require.Equal(t, policy.Exited, seen.only(t).Kind)
}

func TestHS3_AHijackedConnectionIsASuccess(t *testing.T) {
	seen := &judge{}
	for name, hijack := range map[string]func(http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error){
		"by assertion": func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) { return w.(http.Hijacker).Hijack() },
		"by controller": func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
			return http.NewResponseController(w).Hijack()
		},
	} {
		t.Run(name, func(t *testing.T) {
			seen.outcomes = nil
			settled := make(chan struct{})
			handler := front(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, buffer, err := hijack(w)
				if err != nil {
					panic(err)
				}
				_, _ = buffer.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
				_ = buffer.Flush()
				line, _ := buffer.ReadString('\n')
				_, _ = buffer.WriteString("echo " + line)
				_ = buffer.Flush()
				_ = conn.Close()
			}), seen, timeout.PerAttempt(time.Minute))
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(settled)
				handler.ServeHTTP(w, r)
			}))
			defer server.Close()
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			require.NoError(t, err)
			defer func() { _ = conn.Close() }()
			_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello\n")
			require.NoError(t, err)
			answer, err := io.ReadAll(conn)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(answer), "HTTP/1.1 101 "))
			require.True(t, strings.HasSuffix(string(answer), "echo hello\n"))
			<-settled
			require.Equal(t, policy.Success, seen.only(t).Verdict(nil))
		})
	}
}

// Neither a timeout nor a second answer touches a connection that the handler has taken over.
func TestNothingIsWrittenToAHijackedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &judge{}
		b := serveBubble(t, front(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			<-r.Context().Done()
			_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
			_ = conn.Close()
		}), seen, timeout.PerAttempt(time.Second)))
		conn, err := b.listener.dial(t.Context())
		require.NoError(t, err)
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		require.NoError(t, err)
		answer, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 204 No Content\r\n\r\n", string(answer))
		synctest.Wait()
		require.True(t, seen.only(t).Succeeded(), "the door knows that it is not its answer")
		require.NoError(t, conn.Close())
	})
}

func TestFault211_AHandlerThatDoesNotAnswerInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &judge{}
		handler := front(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.Header().Set("Set-Cookie", "session=1")
			w.Header().Set("X-Outside", "changed")
			<-r.Context().Done()
		}), seen, timeout.PerAttempt(time.Second))
		outside := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Outside", "kept")
			handler.ServeHTTP(w, r)
		})
		response := ask(outside, get())
		require.Equal(t, 503, response.StatusCode)
		require.Equal(t, "Service Unavailable\n", text(t, response))
		require.Equal(t, "kept", response.Header.Get("X-Outside"))
		require.Empty(t, response.Header.Get("Set-Cookie"), "the fields of an answer that did not come are dropped")
		require.NotEmpty(t, response.Header.Get("Retry-After"))
		outcome := seen.only(t)
		require.Equal(t, policy.Transient, outcome.Class)
		require.ErrorIs(t, outcome.Err, context.DeadlineExceeded)
	})
}

// What a handler has begun to say stands, also when it was late.
func TestFault211_NothingIsWrittenAfterTheHandlersOwnAnswer(t *testing.T) {
	for _, code := range []int{200, 504} {
		synctest.Test(t, func(t *testing.T) {
			seen := &judge{}
			response := ask(front(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				w.WriteHeader(code)
				_, _ = io.WriteString(w, "late")
			}), seen, timeout.PerAttempt(time.Second)), get())
			require.Equal(t, code, response.StatusCode)
			require.Equal(t, "late", text(t, response))
			if code == 200 {
				require.True(t, seen.only(t).Succeeded(), "a success stands")
			} else {
				require.ErrorIs(t, seen.only(t).Err, context.DeadlineExceeded)
			}
		})
	}
}

// http.TimeoutHandler outside answers by itself; what comes later has no effect.
func TestFault211_InsideATimeoutHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots := bulkhead.New(1, bulkhead.Queue(1, time.Minute))
		b := serveBubble(t, http.TimeoutHandler(front(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(3 * time.Second) // deaf
			_, err := io.WriteString(w, "late")
			if !errors.Is(err, http.ErrHandlerTimeout) {
				panic(err)
			}
		}), slots), time.Second, "outside"))
		for range 2 { // the second waits for the slot of the first in vain
			response, err := b.client.Get("http://front/")
			require.NoError(t, err)
			require.Equal(t, 503, response.StatusCode)
			require.Equal(t, "outside", text(t, response))
		}
		time.Sleep(time.Minute)
		require.Zero(t, slots.Snapshot().InFlight)
	})
}

// The deadline of a middleware outside is for that to answer.
func TestADeadlineOutsideIsAnsweredOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &judge{}
		inner := front(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), seen)
		response := ask(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), time.Second)
			defer cancel()
			inner.ServeHTTP(w, r.WithContext(ctx))
			if ctx.Err() != nil {
				w.WriteHeader(http.StatusGatewayTimeout)
			}
		}), get())
		require.Equal(t, 504, response.StatusCode)
		require.Equal(t, policy.Failure, seen.only(t).Verdict(nil))
	})
}

// A timeout of a door inside is a failure of what is behind it.
func TestATimeoutInsideIsAFailureOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &judge{}
		slow := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		response := ask(front(front(slow, timeout.Total(time.Second)), seen), get())
		require.Equal(t, 503, response.StatusCode)
		outcome := seen.only(t)
		require.Equal(t, policy.Transient, outcome.Class)
		require.Equal(t, policy.Failure, outcome.Verdict(nil))
	})
}

func TestARefusalInsideIsNoAnswerOfTheHandler(t *testing.T) {
	for _, code := range []string{"ratelimit.limited", "bulkhead.full", "breaker.open"} {
		seen := &judge{}
		inside := policyhttp.Handler(status(200), refuse(rejection(code)))
		outside := front(inside, seen, timeout.PerAttempt(time.Minute))
		response := ask(outside, get())
		require.GreaterOrEqual(t, response.StatusCode, 429)
		outcome := seen.only(t)
		require.Equal(t, policy.Neutral, outcome.Verdict(nil))
		require.Equal(t, policy.Ignored, outcome.Class)
		require.Equal(t, code, policy.Code(outcome.Err))
	}
}
