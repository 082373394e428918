package replay

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// row is a line of the table: a title, and a cell for what was recorded and for each candidate.
type row struct {
	title string
	cells []string
}

// number is a number of the table: its value, and as it is shown.
type number struct {
	value func(m *Measured) float64
	text  func(m *Measured) string
}

// rows returns the table of a report.
func (r *Report) rows() (rows []row) {
	rec := r.Recorded
	add := func(title, recorded string, n number) {
		one := row{title, []string{recorded}}
		for _, p := range r.Predictions {
			one.cells = append(one.cells, p.cell(n))
		}
		rows = append(rows, one)
	}
	amount := func(value func(*Measured) int, of func(*Measured) int) number {
		return number{func(m *Measured) float64 { return float64(value(m)) }, func(m *Measured) string {
			if of == nil {
				return count(value(m))
			}
			return counted(value(m), of(m))
		}}
	}
	times := func(value func(*Measured) time.Duration, text func(time.Duration) string) number {
		return number{func(m *Measured) float64 { return float64(value(m)) }, func(m *Measured) string { return text(value(m)) }}
	}
	both := func(title string, n number) { add(title, n.text(rec), n) }
	calls := func(m *Measured) int { return m.Calls }
	what := "calls"
	if !r.Log.Numbered {
		what = "requests"
	}
	both(what, amount(calls, nil))
	both("succeeded", number{(*Measured).Success, func(m *Measured) string { return ofAll(m.Succeeded, m.Calls) }})
	last := &rows[len(rows)-1]
	for i, p := range r.Predictions {
		if p.Verdict == Marked {
			last.cells[i+1] += " (" + p.interval() + ")"
		}
	}
	bound := row{"  if failures stay with calls", []string{""}}
	for _, p := range r.Predictions {
		cell := ""
		if p.CallBound != nil {
			cell = ofAll(p.CallBound.Succeeded, p.CallBound.Calls)
		}
		bound.cells = append(bound.cells, cell)
	}
	rows = append(rows, bound)
	add("  lost", "", amount(func(m *Measured) int { return m.Lost }, func(*Measured) int { return rec.Succeeded }))
	add("  gained", "", amount(func(m *Measured) int { return m.Gained }, calls))
	both("failed after attempts", amount(func(m *Measured) int { return m.Failed }, calls))
	r.breakdown(&rows, func(m *Measured) []Count { return m.Kinds })
	both("refused, nothing sent", amount(func(m *Measured) int { return m.Refused }, calls))
	r.breakdown(&rows, func(m *Measured) []Count { return m.Refusals })
	both("attempts sent", amount(func(m *Measured) int { return m.Attempts }, nil))
	both("  most in a second", amount(func(m *Measured) int { return m.PeakRate }, nil))
	both("  most at once", amount(func(m *Measured) int { return m.PeakFlight }, nil))
	both("backend busy", times(func(m *Measured) time.Duration { return m.Busy }, long))
	both("callers waited", times(func(m *Measured) time.Duration { return m.Waited }, long))
	both("p50 of successes", times(func(m *Measured) time.Duration { return m.P50 }, latency))
	both("p95", times(func(m *Measured) time.Duration { return m.P95 }, latency))
	both("p99", times(func(m *Measured) time.Duration { return m.P99 }, latency))
	last = &rows[len(rows)-1]
	for i, p := range r.Predictions {
		switch p.Verdict {
		case Firm, Marked:
			last.cells[i+1] += " (" + latency(p.P99Low) + " to " + latency(p.P99High) + ")"
		case CannotTell:
			last.cells[i+1] = latency(p.P99Low) + " to " + latency(p.P99High)
		}
	}
	both("worst ten seconds", number{func(m *Measured) float64 { return share(m.Worst.Succeeded, m.Worst.Calls) }, r.worst})
	return rows
}

// cell returns a number of a prediction: of the model that fits the log best, and where nobody can tell, from the lowest to
// the highest.
func (p *Prediction) cell(n number) string {
	switch {
	case p.Main == nil:
		return "-"
	case p.Verdict != CannotTell:
		return n.text(p.Main)
	}
	low, high := p.Main, p.Main
	for _, t := range p.Trials {
		switch value := n.value(t.Outcome); {
		case !t.Counts:
		case value < n.value(low):
			low = t.Outcome
		case value > n.value(high):
			high = t.Outcome
		}
	}
	if from, to := n.text(low), n.text(high); from != to {
		return from + " to " + to
	}
	return n.text(low)
}

// certain reports whether there is more to show of a prediction than bands.
func (p *Prediction) certain() bool { return p.Verdict == Firm || p.Verdict == Marked }

