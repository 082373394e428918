package replay

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Condition is what -fail-if says, such as "lost > 1 %".
type Condition struct {
	text   string
	metric metric
	op     string
	bound  float64 // in the unit of the metric
}

// metric is a number of a report.
type metric struct {
	name string
	unit unit
	what string
	// of returns the number, from what was recorded and what came out. Shares are in percent, durations in seconds.
	of func(recorded, m *Measured) float64
}

type unit uint8

const (
	percent unit = iota
	seconds
)

var metrics = []metric{
	{"lost", percent, "recorded successes that fail or are refused now, of the recorded successes", func(r, m *Measured) float64 { return 100 * share(m.Lost, r.Succeeded) }},
	{"gained", percent, "recorded failures that succeed now, of all calls", func(_, m *Measured) float64 { return 100 * share(m.Gained, m.Calls) }},
	{"success", percent, "calls that succeed, of all", func(_, m *Measured) float64 { return 100 * m.Success() }},
	{"failed", percent, "calls that fail after attempts, of all", func(_, m *Measured) float64 { return 100 * share(m.Failed, m.Calls) }},
	{"refused", percent, "calls of which nothing is sent, of all", func(_, m *Measured) float64 { return 100 * share(m.Refused, m.Calls) }},
	{"attempts", percent, "attempts sent, of those that were recorded", func(r, m *Measured) float64 { return 100 * share(m.Attempts, r.Attempts) }},
	{"busy", percent, "backend seconds, of those that were recorded", func(r, m *Measured) float64 {
		return 100 * m.Busy.Seconds() / max(1e-9, r.Busy.Seconds())
	}},
	{"waited", percent, "time that callers wait, of that recorded", func(r, m *Measured) float64 {
		return 100 * m.Waited.Seconds() / max(1e-9, r.Waited.Seconds())
	}},
	{"p50", seconds, "median latency of successes", func(_, m *Measured) float64 { return m.ofSuccesses(m.P50) }},
	{"p95", seconds, "latency of successes", func(_, m *Measured) float64 { return m.ofSuccesses(m.P95) }},
	{"p99", seconds, "latency of successes; that of none is longer than any", func(_, m *Measured) float64 { return m.ofSuccesses(m.P99) }},
}

// ofSuccesses returns a latency in seconds, an infinite one if nothing succeeded: that is not fast.
func (m *Measured) ofSuccesses(latency time.Duration) float64 {
	if m.Succeeded == 0 {
		return math.Inf(1)
	}
	return latency.Seconds()
}

// operators, longer ones first.
var operators = []string{">=", "<=", ">", "<"}

// ParseCondition reads a condition: METRIC OPERATOR NUMBER, where the number has a % sign, or is a duration with a unit.
func ParseCondition(text string) (Condition, error) {
	text = strings.Map(func(r rune) rune { // what is quoted in an error is as long as it looks
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return '?'
	}, text)
	c := Condition{text: strings.TrimSpace(text)}
	wrong := func(format string, args ...any) (Condition, error) {
		return Condition{}, fmt.Errorf("%.60q: %s; write it as 'lost > 1 %%' or 'p99 > 500ms'", text, fmt.Sprintf(format, args...))
	}
	at := strings.IndexAny(c.text, "<>")
	if at < 0 {
		return wrong("has none of >, >=, <, <=")
	}
	for _, op := range operators {
		if strings.HasPrefix(c.text[at:], op) {
			c.op = op
			break
		}
	}
	name := strings.TrimSpace(c.text[:at])
	i := slices.IndexFunc(metrics, func(m metric) bool { return m.name == name })
	if i < 0 {
		var names []string
		for _, m := range metrics {
			names = append(names, m.name)
		}
		return wrong("there is no number %.40q; there are %s", name, strings.Join(names, ", "))
	}
	c.metric = metrics[i]
	value := strings.TrimSpace(c.text[at+len(c.op):])
	if c.metric.unit == seconds {
		d, err := time.ParseDuration(strings.ReplaceAll(value, " ", ""))
		if err != nil || d < 0 {
			return wrong("%.40q is no duration from 0 with a unit", value)
		}
		c.bound = d.Seconds()
		return c, nil
	}
	digits, ok := strings.CutSuffix(value, "%")
	number, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if !ok || err != nil || !(number >= 0 && number <= 1e9) || strings.ContainsAny(digits, "xXpP_") {
		return wrong("%.40q is no number from 0 with a %% sign", value)
	}
	c.bound = number
	return c, nil
}

// String returns the condition as it was written.
func (c Condition) String() string { return c.text }

// holds reports whether the condition is met.
func (c Condition) holds(recorded, m *Measured) bool {
	value := c.metric.of(recorded, m)
	switch c.op {
	case ">":
		return value > c.bound
	case ">=":
		return value >= c.bound
	case "<":
		return value < c.bound
	}
	return value <= c.bound
}

// show returns the number that the condition is about.
func (c Condition) show(recorded, m *Measured) string {
	value := c.metric.of(recorded, m)
	if math.IsInf(value, 1) {
		return c.metric.name + " of no success"
	}
	if c.metric.unit == seconds {
		return c.metric.name + " " + brief(time.Duration(value*1e9))
	}
	return fmt.Sprintf("%s %s %%", c.metric.name, strconv.FormatFloat(value, 'f', 2, 64))
}

// Metrics returns the numbers that conditions are about, one on each line.
func Metrics() string {
	var b strings.Builder
	for _, m := range metrics {
		fmt.Fprintf(&b, "  %-9s %s\n", m.name, m.what)
	}
	return b.String()
}

// Answer says whether a condition holds.
type Answer uint8

const (
	// No: it does not.
	No Answer = iota
	// Perhaps: it depends on what the log does not say.
	Perhaps
	// Yes: it does, whichever guess is right.
	Yes
)

// Holds says whether a condition holds for a prediction: for a firm one by its number, for a marked one if it does by every
// guess that counts. Of a refused one nobody knows.
func (p *Prediction) Holds(c Condition, recorded *Measured) (Answer, string) {
	switch p.Verdict {
	case Refused:
		return Perhaps, "cannot tell, the prediction is refused"
	case Firm:
		if c.holds(recorded, p.Main) {
			return Yes, "yes, " + c.show(recorded, p.Main)
		}
		return No, "no, " + c.show(recorded, p.Main)
	}
	yes, all := 0, 0
	var low, high *Measured
	for _, t := range p.Trials {
		if !t.Counts {
			continue
		}
		all++
		if c.holds(recorded, t.Outcome) {
			yes++
		}
		value := c.metric.of(recorded, t.Outcome)
		if low == nil || value < c.metric.of(recorded, low) {
			low = t.Outcome
		}
		if high == nil || value > c.metric.of(recorded, high) {
			high = t.Outcome
		}
	}
	text := c.show(recorded, low) + " to " + c.show(recorded, high) + ", the prediction is marked"
	switch yes {
	case 0:
		return No, "no, " + text
	case all:
		return Yes, "yes, " + text
	}
	return Perhaps, "cannot tell, " + text
}
