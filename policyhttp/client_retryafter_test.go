package policyhttp_test

import (
	"fmt"
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// hint returns how long a response with these fields asks to wait.
func hint(status int, fields ...string) (time.Duration, bool) {
	err := policyhttp.Check(answer(status, nil, fields...))
	failed, ok := err.(*policyhttp.Error) //nolint:errorlint // the very type
	if !ok {
		return 0, false
	}
	return failed.RetryAfter()
}

// Test names of rows: UH7 and H5 are about what is accepted, H8 about overflow.
func TestUH7_H5_H8_RetryAfterValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().UTC()
		in := func(d time.Duration, layout string) string { return now.Add(d).Format(layout) }
		for _, c := range []struct {
			value string
			want  time.Duration // negative: none
		}{
			{"2", 2 * time.Second},
			{" 2 ", 2 * time.Second},
			{"0", 0},
			{"007", 7 * time.Second},
			{"-1", -1},
			{"+1", -1},
			{"1.5", 1500 * time.Millisecond}, // not in the standard, but earlier than asked would be worse
			{"0.0", 0},
			{"9223372037.5", math.MaxInt64},
			{"1.", -1},
			{".5", -1},
			{"1.5.5", -1},
			{"1.-5", -1},
			{"1e3", -1},
			{"soon", -1},
			{"", -1},
			{"2, 3", -1},
			{"9223372036", 9223372036 * time.Second},
			{"9223372037", math.MaxInt64},
			{"9223372036854775807", math.MaxInt64},
			{"99999999999999999999999999", math.MaxInt64},
			{in(2*time.Second, http.TimeFormat), 2 * time.Second},
			{in(2*time.Second, time.RFC1123), 2 * time.Second},  // UTC in place of GMT
			{in(2*time.Second, time.RFC1123Z), 2 * time.Second}, // a numeric zone
			{now.Add(2 * time.Second).In(time.FixedZone("", 3600)).Format(time.RFC1123Z), 2 * time.Second},
			{in(2*time.Second, time.RFC850), 2 * time.Second},
			{in(2*time.Second, time.ANSIC), 2 * time.Second},
			{in(-time.Hour, http.TimeFormat), 0},
			{"Mon, 01 Jan 9999 00:00:00 GMT", math.MaxInt64},
		} {
			wait, ok := hint(503, "Retry-After", c.value)
			require.Equal(t, c.want >= 0, ok, "%q", c.value)
			if ok {
				require.Equal(t, c.want, wait, "%q", c.value)
			}
		}
	})
}

func TestRetryAfterDateIsReadByTheServersClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := time.Now().Add(-time.Hour).UTC() // an hour slow
		wait, ok := hint(429, "Date", server.Format(http.TimeFormat),
			"Retry-After", server.Add(3*time.Second).Format(http.TimeFormat))
		require.True(t, ok)
		require.Equal(t, 3*time.Second, wait)
	})
}

func TestRetryAfterCountsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := policyhttp.Check(answer(503, nil, "Retry-After", "3")).(*policyhttp.Error)
		time.Sleep(time.Second)
		wait, ok := err.RetryAfter()
		require.True(t, ok)
		require.Equal(t, 2*time.Second, wait)
		time.Sleep(time.Hour)
		wait, ok = err.RetryAfter()
		require.True(t, ok)
		require.Zero(t, wait)
	})
}

func TestFault196_QuotaResetAsDeltaOrEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for _, c := range []struct {
			field, value string
			want         time.Duration // negative: none
		}{
			{"X-RateLimit-Reset", "7", 7 * time.Second},
			{"RateLimit-Reset", "7", 7 * time.Second},
			{"X-Rate-Limit-Reset", "7", 7 * time.Second},
			{"X-RateLimit-Reset", "0.5", time.Second},
			{"X-RateLimit-Reset", fmt.Sprint(now.Unix() + 5e8 + 7), 5e8*time.Second + 7*time.Second},
			{"X-RateLimit-Reset", "60000", 60000 * time.Second}, // maybe milliseconds: the longer wait
			{"X-RateLimit-Reset", "99999999999999999999", math.MaxInt64},
			{"X-RateLimit-Reset", "-1", -1},
			{"X-RateLimit-Reset", "soon", -1},
			{"X-RateLimit-Reset", "", -1},
			{"RateLimit", `"default";r=0;t=5`, 5 * time.Second},
			{"RateLimit", `"a";r=0;t=5, "b";r=0;t=9, "c";r=3;t=60`, 9 * time.Second},
			{"RateLimit", `"default";r=3;t=5`, -1},
			{"RateLimit", `"default";r=0;t=-5`, -1},
			{"RateLimit", `"default";r=0;t=99999999999999999999`, math.MaxInt64},
		} {
			wait, ok := hint(429, c.field, c.value)
			require.Equal(t, c.want >= 0, ok, "%s: %s", c.field, c.value)
			if ok {
				require.Equal(t, c.want, wait, "%s: %s", c.field, c.value)
			}
			_, ok = hint(503, c.field, c.value)
			require.False(t, ok, "a quota says nothing about a 503")
		}
		wait, _ := hint(429, "RateLimit", `"a";r=9;t=5`, "RateLimit", `"b";r=0;t=7`, "RateLimit", `"c";r=0;t=6`)
		require.Equal(t, 7*time.Second, wait, "a list may come in several fields")
		wait, _ = hint(429, "Retry-After", "3", "X-RateLimit-Reset", "60")
		require.Equal(t, 3*time.Second, wait, "Retry-After counts more")
		for remaining, want := range map[string]bool{"0": true, " 0 ": true, "": true, "many": true, "-1": true, "1": false, "010": false} {
			_, ok := hint(429, "X-RateLimit-Remaining", remaining, "X-RateLimit-Reset", "60")
			require.Equal(t, want, ok, "%q left: it was another limit that refused", remaining)
		}
	})
}

