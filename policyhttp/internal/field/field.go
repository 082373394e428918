// Package field reads and writes the values of HTTP header fields. It knows nothing of calls and pipelines: the client and the
// server of policyhttp share it.
package field

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longest bounds the values that are looked at, in bytes.
const longest = 256

// IsToken reports whether s is a token of RFC 9110: the name of a field, a method.
func IsToken(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// IsValue reports whether s can be the value of a field.
func IsValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// AreValid reports whether all of fields can be sent.
func AreValid(fields http.Header) bool {
	for name, values := range fields {
		if !IsToken(name) {
			return false
		}
		for _, value := range values {
			if !IsValue(value) {
				return false
			}
		}
	}
	return true
}

// Text returns text as the value of a field: printable ASCII of bounded length.
func Text(text string) string {
	text = text[:min(len(text), 64)]
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '_'
		}
		return r
	}, text)
}

// Quoted returns text as a string of RFC 9651, of bounded length.
func Quoted(text string) string {
	text = Text(text)
	text = strings.ReplaceAll(text, `\`, `\\`)
	return `"` + strings.ReplaceAll(text, `"`, `\"`) + `"`
}

// longestTimeLeft is what a client can ask for; what is longer is no limit.
const longestTimeLeft = 24 * time.Hour

// TimeLeft returns the time that is left until a deadline as a whole number of milliseconds, at least 1.
func TimeLeft(left time.Duration) string { return strconv.FormatInt(max(1, left.Milliseconds()), 10) }

// ParseTimeLeft parses what TimeLeft writes, up to a day.
func ParseTimeLeft(value string) (time.Duration, bool) {
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil || n == 0 || n > uint64(longestTimeLeft/time.Millisecond) {
		return 0, false
	}
	return time.Duration(n) * time.Millisecond, true
}
