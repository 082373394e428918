package playground

import (
	"fmt"
	"html"
	"strings"

	"github.com/go-resilience/resilience/lab/internal/play"
	"github.com/go-resilience/resilience/lab/internal/plot"
)

// static is what the page shows without JavaScript: the words of the lessons, and pictures of runs.
func static() (string, error) {
	var b strings.Builder
	text := func(tag, text string) { fmt.Fprintf(&b, "<%s>%s</%s>\n", tag, html.EscapeString(text), tag) }
	for i := range lessons {
		l := &lessons[i]
		picture, err := picture(l.Steps[l.picture].Address)
		if err != nil {
			return "", fmt.Errorf("lesson %q: %w", l.Title, err)
		}
		text("h2", l.Title)
		text("p", l.Idea)
		b.WriteString("<ol>\n")
		for n, step := range l.Steps[:len(l.Steps)-1] {
			b.WriteString("<li>")
			for _, paragraph := range step.Text {
				text("p", paragraph)
			}
			if n == l.picture {
				clip := fmt.Sprintf("clip%d-", i) // names are for the whole page
				b.WriteString("<figure>" + strings.NewReplacer(`id="clip`, `id="`+clip, "url(#clip", "url(#"+clip).Replace(picture) + "</figure>\n")
			}
			b.WriteString("</li>\n")
		}
		b.WriteString("</ol>\n")
		for _, q := range l.Quiz {
			text("p", q.Question)
			b.WriteString("<ul>\n")
			for _, option := range q.Options {
				text("li", option)
			}
			fmt.Fprintf(&b, "</ul>\n<details><summary>Answer</summary><p>%s: %s</p></details>\n", html.EscapeString(q.Options[q.Answer]), html.EscapeString(q.Why))
		}
	}
	return b.String(), nil
}

// picture draws a run of a state.
func picture(address string) (string, error) {
	s := play.Decode(address)
	panels := []plot.Panel{{Title: "Calls that succeed, per second"}, {Title: "Attempts per second"}}
	for side, name := range []string{"pipeline A", "pipeline B"} {
		r := s.Run(side, play.Watcher{})
		if r.Err != nil {
			return "", r.Err
		}
		lines := make([]plot.Series, len(panels))
		for i := range r.Rows {
			for p, n := range []int{r.Rows[i].Succeeded, r.Rows[i].Attempts} {
				lines[p].X, lines[p].Y = append(lines[p].X, float64(i)), append(lines[p].Y, float64(n))
			}
		}
		for p := range panels {
			lines[p].Name, lines[p].Colour = name, plot.Blue+side
			panels[p].Series = append(panels[p].Series, lines[p])
		}
	}
	for p := range panels {
		panels[p].X, panels[p].Y = plot.Axis{Label: "seconds"}, plot.Axis{Min: plot.At(0)}
		panels[p].Shades = shades(s)
	}
	figure := &plot.Figure{Title: "A minute of both pipelines", Panels: panels}
	return figure.Narrow(), nil
}

// shades are the times of trouble.
func shades(s *play.State) (spans []plot.Span) {
	for second, level := range s.Timeline {
		if level == 0 {
			continue
		}
		if last := len(spans) - 1; last >= 0 && spans[last].To == float64(second) {
			spans[last].To++
			continue
		}
		spans = append(spans, plot.Span{From: float64(second), To: float64(second + 1), Kind: "trouble"})
	}
	return spans
}
