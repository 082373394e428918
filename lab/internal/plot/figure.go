package plot

import "math"

// Figure is a picture of one or more panels.
type Figure struct {
	Name    string // of its file, without ending; "" for the only picture of a scenario
	Title   string
	Columns int // of panels; 0 is 1
	Panels  []Panel
	Footer  string
}

// Panel is one plot.
type Panel struct {
	Title  string
	X, Y   Axis
	Series []Series
	Strips []Strip // rows of coloured spans over x, instead of series
	Shades []Span  // parts of x that are shaded, such as the time of a trigger
}

// Axis is a direction of a panel. Its range is that of the data unless Min or Max say otherwise.
type Axis struct {
	Label    string
	Log      bool
	Bare     bool // without numbers: the label says it all
	Min, Max *float64
}

// At returns v for Axis.Min and Axis.Max.
func At(v float64) *float64 { return &v }

// Style is how a series is drawn.
type Style int

// The styles. Theory is drawn dashed, so that it is seen under what was measured.
const (
	Line Style = iota
	Step
	Points
	Theory
	TheorySteps // of what exists at whole numbers only
)

// dashed reports whether the style is one of theory.
func (s Style) dashed() bool { return s == Theory || s == TheorySteps }

// Series is points (X[i], Y[i]), in order. NaN leaves a gap.
type Series struct {
	Name      string
	Style     Style
	Colour    int     // number of the colour; 0 takes the position among the series
	Width     float64 // of the line; 0 is 2. Wide lines first let narrow ones on top of them be seen together
	X, Y      []float64
	Low, High []float64 // a band around the points: smallest and largest of several runs; nil for none
}

// Strip is a row of spans.
type Strip struct {
	Name  string
	Spans []Span
}

// Span is a part of a strip.
type Span struct {
	From, To float64
	Kind     string // equal kinds have equal colours, and stand in the legend
	Colour   int
}

// colours can be told apart with any kind of colour vision (Okabe and Ito, 2008), without yellow.
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555555", "#000000", "#b8b8b8"}

// Colour numbers, from 1, for series and spans that should not take the next one.
const (
	Blue = iota + 1
	Vermilion
	Green
	Purple
	Sky
	Orange
	Grey
	Black
	Silver
)

func (p *Panel) colour(i int) string {
	if c := p.Series[i].Colour; c > 0 {
		return colours[(c-1)%len(colours)]
	}
	return colours[i%(Black-1)]
}

// scale maps values to 0…1.
type scale struct {
	log      bool
	min, max float64
}

func (a Axis) scale(values func(yield func(float64))) scale {
	s := scale{log: a.Log, min: math.Inf(1), max: math.Inf(-1)}
	values(func(v float64) {
		if math.IsNaN(v) || math.IsInf(v, 0) || a.Log && v <= 0 {
			return
		}
		s.min, s.max = min(s.min, v), max(s.max, v)
	})
	if s.min > s.max {
		s.min, s.max = 1, 2
	}
	if !a.Log && s.min > 0 && s.min < s.max/2 {
		s.min = 0
	}
	if s.min == s.max {
		s.max++
		if !a.Log {
			s.min--
		}
	}
	if a.Min != nil {
		s.min = *a.Min
	}
	if a.Max != nil {
		s.max = *a.Max
	}
	return s
}

func (p *Panel) xs(yield func(float64)) {
	for _, s := range p.Series {
		for i, x := range s.X {
			if !math.IsNaN(s.Y[i]) {
				yield(x)
			}
		}
	}
	for _, strip := range p.Strips {
		for _, span := range strip.Spans {
			yield(span.From)
			yield(span.To)
		}
	}
}

func (p *Panel) ys(yield func(float64)) {
	for _, s := range p.Series {
		for _, values := range [][]float64{s.Y, s.Low, s.High} {
			for _, y := range values {
				yield(y)
			}
		}
	}
}

func (p *Panel) scales() (x, y scale) {
	x, y = p.X.scale(p.xs), p.Y.scale(p.ys)
	if p.Y.Max == nil && !y.log {
		y.max += (y.max - y.min) / 20
	}
	return x, y
}

// at maps v to 0…1; values outside of the range are outside.
func (s scale) at(v float64) float64 {
	if s.log {
		return (math.Log(v) - math.Log(s.min)) / (math.Log(s.max) - math.Log(s.min))
	}
	return (v - s.min) / (s.max - s.min)
}

// ticks returns about n round values within the scale.
func (s scale) ticks(n int) []float64 {
	var ticks []float64
	if s.log {
		for _, steps := range [][]float64{{1}, {1, 3}, {1, 2, 5}} {
			ticks = ticks[:0]
			for decade := math.Floor(math.Log10(s.min)); decade <= math.Ceil(math.Log10(s.max)); decade++ {
				for _, step := range steps {
					if v := step * math.Pow(10, decade); v >= s.min*.9999 && v <= s.max*1.0001 {
						ticks = append(ticks, v)
					}
				}
			}
			if len(ticks) >= 3 {
				break
			}
		}
		for len(ticks) > 2*n {
			var fewer []float64
			for i := 0; i < len(ticks); i += 2 {
				fewer = append(fewer, ticks[i])
			}
			ticks = fewer
		}
		return ticks
	}
	raw := (s.max - s.min) / float64(n)
	size := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, step := range []float64{1, 2, 2.5, 5, 10} {
		if step*size >= raw {
			size *= step
			break
		}
	}
	for i := math.Ceil(s.min/size - 1e-9); i*size <= s.max+size*1e-9; i++ {
		ticks = append(ticks, i*size)
	}
	return ticks
}