// breakdown adds a row for each kind that any column has.
func (r *Report) breakdown(rows *[]row, of func(*Measured) []Count) {
	const most = 8 // kinds, besides the others
	columns := []*Measured{r.Recorded}
	for _, p := range r.Predictions {
		if p.certain() {
			columns = append(columns, p.Main)
		} else {
			columns = append(columns, nil)
		}
	}
	var kinds []string
	at := map[string]int{}
	for _, m := range columns {
		if m == nil {
			continue
		}
		for _, c := range of(m) {
			if _, known := at[c.What]; !known {
				at[c.What] = min(len(kinds), most)
				if len(kinds) < most {
					kinds = append(kinds, c.What)
				}
			}
		}
	}
	counts := make([][]int, len(columns))
	others := false
	for i, m := range columns {
		counts[i] = make([]int, most+1)
		if m != nil {
			for _, c := range of(m) {
				counts[i][at[c.What]] += c.N
				others = others || at[c.What] == most && len(kinds) == most
			}
		}
	}
	if others {
		kinds = append(kinds, "others")
	}
	for k, kind := range kinds {
		one := row{title: "  " + oneLine(kind)}
		for i, m := range columns {
			switch {
			case m == nil:
				one.cells = append(one.cells, "-")
			case counts[i][k] == 0:
				one.cells = append(one.cells, "")
			default:
				one.cells = append(one.cells, count(counts[i][k]))
			}
		}
		*rows = append(*rows, one)
	}
}

// oneLine returns text from outside, fit for a terminal.
func oneLine(text string) string {
	const most = 40
	text = plain(text)
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return text
}

// plain returns text without what moves the cursor, or turns the direction of writing.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == utf8.RuneError || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, text)
}

