package report

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/go-resilience/resilience/lab/internal/scenario"
)

// CSV writes every point of every picture, one on each line.
func CSV(out io.Writer, results []*scenario.Result) error {
	w := csv.NewWriter(out)
	_ = w.Write([]string{"scenario", "figure", "panel", "series", "x", "y", "low", "high", "x_axis", "y_axis"})
	for _, r := range results {
		for _, f := range r.Figures {
			for _, p := range f.Panels {
				for _, s := range p.Series {
					for i := range s.X {
						low, high := "", ""
						if s.Low != nil {
							low, high = exact(s.Low[i]), exact(s.High[i])
						}
						_ = w.Write([]string{word(r.Name), word(f.Name), word(p.Title), word(s.Name), exact(s.X[i]), exact(s.Y[i]), low, high, word(p.X.Label), word(p.Y.Label)})
					}
				}
			}
		}
	}
	w.Flush()
	return w.Error()
}

// word returns a text as spreadsheets take it for one: with an apostrophe before what they would compute.
func word(text string) string {
	if text == "" || !strings.Contains("=+-@\t\r\n", text[:1]) {
		return text
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return text
	}
	return "'" + text
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// exact returns a number as it is, and nothing for one that no spreadsheet has, such as a time that never came.
func exact(v float64) string {
	if !isFinite(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// JSON writes checks and pictures. A number that JSON does not have, such as a time that never came, is null.
func JSON(out io.Writer, results []*scenario.Result) error {
	type check struct {
		What     string `json:"what"`
		Measured string `json:"measured"`
		Expected string `json:"expected"`
		Source   string `json:"source"`
		Passed   bool   `json:"passed"`
	}
	type series struct {
		Name string     `json:"name"`
		X    []*float64 `json:"x"`
		Y    []*float64 `json:"y"`
		Low  []*float64 `json:"low,omitempty"`
		High []*float64 `json:"high,omitempty"`
	}
	type panel struct {
		Title  string   `json:"title"`
		X      string   `json:"x"`
		Y      string   `json:"y"`
		Series []series `json:"series"`
	}
	type figure struct {
		Name   string  `json:"name"`
		Title  string  `json:"title"`
		Panels []panel `json:"panels"`
	}
	type settings = map[string]float64 // parameters that were changed
	type result struct {
		Name    string   `json:"name"`
		Page    string   `json:"page"`
		Seed    uint64   `json:"seed"`
		Set     settings `json:"set,omitempty"`
		Hash    string   `json:"hash"`
		Error   string   `json:"error,omitempty"`
		Checks  []check  `json:"checks"`
		Figures []figure `json:"figures"`
	}
	all := []result{}
	for _, r := range results {
		one := result{Name: r.Name, Page: r.Page, Seed: r.Seed, Set: r.Set, Hash: fmt.Sprintf("%016x", r.Hash), Checks: []check{}, Figures: []figure{}}
		if r.Err != nil {
			one.Error = r.Err.Error()
		}
		for _, c := range r.Checks {
			one.Checks = append(one.Checks, check{c.What, c.Measured, c.Expected, c.Source, c.Passed})
		}
		for _, f := range r.Figures {
			drawn := figure{Name: f.Name, Title: f.Title}
			for _, p := range f.Panels {
				part := panel{Title: p.Title, X: p.X.Label, Y: p.Y.Label, Series: []series{}}
				for _, s := range p.Series {
					part.Series = append(part.Series, series{s.Name, finite(s.X), finite(s.Y), finite(s.Low), finite(s.High)})
				}
				drawn.Panels = append(drawn.Panels, part)
			}
			one.Figures = append(one.Figures, drawn)
		}
		all = append(all, one)
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", " ")
	return encoder.Encode(all)
}

func finite(values []float64) []*float64 {
	var numbers []*float64
	for i := range values {
		if isFinite(values[i]) {
			numbers = append(numbers, &values[i])
		} else {
			numbers = append(numbers, nil)
		}
	}
	return numbers
}
