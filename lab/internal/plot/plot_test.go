package plot_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/lab/internal/plot"
)

func figure() *plot.Figure {
	nan := math.NaN()
	return &plot.Figure{Name: "f", Title: "A & B < C", Columns: 2, Footer: "seed 1", Panels: []plot.Panel{
		{Title: "left", X: plot.Axis{Label: "x"}, Y: plot.Axis{Label: "y", Log: true}, Series: []plot.Series{
			{Name: "measured", X: []float64{0, 1, 2}, Y: []float64{1, 10, 100}, Low: []float64{1, 9, 90}, High: []float64{1, 11, 110}},
			{Name: "theory", Style: plot.Theory, X: []float64{0, 1, 2}, Y: []float64{1, nan, 100}},
			{Name: "zero cannot be drawn", Style: plot.Points, X: []float64{0, 1}, Y: []float64{0, 10}},
		}},
		{Title: "right", X: plot.Axis{Label: "t"}, Y: plot.Axis{Label: "n"}, Series: []plot.Series{
			{Name: "steps", Style: plot.Step, X: []float64{0, 1, 2}, Y: []float64{0, 5, 2}},
		}},
		{Title: "states", X: plot.Axis{Label: "t"}, Strips: []plot.Strip{{Name: "breaker", Spans: []plot.Span{
			{From: 0, To: 3, Kind: "closed", Colour: plot.Green}, {From: 3, To: 4, Kind: "open", Colour: plot.Vermilion},
		}}}},
	}}
}

func TestSVGIsWellFormed(t *testing.T) {
	svg := figure().SVG()
	decoder := xml.NewDecoder(strings.NewReader(svg))
	texts := ""
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if text, ok := token.(xml.CharData); ok {
			texts += string(text)
		}
	}
	for _, want := range []string{"A & B < C", "left", "right", "states", "measured", "theory", "steps", "breaker", "closed", "open", "seed 1"} {
		require.Contains(t, texts, want)
	}
	require.NotContains(t, svg, "NaN")
	require.NotContains(t, svg, "Inf")
	require.NotContains(t, strings.ReplaceAll(svg, "http://www.w3.org/2000/svg", ""), "http", "nothing from outside")
	require.Equal(t, svg, figure().SVG(), "the same bytes every time")
}

func TestSVGCoordinates(t *testing.T) {
	f := &plot.Figure{Title: "t", Panels: []plot.Panel{{X: plot.Axis{Min: plot.At(0), Max: plot.At(10)}, Y: plot.Axis{Min: plot.At(0), Max: plot.At(1)},
		Series: []plot.Series{{Name: "s", X: []float64{0, 10}, Y: []float64{0, 1}}}}}}
	require.Contains(t, f.SVG(), `data-box="62,74,744,324" data-x="0,10,false" data-y="0,1,false"`)
	require.Contains(t, f.SVG(), `<path d="M62 324L744 74" fill="none"`, "from the lower left to the upper right corner of the box")
}

func TestTicksAreRound(t *testing.T) {
	f := &plot.Figure{Panels: []plot.Panel{{X: plot.Axis{Min: plot.At(0), Max: plot.At(1)}, Y: plot.Axis{Log: true, Min: plot.At(1), Max: plot.At(1e6)},
		Series: []plot.Series{{X: []float64{0, 1}, Y: []float64{1, 1e6}}}}}}
	for _, tick := range []string{">0.2<", ">0.8<", ">1<", ">100<", ">10k<", ">1e6<"} {
		require.Contains(t, f.SVG(), tick)
	}
}

func ExampleFigure_Text() {
	f := &plot.Figure{Title: "Squares", Panels: []plot.Panel{{
		Title: "growth", X: plot.Axis{Label: "n"}, Y: plot.Axis{Label: "n²"},
		Series: []plot.Series{{Name: "squares", Style: plot.Points, X: []float64{0, 1, 2, 3}, Y: []float64{0, 1, 4, 9}}},
	}}}
	for _, line := range strings.Split(f.Text(), "\n") {
		if strings.Contains(line, "o") {
			fmt.Println(strings.TrimSpace(strings.ReplaceAll(line, " ", "")))
		}
	}
	// Output:
	// growth[n²]
	// |o
	// 4.36|o
	// |o
	// 0|o
	// osquares
}
