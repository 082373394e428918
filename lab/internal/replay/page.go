package replay

import (
	_ "embed"
	"fmt"
	"html/template"
	"strconv"
	"strings"

	"github.com/go-resilience/resilience/lab/internal/plot"
)

//go:embed page.html
var page string

var pageTemplate = template.Must(template.New("replay").Parse(page))

// HTML returns the report as one HTML document that refers to nothing else.
func (r *Report) HTML() string {
	type prediction struct {
		Name, Layers, Class, Verdict, Words string
		Warnings, Reasons                   []string
	}
	type figure struct {
		Class string
		SVG   template.HTML
	}
	var predictions []prediction
	columns := []string{"recorded"}
	var trials [][]string
	var limits []string
	for _, p := range r.Predictions {
		one := prediction{Name: oneLine(p.Candidate.Name), Layers: p.Candidate.Layers, Class: strings.ReplaceAll(p.Verdict.String(), " ", "-"), Verdict: p.Verdict.String(), Warnings: p.Candidate.Warnings, Reasons: p.Reasons}
		switch p.Verdict {
		case Firm, Marked:
			one.Words = "Model: " + p.Model.Name + "; " + p.Model.Words + "."
		case CannotTell:
			one.Words = "Success is somewhere from " + p.interval() + "."
		}
		predictions = append(predictions, one)
		columns = append(columns, one.Name)
		for _, t := range p.Trials {
			counts := ""
			if t.Counts {
				counts = "yes"
			}
			m := t.Outcome
			trials = append(trials, []string{one.Name + ", " + t.Model.Name, strconv.FormatUint(t.Seed, 10), counts, ofAll(m.Succeeded, m.Calls), ofAll(m.Refused, m.Calls), count(m.Attempts), long(m.Busy), latency(m.P99), fmt.Sprintf("%016x", m.Hash)})
		}
		if p.certain() {
			for _, l := range p.Main.Limits {
				limits = append(limits, one.Name+", "+l.Layer+": "+l.words())
			}
		}
	}
	var rows []struct {
		Title string
		Cells []string
	}
	for _, one := range r.rows() {
		rows = append(rows, struct {
			Title string
			Cells []string
		}{one.title, one.cells})
	}
	var figures []figure
	for i, f := range r.figures() {
		for j, svg := range []string{f.SVG(), f.Narrow()} {
			id := fmt.Sprintf("f%d-%d-clip", i, j) // unique in the document
			svg = strings.NewReplacer(`id="clip`, `id="`+id, `url(#clip`, `url(#`+id).Replace(svg)
			figures = append(figures, figure{[]string{"wide", "narrow"}[j], template.HTML(svg)}) //nolint:gosec // escaped by package plot
		}
	}
	var header strings.Builder
	r.header(&header)
	var b strings.Builder
	err := pageTemplate.Execute(&b, map[string]any{
		"Files": filesOf(r.Files), "Header": strings.Split(strings.TrimSpace(header.String()), "\n"), "Predictions": predictions, "Plan": r.Plan,
		"Columns": columns, "Rows": rows, "Figures": figures, "Limits": limits, "Trials": trials, "Seed": r.Seed, "Took": long(r.Took),
	})
	if err != nil {
		panic(err) // the template and its data are both of this package
	}
	return b.String()
}

// mostPoints bounds the points of a line.
const mostPoints = 300

// figures draws what happened over time.
func (r *Report) figures() []*plot.Figure {
	success := plot.Panel{Title: "Calls that succeed", X: plot.Axis{Label: "seconds since " + r.Log.Begin.Format("15:04:05")}, Y: plot.Axis{Label: "%", Min: plot.At(0), Max: plot.At(101)}}
	attempts := plot.Panel{Title: "Attempts sent", X: success.X, Y: plot.Axis{Label: "per second", Min: plot.At(0)}}
	add := func(name string, m *Measured, width float64, colour int) {
		step := (len(m.Seconds) + mostPoints - 1) / mostPoints
		ok := plot.Series{Name: name, Style: plot.Step, Width: width, Colour: colour}
		sent := ok
		for from := 0; from < len(m.Seconds); from += step {
			var calls, good, tried int32
			until := min(from+step, len(m.Seconds))
			for _, s := range m.Seconds[from:until] {
				calls, good, tried = calls+s.Calls, good+s.Succeeded, tried+s.Attempts
			}
			if calls > 0 {
				ok.X, ok.Y = append(ok.X, float64(from)), append(ok.Y, 100*float64(good)/float64(calls))
			}
			sent.X, sent.Y = append(sent.X, float64(from)), append(sent.Y, float64(tried)/float64(until-from))
		}
		success.Series, attempts.Series = append(success.Series, ok), append(attempts.Series, sent)
	}
	add("recorded", r.Recorded, 4, plot.Silver)
	strips := plot.Panel{Title: "States", X: success.X}
	for i, p := range r.Predictions {
		if !p.certain() {
			continue
		}
		name := oneLine(p.Candidate.Name)
		if p.Verdict != Firm {
			name += " (" + p.Verdict.String() + ")"
		}
		add(name, p.Main, 2, i%7+1)
		for _, t := range p.Main.States {
			strip := plot.Strip{Name: label(oneLine(p.Candidate.Name), t.Layer)}
			for k, s := range t.Spans {
				if k == 500 {
					break
				}
				strip.Spans = append(strip.Spans, plot.Span{From: s.From.Seconds(), To: s.Until.Seconds(), Kind: s.State, Colour: stateColours[s.State]})
			}
			if len(t.Spans) > 1 {
				strips.Strips = append(strips.Strips, strip)
			}
		}
	}
	f := []*plot.Figure{{Title: "Over time", Columns: 1, Panels: []plot.Panel{success, attempts}}}
	if len(strips.Strips) > 0 {
		f = append(f, &plot.Figure{Title: "States of the layers", Panels: []plot.Panel{strips}})
	}
	return f
}

var stateColours = map[string]int{"closed": plot.Green, "open": plot.Vermilion, "half-open": plot.Orange, "accepting": plot.Green}

// label is what there is room for beside a strip: the end of a candidate's name, and the beginning of a layer's.
func label(candidate, layer string) string {
	if runes := []rune(candidate); len(runes) > 11 {
		candidate = "…" + string(runes[len(runes)-10:])
	}
	return short(candidate+" "+layer, 22)
}

func short(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
