package plot

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The measures of a plot in a terminal, in characters.
const (
	textWidth  = 68
	textHeight = 14
	stripWidth = textWidth - 16
)

var marks = []rune("ox+*#@%&")

// Text returns the figure as plain text, at most 80 characters wide. Every series has a mark of its own; theory is
// drawn with dots.
func (f *Figure) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", f.Title)
	for i := range f.Panels {
		b.WriteString("\n")
		f.Panels[i].text(&b)
	}
	return b.String()
}

func (p *Panel) text(b *strings.Builder) {
	if len(p.Strips) > 0 {
		p.textStrips(b)
		return
	}
	xs, ys := p.scales()
	grid := make([][]rune, textHeight)
	for i := range grid {
		grid[i] = []rune(strings.Repeat(" ", textWidth))
	}
	put := func(x, y float64, mark rune) {
		column, row := int(math.Round(x*(textWidth-1))), textHeight-1-int(math.Round(y*(textHeight-1)))
		if column >= 0 && column < textWidth && row >= 0 && row < textHeight {
			grid[row][column] = mark
		}
	}
	for pass := range 2 { // theory first, so that measurements are on top of it
		for i, s := range p.Series {
			if s.Style.dashed() == (pass == 0) {
				s.text(p.mark(i), xs, ys, put)
			}
		}
	}
	fmt.Fprintf(b, "%s   [%s]\n", p.Title, p.Y.Label)
	for row := range grid {
		tick := ""
		if row == 0 || row == textHeight-1 || row == textHeight/2 {
			tick = label(rounded(ys.value(float64(textHeight-1-row) / (textHeight - 1))))
		}
		fmt.Fprintf(b, "%9s |%s\n", tick, strings.TrimRight(string(grid[row]), " "))
	}
	low, high := label(rounded(xs.min)), label(rounded(xs.max))
	if p.X.Bare {
		low, high = "", ""
	}
	middle := textWidth - len(low) - len(high)
	fmt.Fprintf(b, "%9s +%s\n%11s%s%s%s\n", "", strings.Repeat("-", textWidth), "", low, centred(p.X.Label, middle), high)
	for i, s := range p.Series {
		if s.Name != "" {
			fmt.Fprintf(b, "%12c %s\n", p.mark(i), s.Name)
		}
	}
}

func (p *Panel) mark(i int) rune {
	if p.Series[i].Style.dashed() {
		return '.'
	}
	return marks[i%len(marks)]
}

func (s *Series) text(mark rune, xs, ys scale, put func(x, y float64, mark rune)) {
	for i := range s.X {
		x, y := xs.at(s.X[i]), ys.at(s.Y[i])
		if math.IsNaN(y) || math.IsInf(y, 0) {
			continue
		}
		put(x, y, mark)
		if i == 0 || s.Style == Points {
			continue
		}
		fromX, fromY := xs.at(s.X[i-1]), ys.at(s.Y[i-1])
		if math.IsNaN(fromY) || math.IsInf(fromY, 0) {
			continue
		}
		for step := 1.0; step < textWidth; step++ {
			t := step / textWidth
			if s.Style == Step || s.Style == TheorySteps {
				put(fromX+(x-fromX)*t, fromY, mark)
			} else {
				put(fromX+(x-fromX)*t, fromY+(y-fromY)*t, mark)
			}
		}
	}
}

func (p *Panel) textStrips(b *strings.Builder) {
	xs, _ := p.scales()
	fmt.Fprintf(b, "%s\n", p.Title)
	kinds := map[string]rune{}
	var order []string
	for _, strip := range p.Strips {
		row := []rune(strings.Repeat(" ", stripWidth))
		for _, span := range strip.Spans {
			if kinds[span.Kind] == 0 {
				kinds[span.Kind] = []rune(span.Kind)[0]
				order = append(order, span.Kind)
			}
			for c := int(xs.at(span.From) * (stripWidth - 1)); c <= int(xs.at(span.To)*(stripWidth-1)); c++ {
				if c >= 0 && c < stripWidth {
					row[c] = kinds[span.Kind]
				}
			}
		}
		fmt.Fprintf(b, "%24s |%s\n", strip.Name, string(row))
	}
	for _, kind := range order {
		fmt.Fprintf(b, "%27c %s\n", kinds[kind], kind)
	}
}

// value is the inverse of at.
func (s scale) value(at float64) float64 {
	if s.log {
		return math.Exp(math.Log(s.min) + at*(math.Log(s.max)-math.Log(s.min)))
	}
	return s.min + at*(s.max-s.min)
}

// rounded returns v with three digits that count.
func rounded(v float64) float64 {
	r, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
	return r
}

func centred(text string, width int) string {
	left := max(0, width-len([]rune(text))) / 2
	return strings.Repeat(" ", left) + text + strings.Repeat(" ", max(0, width-left-len([]rune(text))))
}
