package logs

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"time"
)

// integer reads an unsigned integer.
func integer(text []byte) (int64, bool) {
	if len(text) == 0 || len(text) > 19 {
		return 0, false
	}
	var n uint64
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return int64(n), n <= math.MaxInt64
}

// decimal reads an unsigned decimal number of units as nanoseconds, without a detour over floating point: a thousandth stays
// one. Digits beyond the nanosecond are cut off.
func decimal(text []byte, unit time.Duration) (int64, bool) {
	whole, fraction, _ := bytes.Cut(text, []byte("."))
	if bytes.ContainsAny(text, "eE") {
		number, err := strconv.ParseFloat(string(text), 64)
		number *= float64(unit)
		if err != nil || number < 0 || number >= math.MaxInt64/2 || text[0] == '+' || text[0] == '-' {
			return 0, false
		}
		return int64(math.Round(number)), true
	}
	if len(whole) == 0 || len(whole) < len(text) && len(fraction) == 0 {
		return 0, false
	}
	n, ok := integer(whole)
	if !ok || n > math.MaxInt64/2/int64(unit) {
		return 0, false
	}
	n *= int64(unit)
	scale := int64(unit)
	for _, c := range fraction {
		if c < '0' || c > '9' {
			return 0, false
		}
		scale /= 10
		n += int64(c-'0') * scale
	}
	return n, true
}

// Times from 1971 to 2200 are taken for times, what is outside for something else.
var (
	earliest = time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
)

// longest is how long a request may take: more is not a latency.
const longest = 366 * 24 * time.Hour

// timestamp reads a time in the form of RFC 3339 as nanoseconds since 1970.
func timestamp(text []byte) (int64, bool) {
	var t time.Time
	if t.UnmarshalText(text) != nil || t.Year() < 1971 || t.Year() > 2199 {
		return 0, false
	}
	return t.UnixNano(), true
}

// at returns a moment as a Record has it.
func at(nanoseconds int64) time.Time { return time.Unix(0, nanoseconds).UTC() }

// status reads an HTTP status. "-", "-1", "0" and "000" are none.
func status(text []byte) (int, bool) {
	switch string(text) {
	case "", "-", "-1", "0", "000", "null":
		return 0, true
	}
	n, ok := integer(text)
	return int(n), ok && n >= 100 && n <= 999
}

// next cuts the first word off a text of words between single spaces.
func next(text []byte) (word, rest []byte) {
	word, rest, _ = bytes.Cut(text, []byte(" "))
	return word, rest
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// problem makes the reason of a bad line.
func problem(text string) error { return errors.New(text) }