func TestFault196_ResetInMillisecondsSince1970(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC))) // bubbles begin in 2000
		now := time.Now()
		wait, ok := hint(429, "X-RateLimit-Reset", fmt.Sprint(now.Add(7*time.Second).UnixMilli()))
		require.True(t, ok)
		require.Equal(t, 7*time.Second, wait)
		wait, ok = hint(429, "X-RateLimit-Reset", fmt.Sprint(now.Add(7*time.Second).Unix()))
		require.True(t, ok)
		require.Equal(t, 7*time.Second, wait)
		wait, ok = hint(429, "X-RateLimit-Reset", fmt.Sprint(now.Add(-7*time.Second).Unix()))
		require.True(t, ok)
		require.Zero(t, wait)
	})
}

// roundTrip sends a GET, reads and closes the answer, and returns its status and how long that took.
func roundTrip(t *testing.T, tr http.RoundTripper) (status int, took time.Duration, call policyhttp.Call) {
	t.Helper()
	start := time.Now()
	response, err := tr.RoundTrip(request(t, "GET", "http://example.com/", nil))
	took = time.Since(start)
	require.NoError(t, err)
	read(t, response)
	call, ok := policyhttp.Info(response, nil)
	require.True(t, ok)
	return response.StatusCode, took, call
}

func TestH9_RetryAfterAsADateIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := newScript(503, 200)
		base.header = []string{"Retry-After", time.Now().Add(2 * time.Second).UTC().Format(http.TimeFormat)}
		status, took, call := roundTrip(t, transport(base, atOnce(3, retry.NoJitter())))
		require.Equal(t, 200, status)
		require.Equal(t, 2*time.Second, took)
		require.Equal(t, []time.Duration{2 * time.Second}, call.Waits)
	})
}

func TestH7_H8_AWaitThatIsTooLongEndsTheCallAtOnce(t *testing.T) {
	for _, after := range []string{"31", "9223372036854775807", "Mon, 01 Jan 9999 00:00:00 GMT"} {
		synctest.Test(t, func(t *testing.T) {
			base := newScript(503)
			base.header = []string{"Retry-After", after}
			status, took, call := roundTrip(t, transport(base, atOnce(3)))
			require.Equal(t, 503, status)
			require.Zero(t, took)
			require.Equal(t, 1, base.calls())
			require.ErrorIs(t, call.Reason, retry.ErrRetryAfter)
			require.Equal(t, "retry.after", call.Code())
		})
	}
}

func TestH7_AWaitThatDoesNotFitTheDeadlineEndsTheCallAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := newScript(503)
		base.header = []string{"Retry-After", "5"}
		status, took, call := roundTrip(t, transport(base, timeout.Total(3*time.Second), atOnce(3)))
		require.Equal(t, 503, status)
		require.Zero(t, took)
		require.ErrorIs(t, call.Reason, retry.ErrDeadline)
	})
}

func TestUH7_RedirectsWithRetryAfterAreTheCallers(t *testing.T) {
	base := newScript(307)
	base.header = []string{"Retry-After", "5"}
	status, _, call := roundTrip(t, transport(base, atOnce(3)))
	require.Equal(t, 307, status)
	require.Equal(t, 1, call.Attempts)
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "0", "120", "-1", "Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:59 UTC",
		"Friday, 31-Dec-99 23:59:59 GMT", "Fri Dec 31 23:59:59 1999", "99999999999999999999", `"default";r=0;t=5`, "\x00"} {
		f.Add(seed, seed, seed)
	}
	f.Fuzz(func(t *testing.T, after, date, quota string) {
		for _, status := range []int{413, 429, 503} {
			r := answer(status, nil)
			r.Header["Retry-After"], r.Header["Date"] = []string{after}, []string{date}
			r.Header["Ratelimit"], r.Header["X-Ratelimit-Reset"] = []string{quota}, []string{quota}
			err := policyhttp.Check(r)
			if err == nil {
				if status != 413 || after != "" {
					t.Fatalf("status %d is no failure", status)
				}
				continue
			}
			if wait, ok := err.(*policyhttp.Error).RetryAfter(); wait < 0 || !ok && wait != 0 {
				t.Fatalf("%q: %v, %v", after, wait, ok)
			}
			if text := err.Error(); len(text) > 200 {
				t.Fatalf("%q", text)
			}
		}
	})
}
