package scenario

import (
	"fmt"
	"math"
	"strconv"

	"github.com/go-resilience/resilience/lab/internal/reference"
)

// Check is a measurement beside what was expected of it.
type Check struct {
	What     string
	Measured string
	Expected string
	Source   string
	Passed   bool

	Value, Reference, Allowed float64 // of a number that may be off: by how much; otherwise 0
}

// Sigmas is how many standard errors a mean may be off. With four, one check in 16,000 would fail by chance alone, and a
// run has hundreds; with six, fewer than one run in a million does.
const Sigmas = 6

func (l *Lab) add(c Check) {
	l.result.Checks = append(l.result.Checks, c)
	if l.options.untilFailure && !c.Passed {
		panic(&failed{})
	}
}

// Expect compares the mean of several runs with a reference. How far it may be off is fixed by the reference, not by what
// was measured: [Sigmas] standard errors of the mean of so many runs, and of the reference itself.
func (l *Lab) Expect(what string, measured []float64, expected reference.Number, source string) {
	m := mean(measured)
	allowed := Sigmas*math.Hypot(expected.Deviation/math.Sqrt(float64(len(measured))), expected.Error) + 1e-9*math.Abs(expected.Mean)
	text := short(expected.Mean) + " ± " + strconv.FormatFloat(allowed, 'g', 2, 64)
	if expected.Deviation == 0 && expected.Error == 0 {
		text = short(expected.Mean) + " exactly"
	}
	l.add(Check{
		What: what, Measured: short(m), Expected: text, Source: source,
		Passed: math.Abs(m-expected.Mean) <= allowed, // false for NaN
		Value:  m, Reference: expected.Mean, Allowed: allowed,
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
	l.add(Check{What: what, Measured: text, Expected: expected, Source: source, Passed: passed})
}

// ExpectThat asserts a fact.
func (l *Lab) ExpectThat(what string, holds bool, measured, expected, source string) {
	l.add(Check{What: what, Measured: measured, Expected: expected, Source: source, Passed: holds})
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
