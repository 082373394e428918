package field

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-resilience/resilience/internal/saturate"
)

// RetryAfter returns how long from now a Retry-After among header asks to wait: a number of seconds, or a date. Servers
// write fractions, too, which the standard does not know. A date is compared with the server's own clock, where it tells its
// Date. Values below zero and nonsense are ignored; a date in the past is 0; a number that is too large is the longest
// duration.
func RetryAfter(header http.Header, now time.Time) (time.Duration, bool) {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if value == "" || len(value) > longest {
		return 0, false
	}
	if whole, fraction, ok := strings.Cut(value, "."); isDigits(whole) && (!ok || isDigits(fraction)) {
		return seconds(value), true
	}
	at, ok := parseDate(value)
	if !ok {
		return 0, false
	}
	if date := dateOf(header); !date.IsZero() {
		now = date
	}
	return max(0, at.Sub(now)), true
}

// dateOf returns when the server says that it has answered, zero if it does not.
func dateOf(header http.Header) time.Time {
	value := header.Get("Date")
	if len(value) > longest {
		return time.Time{}
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return time.Time{}
	}
	return date
}

// parseDate parses the three forms of an HTTP date, and those of servers that write UTC or a zone in place of GMT.
func parseDate(value string) (time.Time, bool) {
	if at, err := http.ParseTime(value); err == nil {
		return at, true
	}
	for _, layout := range []string{time.RFC1123, time.RFC1123Z} {
		if at, err := time.Parse(layout, value); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// seconds returns a number of seconds, which must be digits, with or without a fraction, as a duration.
func seconds(number string) time.Duration {
	d, err := time.ParseDuration(number + "s")
	if err != nil { // it is too large
		return saturate.Max
	}
	return d
}

// quotaFields are what servers call the fields that say how much of a quota is left, and when it is full again.
var quotaFields = [...]struct{ remaining, reset string }{
	{"Ratelimit-Remaining", "Ratelimit-Reset"},
	{"X-Ratelimit-Remaining", "X-Ratelimit-Reset"},
	{"X-Rate-Limit-Remaining", "X-Rate-Limit-Reset"},
}

// QuotaReset returns how long from now until the caller's quota is full again, as the fields about rate limits say. There
// is no standard: a number is seconds from now, or seconds or milliseconds since 1970, whichever its size suggests. Where
// that is in doubt, the longer wait is taken. A quota of which something is left is not why the request was refused.
func QuotaReset(header http.Header, now time.Time) (time.Duration, bool) {
	if wait, ok := structuredReset(header["Ratelimit"]); ok {
		return wait, true
	}
	for _, field := range quotaFields {
		value := strings.TrimSpace(header.Get(field.reset))
		if len(value) > longest || hasLeft(header.Get(field.remaining)) {
			continue
		}
		whole, _, _ := strings.Cut(value, ".")
		if !isDigits(whole) {
			continue
		}
		n, err := strconv.ParseInt(whole, 10, 64)
		switch {
		case err != nil:
			return saturate.Max, true
		case n >= 1e12: // milliseconds since 1970; as seconds this would be in the year 33658
			return max(0, time.UnixMilli(n).Sub(now)), true
		case n >= 1e9: // seconds since 1970; as seconds from now this would be 31 years
			return max(0, time.Unix(n, 0).Sub(now)), true
		case whole != value: // a fraction of a second: round up
			n++
		}
		return time.Duration(n) * time.Second, true
	}
	return 0, false
}

// hasLeft reports whether a value says that something of a quota is left: whether it is a number above 0.
func hasLeft(remaining string) bool {
	remaining = strings.TrimSpace(remaining)
	return isDigits(remaining) && strings.Trim(remaining, "0") != ""
}

// structuredReset returns the wait of RateLimit fields as of draft 10 of the IETF: `"default";r=0;t=5`. Of several quotas
// that are used up the longest counts.
func structuredReset(values []string) (wait time.Duration, ok bool) {
	for _, value := range values {
		if len(value) > longest {
			continue
		}
		for quota := range strings.SplitSeq(value, ",") {
			remaining, reset := "", ""
			for parameter := range strings.SplitSeq(quota, ";") {
				name, number, _ := strings.Cut(strings.TrimSpace(parameter), "=")
				switch name {
				case "r":
					remaining = number
				case "t":
					reset = number
				}
			}
			if remaining == "0" && isDigits(reset) {
				wait, ok = max(wait, seconds(reset)), true
			}
		}
	}
	return wait, ok
}
