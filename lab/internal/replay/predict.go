package replay

import (
	"fmt"
	"math"
	"time"
)

// Verdict says how far a prediction can be trusted.
type Verdict uint8

const (
	// Firm: every guess that the log leaves open comes to the same.
	Firm Verdict = iota + 1
	// Marked: guesses differ, or what they rest on does not hold here. The band is from the lowest to the highest.
	Marked
	// CannotTell is Marked with a band so wide that its middle says nothing.
	CannotTell
	// Refused: the log does not hold what a prediction needs.
	Refused
)

// String returns the verdict in lower case.
func (v Verdict) String() string {
	return [...]string{"", "firm", "marked", "cannot tell", "refused"}[v]
}

// Prediction is what a candidate would have done.
type Prediction struct {
	Candidate *Candidate
	Verdict   Verdict
	Reasons   []string // for all but Firm

	Main   *Measured // of the model that fits the log best; nil if refused
	Model  Model     // that one
	Trials []*Trial  // all runs
	Took   time.Duration

	Low, High       float64 // shares of success
	P99Low, P99High time.Duration

	CallBound *Measured // if failures belong to their calls; nil if refused
}

// Trial is a run of a model.
type Trial struct {
	Model   Model
	Seed    uint64
	Outcome *Measured
	Counts  bool // the verdict rests on it, among others

	role role
}

// band takes the trials that count together.
func (p *Prediction) band() {
	p.Low, p.High = math.Inf(1), math.Inf(-1)
	p.P99Low, p.P99High = math.MaxInt64, 0
	for _, t := range p.Trials {
		if t.Counts {
			p.Low, p.High = min(p.Low, t.Outcome.Success()), max(p.High, t.Outcome.Success())
			p.P99Low, p.P99High = min(p.P99Low, t.Outcome.P99Low), max(p.P99High, t.Outcome.P99High)
		}
	}
}

// mark adds a reason not to be firm.
func (p *Prediction) mark(format string, args ...any) {
	p.Verdict = max(p.Verdict, Marked)
	p.Reasons = append(p.Reasons, fmt.Sprintf(format, args...))
}
