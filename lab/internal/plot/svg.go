package plot

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// The measures of a picture, in pixels.
const (
	panelWidth  = 430.0
	wideWidth   = 760.0
	narrowWidth = 364.0
	panelHeight = 250.0
	leftMargin  = 62.0
	rightMargin = 16.0
	topMargin   = 30.0
	axisHeight  = 44.0
	legendLine  = 18.0
	stripHeight = 24.0
)

// SVG returns the figure as an SVG document.
func (f *Figure) SVG() string {
	columns := max(1, min(f.Columns, len(f.Panels)))
	if columns == 1 {
		return f.svg(1, wideWidth)
	}
	return f.svg(columns, panelWidth)
}

// Narrow returns the figure as an SVG document for a telephone: one panel below the other.
func (f *Figure) Narrow() string { return f.svg(1, narrowWidth) }

func (f *Figure) svg(columns int, width float64) string {
	d := &drawing{}
	titles := lines(f.Title, (width*float64(columns)-28)/8.6)
	y := 44 + 21*float64(len(titles)-1)
	for row := 0; row < len(f.Panels); row += columns {
		tallest := 0.0
		if row == len(f.Panels)-1 { // alone in its row
			y += d.panel(&f.Panels[row], 0, y, width*float64(columns), row)
			break
		}
		for i := row; i < min(row+columns, len(f.Panels)); i++ {
			tallest = max(tallest, d.panel(&f.Panels[i], float64(i-row)*width, y, width, i))
		}
		y += tallest
	}
	total := width * float64(columns)
	footers := lines(f.Footer, (total-28)/5.4)
	below := y
	y += 15 * float64(len(footers)-1)
	var head strings.Builder
	fmt.Fprintf(&head, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" width="%s" height="%s" role="img" aria-label="%s" font-family="Helvetica, Arial, sans-serif" font-size="12">`+"\n",
		number(total), number(y+26), number(total), number(y+26), html.EscapeString(f.Title))
	fmt.Fprintf(&head, "<title>%s</title>\n", html.EscapeString(f.Title))
	fmt.Fprintf(&head, `<rect width="%s" height="%s" fill="#ffffff"/>`+"\n", number(total), number(y+26))
	for i, title := range titles {
		fmt.Fprintf(&head, `<text x="14" y="%s" font-size="17" font-weight="bold" fill="#222">%s</text>`+"\n", number(27+21*float64(i)), html.EscapeString(title))
	}
	for i, footer := range footers {
		fmt.Fprintf(&d.b, `<text x="14" y="%s" font-size="11" fill="#666">%s</text>`+"\n", number(below+14+15*float64(i)), html.EscapeString(footer))
	}
	return head.String() + d.b.String() + "</svg>\n"
}

// lines breaks a text between words into lines of so many characters.
func lines(text string, most float64) []string {
	all := []string{""}
	for _, word := range strings.Fields(text) {
		last := &all[len(all)-1]
		switch {
		case *last == "":
			*last = word
		case float64(len([]rune(*last))+1+len([]rune(word))) > most:
			all = append(all, word)
		default:
			*last += " " + word
		}
	}
	return all
}

type drawing struct{ b strings.Builder }

func (d *drawing) text(x, y float64, anchor, style, text string) {
	fmt.Fprintf(&d.b, `<text x="%s" y="%s" text-anchor="%s"%s>%s</text>`+"\n", number(x), number(y), anchor, style, html.EscapeString(text))
}

func (d *drawing) line(x1, y1, x2, y2 float64, style string) {
	fmt.Fprintf(&d.b, `<path d="M%s %sL%s %s" %s/>`+"\n", number(x1), number(y1), number(x2), number(y2), style)
}

