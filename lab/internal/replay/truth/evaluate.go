package truth

import (
	"fmt"
	"math"
	"strings"

	"github.com/go-resilience/resilience/lab/internal/replay"
)

// Case is a prediction beside the truth.
type Case struct {
	World     *World `json:"-"`
	Candidate string
	Verdict   replay.Verdict
	Reasons   []string

	Predicted, Low, High float64 // shares of success
	Truth, Spread        float64 // mean of the seeds, and how far they are apart
	Refused              float64 // error in shares of the calls
	Attempts, Busy       float64 // error as shares of the truth
	P99In                bool    // the true p99 is inside of the printed band
}

// Problem says what is wrong with a prediction, "" if nothing is: a firm one that is off, or a marked one whose band does not
// hold the truth.
func (c *Case) Problem() string {
	var wrong []string
	add := func(is bool, format string, args ...any) {
		if is {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	switch c.Verdict {
	case replay.Firm:
		off := c.Predicted - c.Truth
		add(math.Abs(off) > .02, "success off by %+.1f points", 100*off)
		add(math.Abs(c.Refused) > .01, "refused off by %+.1f points", 100*c.Refused)
		add(math.Abs(c.Attempts) > .05, "attempts off by %+.1f %%", 100*c.Attempts)
		add(math.Abs(c.Busy) > .2, "busy off by %+.0f %%", 100*c.Busy)
		add(!c.P99In, "p99 outside of its band")
		add(c.Spread > .02, "the truth spreads by %.1f points", 100*c.Spread)
	case replay.Marked, replay.CannotTell:
		add(c.Truth < c.Low-.01 || c.Truth > c.High+.01, "the truth is outside of the band")
	}
	return strings.Join(wrong, ", ")
}

// Evaluate records a world, predicts what candidates would have done, and looks.
func Evaluate(w *World, seed uint64, truths int, candidates []Pipeline) (cases []*Case, err error) {
	log, err := w.Record(seed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.Name, err)
	}
	judge := replay.NewJudge(log, seed)
	perSecond := float64(log.Recorded().Calls) / w.Horizon
	for _, candidate := range candidates {
		pipeline, err := layers(strings.ReplaceAll(candidate.Layers, "%RATE%", fmt.Sprintf("%.2f", .9*perSecond)))
		if err != nil {
			return nil, err
		}
		c := &Case{World: w, Candidate: candidate.Name}
		p, err := judge.Predict(pipeline, func(int, int) {})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.Name, err)
		}
		c.Verdict, c.Reasons = p.Verdict, p.Reasons
		if p.Verdict != replay.Refused {
			if err := c.compare(log, pipeline, p, seed, truths); err != nil {
				return nil, fmt.Errorf("%s: %w", w.Name, err)
			}
		}
		cases = append(cases, c)
	}
	return cases, nil
}

// compare runs the true world with some seeds.
func (c *Case) compare(log *replay.Log, pipeline *replay.Candidate, p *replay.Prediction, seed uint64, truths int) error {
	var success, refused, attempts, busy, p99 float64
	low, high := 1.0, 0.0
	n := float64(truths)
	for k := range uint64(truths) {
		m, err := replay.Run(log, pipeline, c.World.model(nil), seed+1000*k, nil)
		if err != nil {
			return err
		}
		low, high = min(low, m.Success()), max(high, m.Success())
		success += m.Success() / n
		refused += float64(m.Refused) / float64(m.Calls) / n
		attempts += float64(m.Attempts) / n
		busy += m.Busy.Seconds() / n
		p99 += m.P99.Seconds() / n
	}
	m := p.Main
	c.Predicted, c.Low, c.High = m.Success(), p.Low, p.High
	c.Truth, c.Spread = success, high-low
	c.Refused = float64(m.Refused)/float64(m.Calls) - refused
	c.Attempts = float64(m.Attempts)/attempts - 1
	c.Busy = m.Busy.Seconds()/busy - 1
	c.P99In = p99 >= p.P99Low.Seconds() && p99 <= p.P99High.Seconds()
	return nil
}

// Score is how well predictions did.
type Score struct {
	Cases, Firm, Marked, CannotTell, Refused int
	Within1, Within2                         int // of the firm ones: points of success
	FirmRight                                int // in everything
	InBand                                   int // of the marked ones
	Worst                                    float64
	Width                                    float64 // mean of the bands
}

// ScoreOf counts.
func ScoreOf(cases []*Case) (s Score) {
	for _, c := range cases {
		s.Cases++
		off := math.Abs(c.Predicted - c.Truth)
		switch c.Verdict {
		case replay.Refused:
			s.Refused++
		case replay.Firm:
			s.Firm++
			s.Worst = max(s.Worst, off)
			if off <= .01 {
				s.Within1++
			}
			if off <= .02 {
				s.Within2++
			}
			if c.Problem() == "" {
				s.FirmRight++
			}
		default:
			s.Marked++
			s.Width += c.High - c.Low
			if c.Verdict == replay.CannotTell {
				s.CannotTell++
			}
			if c.Problem() == "" {
				s.InBand++
			}
		}
	}
	s.Width /= float64(max(1, s.Marked))
	return s
}

// String returns the score in a sentence or two.
func (s Score) String() string {
	of := func(n, of int) string { return fmt.Sprintf("%d of %d", n, of) }
	return fmt.Sprintf("%d predictions: %d firm (%.0f %%), %d marked (%d of them as \"cannot tell\"), %d refused. "+
		"Firm: success within 1 point of the truth in %s, within 2 in %s, the worst off by %.1f; right in everything in %s. "+
		"Marked: the band, ± 1 point, holds the truth in %s; bands are %.0f points wide on average.",
		s.Cases, s.Firm, 100*float64(s.Firm)/float64(max(1, s.Cases)), s.Marked, s.CannotTell, s.Refused,
		of(s.Within1, s.Firm), of(s.Within2, s.Firm), 100*s.Worst, of(s.FirmRight, s.Firm), of(s.InBand, s.Marked), 100*s.Width)
}

// Wrong returns a paragraph on the predictions that have a problem.
func Wrong(cases []*Case) string {
	var wrong []string
	for _, c := range cases {
		if problem := c.Problem(); problem != "" {
			wrong = append(wrong, fmt.Sprintf("%s: %s: “%s”, %s, %s", c.World.Kind, c.World.Name, c.Candidate, c.Verdict, problem))
		}
	}
	if len(wrong) == 0 {
		return "Nothing is wrong."
	}
	return Paragraph("Wrong are " + strings.Join(wrong, "; ") + ".")
}

// Table returns a row of Markdown for each world, and what went wrong.
func Table(cases []*Case) string {
	var b strings.Builder
	b.WriteString("| world | firm | marked | cannot tell | refused | worst firm | wrong |\n|---|---|---|---|---|---|---|\n")
	for i := 0; i < len(cases); {
		j := i
		for j < len(cases) && cases[j].World == cases[i].World {
			j++
		}
		s := ScoreOf(cases[i:j])
		var wrong []string
		for _, c := range cases[i:j] {
			if p := c.Problem(); p != "" {
				wrong = append(wrong, c.Candidate+": "+p)
			}
		}
		worst := "-"
		if s.Firm > 0 {
			worst = fmt.Sprintf("%.1f", 100*s.Worst)
		}
		fmt.Fprintf(&b, "| %s: %s | %d | %d | %d | %d | %s | %s |\n", cases[i].World.Kind, cases[i].World.Name, s.Firm, s.Marked-s.CannotTell, s.CannotTell, s.Refused, worst, strings.Join(wrong, "; "))
		i = j
	}
	return b.String()
}
