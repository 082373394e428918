package field_test

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience/policyhttp/internal/field"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What becomes of Retry-After, and of the fields about quotas, is tested through policyhttp.Check.
func TestRetryAfterIsReadByTheClockThatIsKnown(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, c := range []struct {
		retryAfter, date string
		want             time.Duration
		ok               bool
	}{
		{"", "", 0, false},
		{"soon", "", 0, false},
		{"-1", "", 0, false},
		{"7", at(time.Hour), 7 * time.Second, true},
		{at(time.Minute), "", time.Minute, true},
		{at(time.Hour + time.Minute), at(time.Hour), time.Minute, true},
		{at(-time.Minute), "", 0, true},
		{at(time.Minute), "yesterday", time.Minute, true},
	} {
		header := http.Header{"Retry-After": {c.retryAfter}, "Date": {c.date}}
		got, ok := field.RetryAfter(header, now)
		require.Equal(t, c.ok, ok, c)
		require.Equal(t, c.want, got, c)
	}
}

func TestWhatCanBeSent(t *testing.T) {
	for name, want := range map[string]bool{"X-A": true, "x!#$%&'*+-.^_`|~1": true, "": false, "a b": false, "ä": false, "a:": false} {
		require.Equal(t, want, field.IsToken(name), name)
	}
	for value, want := range map[string]bool{"": true, "a\tb": true, "ä": true, "a\nb": false, "\x7f": false, "\x00": false} {
		require.Equal(t, want, field.IsValue(value), value)
	}
	require.True(t, field.AreValid(nil))
	require.True(t, field.AreValid(http.Header{"A": {"1", "2"}}))
	require.False(t, field.AreValid(http.Header{"A": {"1", "\r"}}))
	require.False(t, field.AreValid(http.Header{"A b": {"1"}}))
}

func TestText(t *testing.T) {
	require.Equal(t, "a_b", field.Text("a\nb"))
	require.Equal(t, strings.Repeat("x", 64), field.Text(strings.Repeat("x", 65)))
	require.Equal(t, `"a \"b\" \\"`, field.Quoted(`a "b" \`))
}

func TestTimeLeft(t *testing.T) {
	for left, want := range map[time.Duration]string{
		math.MinInt64: "1", 0: "1", time.Millisecond - 1: "1", 1500 * time.Microsecond: "1", time.Minute: "60000",
	} {
		require.Equal(t, want, field.TimeLeft(left))
	}
	for value, want := range map[string]time.Duration{
		"1": time.Millisecond, "60000": time.Minute, "86400000": 24 * time.Hour,
		"": 0, "0": 0, "-1": 0, "1.5": 0, "86400001": 0, "99999999999999999999": 0,
	} {
		got, ok := field.ParseTimeLeft(value)
		require.Equal(t, want, got, value)
		require.Equal(t, want > 0, ok, value)
	}
}