// panel draws a panel and returns its height, legend included.
func (d *drawing) panel(p *Panel, left, top, width float64, index int) float64 {
	xs, ys := p.scales()
	x0, x1 := left+leftMargin, left+width-rightMargin
	height := panelHeight
	if len(p.Strips) > 0 {
		height = stripHeight * float64(len(p.Strips))
		x0 = left + leftMargin + min(100, width/4)
	}
	titles := lines(p.Title, (width-leftMargin-8)/6.9)
	top += 16 * float64(len(titles)-1)
	y0, y1 := top+topMargin+height, top+topMargin
	px := func(x float64) float64 { return x0 + xs.at(x)*(x1-x0) }
	py := func(y float64) float64 { return y0 - ys.at(y)*(y0-y1) }
	fmt.Fprintf(&d.b, `<g class="panel" data-panel="%d" data-box="%s,%s,%s,%s" data-x="%s,%s,%t" data-y="%s,%s,%t">`+"\n", index,
		number(x0), number(y1), number(x1), number(y0), exact(xs.min), exact(xs.max), xs.log, exact(ys.min), exact(ys.max), ys.log)
	fmt.Fprintf(&d.b, `<clipPath id="clip%d"><rect x="%s" y="%s" width="%s" height="%s"/></clipPath>`+"\n", index, number(x0-4), number(y1-4), number(x1-x0+8), number(y0-y1+8))
	for _, shade := range p.Shades {
		from, to := max(x0, px(shade.From)), min(x1, px(shade.To))
		fmt.Fprintf(&d.b, `<rect class="shade" x="%s" y="%s" width="%s" height="%s" fill="#f3ecd8"/>`+"\n", number(from), number(y1), number(max(0, to-from)), number(y0-y1))
		d.text(from+3, y1+12, "start", ` font-size="10" fill="#7a6a3a"`, shade.Kind)
	}
	for i, title := range titles {
		d.text(left+leftMargin, y1-10-16*float64(len(titles)-1-i), "start", ` font-weight="bold" fill="#333"`, title)
	}
	for _, tick := range xs.ticks(int(max(4, (x1-x0)/70))) {
		if p.X.Bare {
			break
		}
		d.line(px(tick), y0, px(tick), y1, `stroke="#e4e4e4"`)
		d.text(px(tick), y0+16, "middle", ` fill="#444"`, label(tick))
	}
	d.text((x0+x1)/2, y0+34, "middle", ` fill="#444"`, p.X.Label)
	if len(p.Strips) > 0 {
		d.strips(p, px, x0, y1)
	} else {
		for _, tick := range ys.ticks(5) {
			d.line(x0, py(tick), x1, py(tick), `stroke="#e4e4e4"`)
			d.text(x0-7, py(tick)+4, "end", ` fill="#444"`, label(tick))
		}
		fmt.Fprintf(&d.b, `<text transform="translate(%s %s) rotate(-90)" text-anchor="middle" fill="#444">%s</text>`+"\n",
			number(left+16), number((y0+y1)/2), html.EscapeString(p.Y.Label))
	}
	d.line(x0, y0, x1, y0, `stroke="#666"`)
	d.line(x0, y0, x0, y1, `stroke="#666"`)
	for i := range p.Series {
		d.series(&p.Series[i], i, index, p.colour(i), px, py)
	}
	legend := d.legend(p, x0, x1, y0+axisHeight+10)
	d.b.WriteString("</g>\n")
	return topMargin + 16*float64(len(titles)-1) + height + axisHeight + legend + 16
}

func (d *drawing) series(s *Series, i, panel int, colour string, px, py func(float64) float64) {
	fmt.Fprintf(&d.b, `<g class="series" data-series="%d" clip-path="url(#clip%d)">`+"\n", i, panel)
	if s.Low != nil {
		var path strings.Builder
		for j := range s.X {
			fmt.Fprintf(&path, "%s%s %s", verb(j), number(px(s.X[j])), number(py(s.High[j])))
		}
		for j := len(s.X) - 1; j >= 0; j-- {
			fmt.Fprintf(&path, "L%s %s", number(px(s.X[j])), number(py(s.Low[j])))
		}
		fmt.Fprintf(&d.b, `<path d="%sZ" fill="%s" fill-opacity="0.15"/>`+"\n", path.String(), colour)
	}
	if s.Style == Points {
		for j := range s.X {
			if y := py(s.Y[j]); !math.IsNaN(y) && !math.IsInf(y, 0) {
				fmt.Fprintf(&d.b, `<circle cx="%s" cy="%s" r="3.5" fill="%s"/>`+"\n", number(px(s.X[j])), number(y), colour)
			}
		}
		d.b.WriteString("</g>\n")
		return
	}
	var path strings.Builder
	pen := false
	for j := range s.X {
		x, y := px(s.X[j]), py(s.Y[j])
		if math.IsNaN(y) || math.IsInf(y, 0) {
			pen = false
			continue
		}
		switch {
		case !pen:
			fmt.Fprintf(&path, "M%s %s", number(x), number(y))
		case s.Style == Step || s.Style == TheorySteps:
			fmt.Fprintf(&path, "H%sV%s", number(x), number(y))
		default:
			fmt.Fprintf(&path, "L%s %s", number(x), number(y))
		}
		pen = true
	}
	style := fmt.Sprintf(`stroke-width="%s"`, number(s.width()))
	if s.Style.dashed() {
		style = `stroke-width="1.5" stroke-dasharray="5 4"`
	}
	fmt.Fprintf(&d.b, `<path d="%s" fill="none" stroke="%s" stroke-linejoin="round" %s/>`+"\n</g>\n", path.String(), colour, style)
}

