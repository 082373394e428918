package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// The picture: bars on top, curves below.
const (
	pictureWidth = 960
	labelWidth   = 330
	barHeight    = 13
	panelWidth   = 470
	panelHeight  = 300
)

// colours of curves and bars: blue is this library.
var colours = map[string]string{
	"resilience": "#1f5fbf", "resilience-idle": "#7fb0ea", "resilience-success": "#1f5fbf", "resilience-failure": "#7fb0ea",
	"failsafe-go": "#d9822b", "by-hand": "#8a8a8a", "gobreaker-success": "#4c8c4a", "gobreaker-failure": "#a9d0a7",
	"x-time-rate-mutex-map": "#8a8a8a", "x-time-rate-sync-map": "#4c8c4a",
}

func colour(name string) string {
	if c, ok := colours[name]; ok {
		return c
	}
	switch { // another way to use the same library
	case strings.HasPrefix(name, "resilience-"):
		return colours["resilience-idle"]
	case strings.HasPrefix(name, "failsafe-go-"):
		return "#efc08f"
	}
	return "#b8b8b8"
}

// bars is the work whose times are shown as bars.
var bars = []string{"four", "six", "breaker-consecutive", "breaker-time-window", "breaker-open", "retry-first-attempt",
	"retry-two-failures", "limiter-allow", "bulkhead", "timeout", "keyed-limiter"}

// plot returns a picture of the results, in SVG.
func plot(r *results) string {
	var b strings.Builder
	y := drawBars(&b, r)
	for i, s := range scalings {
		drawCurves(&b, r, s, float64(i%2)*(panelWidth+10), y+float64(i/2)*(panelHeight+20))
	}
	height := y + 2*(panelHeight+20)
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %.0f" font-family="sans-serif" font-size="11">`+
		"\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n%s</svg>\n", pictureWidth, height, b.String())
}

// scale places a number on an axis. It is logarithmic, unless low is 0.
type scale struct{ low, high, from, to float64 }

func (s scale) at(x float64) float64 {
	share := x / s.high
	if s.low > 0 {
		share = math.Log(max(x, s.low)/s.low) / math.Log(s.high/s.low)
	}
	return s.from + share*(s.to-s.from)
}

// marks returns the powers of ten, or multiples of five, on the axis.
func (s scale) marks() (all []float64) {
	if s.low == 0 {
		for m := 0.0; m <= s.high; m += 5 {
			all = append(all, m)
		}
		return all
	}
	for p := math.Pow(10, math.Ceil(math.Log10(s.low)-1e-9)); p <= s.high*(1+1e-9); p *= 10 {
		all = append(all, p)
	}
	return all
}

// decades returns the powers of ten that enclose all numbers.
func decades(numbers []float64) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, n := range numbers {
		if n > 0 {
			low, high = min(low, n), max(high, n)
		}
	}
	if low > high {
		return 1, 10
	}
	low, high = math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(high)))
	return low, max(high, 10*low)
}

func text(b *strings.Builder, x, y float64, anchor, style, content string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s" %s>%s</text>`+"\n", x, y, anchor, style, html.EscapeString(strings.ReplaceAll(content, "`", "")))
}

func line(b *strings.Builder, x1, y1, x2, y2 float64, stroke string) {
	fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", x1, y1, x2, y2, stroke)
}

// drawBars draws the serial time as a bar and that of 64 goroutines per core as a mark, and returns where it ends.
func drawBars(b *strings.Builder, r *results) (bottom float64) {
	var all []float64
	rows := 0
	for _, name := range bars {
		for _, subject := range parts(r.under("Work/"+name+"/"), 0) {
			all = append(all, r.nanoseconds(work(name, subject, "serial")), r.nanoseconds(work(name, subject, "contended")))
			rows++
		}
	}
	low, high := decades(all)
	s := scale{low, high, labelWidth, pictureWidth - 60}
	bottom = float64(58 + rows*barHeight + len(bars)*22)
	text(b, 10, 20, "start", `font-size="15" font-weight="bold"`, "Time per call in ns: bar, one goroutine; mark, 64 goroutines per core; logarithmic")
	for _, p := range s.marks() {
		line(b, s.at(p), 32, s.at(p), bottom-14, "#dddddd")
		text(b, s.at(p), bottom-2, "middle", `fill="#555555"`, fmt.Sprintf("%.0f", p))
	}
	y := 32.0
	for _, name := range bars {
		y += 16
		text(b, 10, y, "start", `font-weight="bold"`, title(name))
		y += 4
		for _, subject := range parts(r.under("Work/"+name+"/"), 0) {
			serial, contended := r.nanoseconds(work(name, subject, "serial")), r.nanoseconds(work(name, subject, "contended"))
			fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%d" fill="%s"/>`+"\n",
				s.from, y+1, max(1, s.at(serial)-s.from), barHeight-3, colour(subject))
			fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="2.5" height="%d" fill="black"/>`+"\n", s.at(contended)-1, y, barHeight-1)
			text(b, labelWidth-6, y+barHeight-3, "end", "", title(subject))
			text(b, max(s.at(serial), s.at(contended))+5, y+barHeight-3, "start", `fill="#555555"`, significant(serial)+" / "+significant(contended))
			y += barHeight
		}
		y += 2
	}
	return bottom + 20
}

// drawCurves draws how a time grows with a number.
func drawCurves(b *strings.Builder, r *results, s scaling, left, top float64) {
	subjects := parts(r.under(s.name+"/"), 0)
	var allX, allY []float64
	for _, subject := range subjects {
		x, y := series(r, s.name+"/"+subject+"/", s.suffix)
		allX, allY = append(allX, x...), append(allY, y...)
	}
	lowX, highX := decades(allX)
	lowY, highY := decades(allY)
	if slices.Contains(allX, 0) {
		lowX, highX, lowY = 0, slices.Max(allX), 0
		highY = 100 * math.Ceil(slices.Max(allY)/100)
	}
	legend := float64(14 * len(subjects))
	xs := scale{lowX, highX, left + 50, left + panelWidth - 20}
	ys := scale{lowY, highY, top + panelHeight - 34 - legend, top + 28}
	text(b, left+10, top+14, "start", `font-size="13" font-weight="bold"`, s.title+": ns per call")
	for _, p := range ys.marks() {
		if ys.low == 0 && math.Mod(p, max(100, 100*math.Ceil(highY/1000))) != 0 {
			continue
		}
		line(b, xs.from, ys.at(p), xs.to, ys.at(p), "#dddddd")
		text(b, xs.from-6, ys.at(p)+4, "end", `fill="#555555"`, fmt.Sprintf("%.0f", p))
	}
	for _, p := range xs.marks() {
		line(b, xs.at(p), ys.from, xs.at(p), ys.to, "#eeeeee")
		text(b, xs.at(p), ys.from+14, "middle", `fill="#555555"`, fmt.Sprintf("%.0f", p))
	}
	for i, subject := range subjects {
		x, y := series(r, s.name+"/"+subject+"/", s.suffix)
		points := make([]string, len(x))
		for j := range x {
			points[j] = fmt.Sprintf("%.1f,%.1f", xs.at(x[j]), ys.at(y[j]))
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), colour(subject))
		at := ys.from + 32 + float64(14*i)
		line(b, xs.from, at-4, xs.from+22, at-4, colour(subject)+`" stroke-width="3`)
		text(b, xs.from+28, at, "start", "", title(subject))
	}
}
