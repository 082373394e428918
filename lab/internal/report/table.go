package report

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-resilience/resilience/lab/internal/scenario"
)

// Table returns the checks of the results as text, one on each line.
func Table(results []*scenario.Result) string {
	rows := [][]string{{"", "what", "measured", "expected", "source", "verdict"}}
	for _, r := range results {
		for _, c := range r.Checks {
			rows = append(rows, []string{r.Name, c.What, c.Measured, c.Expected, c.Source, verdict(c.Passed)})
		}
		if r.Err != nil {
			rows = append(rows, []string{r.Name, "the simulation", firstLine(r.Err.Error()), "no error", "", verdict(false)})
		}
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for i, row := range rows {
		var line strings.Builder
		for j, cell := range row {
			line.WriteString(cell + strings.Repeat(" ", widths[j]-utf8.RuneCountInString(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
		if i == 0 {
			sum := 0
			for _, width := range widths {
				sum += width + 2
			}
			b.WriteString(strings.Repeat("-", sum-2) + "\n")
		}
	}
	return b.String()
}

// mostFailures bounds what a whole run prints of what was not as expected; the report has the rest.
const mostFailures = 20

// Failures returns what was not as expected, one on each line, and how much of it is left out.
func Failures(results []*scenario.Result) string {
	var lines []string
	for _, r := range results {
		for _, c := range r.Checks {
			if !c.Passed {
				lines = append(lines, fmt.Sprintf("FAIL %-4s %s: %s, expected %s (%s)\n", r.Name, c.What, c.Measured, c.Expected, c.Source))
			}
		}
		if r.Err != nil {
			lines = append(lines, fmt.Sprintf("FAIL %-4s the simulation: %s\n", r.Name, firstLine(r.Err.Error())))
		}
	}
	if more := len(lines) - mostFailures; more > 0 {
		lines = append(lines[:mostFailures], fmt.Sprintf("FAIL and %d more\n", more))
	}
	return strings.Join(lines, "")
}

// Summary returns one line for each result, and a last one for all.
func Summary(results []*scenario.Result) string {
	var b strings.Builder
	good, checks := 0, 0
	for _, r := range results {
		passed := 0
		for _, c := range r.Checks {
			if c.Passed {
				passed++
			}
		}
		checks += len(r.Checks)
		good += passed
		fmt.Fprintf(&b, "%-4s %-24s %4d of %-4d %5d worlds %10d events  hash %016x  %s\n",
			r.Name, r.Page, passed, len(r.Checks), r.Worlds, r.Events, r.Hash, verdict(r.Passed()))
	}
	fmt.Fprintf(&b, "%d of %d expectations met\n", good, checks)
	return b.String()
}

func verdict(passed bool) string {
	if passed {
		return "pass"
	}
	return "FAIL"
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