// filesOf names the files of a log. Of a long path it keeps the end, which tells files apart.
func filesOf(files []string) string {
	const most, longest = 3, 46
	var names []string
	for _, file := range files[:min(most, len(files))] {
		if runes := []rune(file); len(runes) > longest {
			file = "…" + string(runes[len(runes)-longest:])
		}
		names = append(names, plain(file))
	}
	text := strings.Join(names, ", ")
	if more := len(files) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func (p *Prediction) interval() string {
	return fmt.Sprintf("%.1f to %.1f %%", 100*p.Low, 100*p.High)
}

func counted(n, of int) string {
	if n == 0 {
		return "0"
	}
	return count(n) + " (" + ofAll(n, of) + ")"
}

func latency(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return brief(d)
}

func (r *Report) worst(m *Measured) string {
	if m.Worst.Calls == 0 {
		return "-"
	}
	return ofAll(m.Worst.Succeeded, m.Worst.Calls) + " at " + r.Log.Begin.Add(m.Worst.From).Format("15:04:05")
}

// Text returns the report for a terminal: first how far it can be trusted, then the numbers.
func (r *Report) Text() string {
	var b strings.Builder
	r.header(&b)
	for _, p := range r.Predictions {
		fmt.Fprintf(&b, "\n%s: %s\n", p.Candidate.Name, p.Candidate.Layers)
		for _, warning := range p.Candidate.Warnings {
			fmt.Fprintf(&b, "  note: %s\n", warning)
		}
		for _, line := range p.words() {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	if r.Plan != "" {
		fmt.Fprintf(&b, "\nwhat changes:\n")
		for _, line := range strings.Split(r.Plan, "\n") {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	b.WriteString("\n")
	b.WriteString(r.table())
	r.limits(&b)
	r.states(&b)
	return b.String()
}

func (r *Report) header(b *strings.Builder) {
	n, l := r.Log.Notes, r.Log
	fmt.Fprintf(b, "%s: %s lines of %s\n  %s\n", filesOf(r.Files), count(n.Lines), n.Format, n.Why)
	fmt.Fprintf(b, "%s UTC, for %s, %.1f lines a second, times to %v\n", l.Begin.Format("2006-01-02 15:04:05"), long(l.Span), l.PerSecond(), max(1, n.Resolution))
	if !l.Numbered {
		b.WriteString("per attempt: the lines have no call and no number of the attempt, so each is taken for a call\n")
	}
	if r.Load != "" {
		fmt.Fprintf(b, "%s\n", r.Load)
	}
	for _, w := range n.Warnings {
		fmt.Fprintf(b, "warning: %s\n", plain(w))
	}
	for _, bad := range n.BadLines {
		fmt.Fprintf(b, "bad line %d: %s: %s\n", bad.Line, bad.Reason, bad.Text)
	}
}

// words says how far a prediction can be trusted.
func (p *Prediction) words() []string {
	head := "prediction: " + p.Verdict.String()
	switch p.Verdict {
	case Firm:
		return wrapped(head+" (model: "+p.Model.Name+"; "+p.Model.Words+")", "  ")
	case Marked:
		head += " (numbers are of the model: " + p.Model.Name + "; " + p.Model.Words + ")"
	case CannotTell:
		head += fmt.Sprintf(": success %s", p.interval())
	}
	lines := wrapped(head, "  ")
	for _, reason := range p.Reasons {
		lines = append(lines, wrapped("  - "+reason, "    ")...)
	}
	return lines
}

func (r *Report) table() string {
	head := row{"", []string{"recorded"}}
	for _, p := range r.Predictions {
		head.cells = append(head.cells, oneLine(p.Candidate.Name))
	}
	rows := append([]row{head}, r.rows()...)
	widths := make([]int, len(head.cells)+1)
	for _, one := range rows {
		widths[0] = max(widths[0], utf8.RuneCountInString(one.title))
		for i, cell := range one.cells {
			widths[i+1] = max(widths[i+1], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for i, one := range rows {
		line := one.title + strings.Repeat(" ", widths[0]-utf8.RuneCountInString(one.title))
		for j, cell := range one.cells {
			line += "  " + strings.Repeat(" ", widths[j+1]-utf8.RuneCountInString(cell)) + cell
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
		if i == 0 {
			total := widths[0]
			for _, w := range widths[1:] {
				total += w + 2
			}
			b.WriteString(strings.Repeat("-", total) + "\n")
		}
	}
	return b.String()
}

// limits shows the limits of the layers against peaks.
func (r *Report) limits(b *strings.Builder) {
	first := true
	for _, p := range r.Predictions {
		if !p.certain() {
			continue
		}
		for _, l := range p.Main.Limits {
			if first {
				fmt.Fprintf(b, "\nlimits against peaks (recorded: %s attempts at once, %s in a second)\n", count(r.Recorded.PeakFlight), count(r.Recorded.PeakRate))
				first = false
			}
			fmt.Fprintf(b, "  %s, %s: %s\n", p.Candidate.Name, l.Layer, l.words())
		}
	}
}

func (l Limit) words() string {
	if l.Limit == 0 {
		return fmt.Sprintf("at most %v %s", l.Peak, l.What)
	}
	return fmt.Sprintf("at most %v %s, the limit is %v", l.Peak, l.What, l.Limit)
}

// states shows the states of the layers over time.
func (r *Report) states(b *strings.Builder) {
	const width = 60
	for _, p := range r.Predictions {
		if !p.certain() {
			continue
		}
		for _, t := range p.Main.States {
			text := fmt.Sprintf("%s, %s: %s", p.Candidate.Name, t.Layer, t.words())
			fmt.Fprintf(b, "\n%s\n", strings.Join(wrapped(text, "  "), "\n"))
			if len(t.Spans) > 1 {
				fmt.Fprintf(b, "  |%s|\n", t.strip(r.Log.Span, width))
			}
		}
	}
}

// words says how long the layer was in which state.
func (t *Track) words() string {
	total := map[string]time.Duration{}
	times := map[string]int{}
	var order []string
	for _, s := range t.Spans {
		if times[s.State] == 0 {
			order = append(order, s.State)
		}
		times[s.State]++
		total[s.State] += s.Until - s.From
	}
	var parts []string
	for _, state := range order {
		one := fmt.Sprintf("%s %s", state, long(total[state]))
		if times[state] > 1 {
			one += fmt.Sprintf(" in %d spans", times[state])
		}
		parts = append(parts, one)
	}
	return strings.Join(parts, ", ")
}

// strip draws the states over time, a letter for the first state that is not the usual one in each part.
func (t *Track) strip(span time.Duration, width int) string {
	cells := make([]byte, width)
	usual := t.Spans[0].State
	for _, s := range t.Spans {
		letter := byte('.')
		if s.State != usual && s.State != "" {
			letter = s.State[0]
		}
		from := int(float64(s.From) / float64(max(1, span)) * float64(width))
		until := int(float64(s.Until) / float64(max(1, span)) * float64(width))
		for i := max(0, from); i <= min(width-1, until); i++ {
			if cells[i] == 0 || cells[i] == '.' {
				cells[i] = letter
			}
		}
	}
	for i := range cells {
		if cells[i] == 0 {
			cells[i] = ' '
		}
	}
	return string(cells)
}
