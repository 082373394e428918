package scenario

import (
	"fmt"
	"math"
	"strconv"
)

// Check is a measurement beside what was expected of it.
type Check struct {
	What     string
	Measured string
	Expected string
	Source   string
	Passed   bool
}

// Tolerance is how far a mean may be from what is expected.
type Tolerance struct{ relative, absolute float64 }

// Relative tolerates a share of the expected number, such as 0.03 for 3 %.
func Relative(share float64) Tolerance { return Tolerance{relative: share} }

// Absolute tolerates a distance.
func Absolute(distance float64) Tolerance { return Tolerance{absolute: distance} }

// Exactly tolerates nothing but the rounding of floating-point numbers, and no scatter either.
func Exactly() Tolerance { return Tolerance{} }

// Expect compares the mean of several runs with a number. It may be off by the tolerance or by 4 standard errors of the
// mean, whichever is more.
func (l *Lab) Expect(what string, measured []float64, expected float64, tolerance Tolerance, source string) {
	m := mean(measured)
	allowed := math.Abs(expected) * 1e-9
	text := short(expected) + " exactly"
	if tolerance != Exactly() {
		allowed = max(tolerance.absolute, tolerance.relative*math.Abs(expected), 4*standardError(measured))
		text = short(expected) + " ± " + strconv.FormatFloat(allowed, 'g', 2, 64)
	}
	l.result.Checks = append(l.result.Checks, Check{
		What: what, Measured: short(m), Expected: text, Source: source,
		Passed: math.Abs(m-expected) <= allowed, // false for NaN
	})
}

// ExpectWithin asserts that every run's number is from low to high.
func (l *Lab) ExpectWithin(what string, measured []float64, low, high float64, source string) {
	passed := len(measured) > 0
	least, most := math.Inf(1), math.Inf(-1)
	for _, m := range measured {
		passed = passed && m >= low && m <= high
		least, most = min(least, m), max(most, m)
	}
	text := short(least)
	if short(most) != text {
		text += " to " + short(most)
	}
	expected := short(low) + " to " + short(high)
	switch {
	case low == high:
		expected = short(low) + " exactly"
	case math.IsInf(high, 1):
		expected = "at least " + short(low)
	case math.IsInf(low, -1):
		expected = "at most " + short(high)
	}
	l.result.Checks = append(l.result.Checks, Check{What: what, Measured: text, Expected: expected, Source: source, Passed: passed})
}

// ExpectThat asserts a fact.
func (l *Lab) ExpectThat(what string, holds bool, measured, expected, source string) {
	l.result.Checks = append(l.result.Checks, Check{What: what, Measured: measured, Expected: expected, Source: source, Passed: holds})
}

// short is a number with four digits that count.
func short(v float64) string {
	switch size := math.Abs(v); {
	case math.IsInf(v, 0) || math.IsNaN(v):
		return fmt.Sprint(v)
	case size >= 1000:
		return strconv.FormatFloat(math.Round(v), 'f', -1, 64)
	case size < 1e-9:
		return "0"
	case size < 1e-3:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
