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

	numeric   bool    // Value may be from low to high
	low, high float64 // equal ones: there is one number that it may be
}

// Sharp reports whether a change by a fifth of what is checked is noticed. That of a fact says nothing of it; what else is not
// sharp stands in [Blunt].
func (c *Check) Sharp() bool {
	switch {
	case !c.numeric:
		return false
	case c.low == c.high:
		return true
	case c.Allowed > 0:
		return c.Allowed < .2*math.Abs(c.Reference)
	}
	return c.low > .8*c.Value && c.low > 0 || c.high < 1.2*c.Value
}

// Sigmas is how many standard errors a mean may be off. With four, one check in 16,000 would fail by chance alone, and a
// run has hundreds; with five, one in 1.7 million does, and so one run in 4,000.
const Sigmas = 5

// Rare is by how many things more a number of rare things may be off: where hardly any are expected, the number that comes is
// not a normal one. With one expected, ten more do not come in 100 million runs.
const Rare = 10

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
	n := float64(len(measured))
	allowed := Sigmas*math.Hypot(expected.Deviation/math.Sqrt(n), expected.Error) + Rare*expected.Grain/n + 1e-9*math.Abs(expected.Mean)
	text := short(expected.Mean) + " ± " + strconv.FormatFloat(allowed, 'g', 2, 64)
	low, high := expected.Mean-allowed, expected.Mean+allowed
	if expected.Deviation == 0 && expected.Error == 0 && expected.Grain == 0 {
		text = short(expected.Mean) + " exactly"
		low, high = expected.Mean, expected.Mean
	}
	l.add(Check{
		What: what, Measured: short(m), Expected: text, Source: source,
		Passed: math.Abs(m-expected.Mean) <= allowed, // false for NaN
		Value:  m, Reference: expected.Mean, Allowed: allowed,
		numeric: true, low: low, high: high,
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
	l.add(Check{What: what, Measured: text, Expected: expected, Source: source, Passed: passed, numeric: true, low: low, high: high, Value: mean(measured)})
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
