package report

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"strings"

	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/scenario"
)

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Parse(page))

// HTML returns the results as one HTML document that refers to nothing else. Without JavaScript it shows everything;
// with it, plots show their values under the pointer, and their series can be hidden.
func HTML(results []*scenario.Result) string {
	type figure struct {
		Class string
		SVG   template.HTML
		Data  template.JS
	}
	type section struct {
		*scenario.Result
		Figures []figure
	}
	var sections []section
	good, checks := 0, 0
	for _, r := range results {
		s := section{Result: r}
		for i, f := range r.Figures {
			data := template.JS(values(f)) //nolint:gosec // made here, of nothing from outside
			for j, svg := range []string{f.SVG(), f.Narrow()} {
				// Ids must be unique in the document.
				id := fmt.Sprintf("%s-%d-%d-clip", r.Name, i, j)
				svg = strings.NewReplacer(`id="clip`, `id="`+id, `url(#clip`, `url(#`+id).Replace(svg)
				s.Figures = append(s.Figures, figure{[]string{"wide", "narrow"}[j], template.HTML(svg), data}) //nolint:gosec // as above
			}
		}
		for _, c := range r.Checks {
			checks++
			if c.Passed {
				good++
			}
		}
		sections = append(sections, s)
	}
	var b strings.Builder
	err := pageTemplate.Execute(&b, map[string]any{"Sections": sections, "Good": good, "Checks": checks, "Passed": good == checks, "Seed": results[0].Seed, "Full": results[0].Size == scenario.Full})
	if err != nil {
		panic(err) // the template and its data are both of this package
	}
	return b.String()
}

// values returns what the script needs of a figure: the names and points of its series.
func values(f *plot.Figure) string {
	type series struct {
		Name string       `json:"name"`
		At   [][2]float64 `json:"at"`
	}
	type panel struct {
		X      string   `json:"x"`
		Series []series `json:"series"`
	}
	var panels []panel
	for _, p := range f.Panels {
		out := panel{X: p.X.Label, Series: []series{}}
		for _, s := range p.Series {
			line := series{Name: s.Name, At: [][2]float64{}}
			for i := range s.X {
				if isFinite(s.Y[i]) {
					line.At = append(line.At, [2]float64{s.X[i], s.Y[i]})
				}
			}
			out.Series = append(out.Series, line)
		}
		panels = append(panels, out)
	}
	data, err := json.Marshal(panels)
	if err != nil {
		panic(err) // numbers are finite
	}
	return string(data)
}