func (d *drawing) strips(p *Panel, px func(float64) float64, x0, top float64) {
	for i, strip := range p.Strips {
		y := top + float64(i)*stripHeight
		d.text(x0-8, y+stripHeight/2+4, "end", ` fill="#333"`, strip.Name)
		for _, span := range strip.Spans {
			fmt.Fprintf(&d.b, `<rect x="%s" y="%s" width="%s" height="%s" fill="%s"/>`+"\n", number(px(span.From)), number(y+3),
				number(max(0.8, px(span.To)-px(span.From))), number(stripHeight-6), colours[(span.Colour-1)%len(colours)])
		}
	}
}

// legend draws the legend below the axis, where it covers nothing, and returns its height.
func (d *drawing) legend(p *Panel, x0, x1, top float64) float64 {
	type item struct {
		name, colour string
		style        Style
		width        float64
		box          bool
		series       int
	}
	var items []item
	for i, s := range p.Series {
		items = append(items, item{name: s.Name, colour: p.colour(i), style: s.Style, width: s.width(), series: i})
	}
	seen := map[string]bool{}
	for _, strip := range p.Strips {
		for _, span := range strip.Spans {
			if !seen[span.Kind] {
				seen[span.Kind] = true
				items = append(items, item{name: span.Kind, colour: colours[(span.Colour-1)%len(colours)], box: true, series: -1})
			}
		}
	}
	x, y := x0, top
	for _, item := range items {
		if item.name == "" {
			continue
		}
		width := 30 + 6.3*float64(len([]rune(item.name)))
		if x > x0 && x+width > x1 {
			x, y = x0, y+legendLine
		}
		fmt.Fprintf(&d.b, `<g class="key" data-series="%d">`+"\n", item.series)
		switch {
		case item.box:
			fmt.Fprintf(&d.b, `<rect x="%s" y="%s" width="16" height="10" fill="%s"/>`+"\n", number(x), number(y-9), item.colour)
		case item.style == Points:
			fmt.Fprintf(&d.b, `<circle cx="%s" cy="%s" r="3.5" fill="%s"/>`+"\n", number(x+8), number(y-4), item.colour)
		case item.style.dashed():
			d.line(x, y-4, x+18, y-4, fmt.Sprintf(`stroke="%s" stroke-width="1.5" stroke-dasharray="5 4"`, item.colour))
		default:
			d.line(x, y-4, x+18, y-4, fmt.Sprintf(`stroke="%s" stroke-width="%s"`, item.colour, number(item.width)))
		}
		d.text(x+23, y, "start", ` fill="#333"`, item.name)
		d.b.WriteString("</g>\n")
		x += width + 8
	}
	return y - top + legendLine
}

func (s *Series) width() float64 {
	if s.Width > 0 {
		return s.Width
	}
	return 2
}

func verb(i int) string {
	if i == 0 {
		return "M"
	}
	return "L"
}

// number is a coordinate: two decimals, without what is not needed.
func number(v float64) string {
	return strconv.FormatFloat(math.Round(v*100)/100+0, 'f', -1, 64)
}

func exact(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// label is a value at an axis, short.
func label(v float64) string {
	switch size := math.Abs(v); {
	case size < 1e-12:
		return "0"
	case size >= 1e6 || size < 1e-3:
		text := strconv.FormatFloat(v, 'g', 3, 64)
		return strings.NewReplacer("e+0", "e", "e-0", "e-", "e+", "e").Replace(text)
	case size >= 1e4:
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + "k"
	}
	return strconv.FormatFloat(math.Round(v*1e6)/1e6, 'g', 5, 64)
}
