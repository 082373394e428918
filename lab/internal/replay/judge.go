package replay

import (
	"fmt"
	"time"
)

// Judge makes predictions from a log, and says how far they can be trusted.
type Judge struct {
	log      *Log
	recorded *Measured
	seed     uint64
	refusals []string // reasons why the log does not hold what predictions need
}

// The bounds of what a log must hold. They were found by experiment; see docs/replay.md.
const (
	leastPerSecond = 20
	mostCensored   = .01 // of the lines, without numbers of attempts
	coarsest       = 20  // parts of the median latency
)

// NewJudge looks at a log.
func NewJudge(l *Log, seed uint64) *Judge {
	j := &Judge{log: l, recorded: l.Recorded(), seed: seed}
	refuse := func(format string, args ...any) { j.refusals = append(j.refusals, fmt.Sprintf(format, args...)) }
	if rate := l.PerSecond(); rate < leastPerSecond {
		refuse("%.1f lines a second: with fewer than %d, what further attempts would have met is not to be seen", rate, leastPerSecond)
	}
	if censored := share(l.censored, len(l.attempts)); !l.Numbered && censored > mostCensored {
		refuse("%.1f %% of the lines were cut short by a timeout or by their callers: how long they would have taken is not known", 100*censored)
	}
	if median := l.median(); l.Notes.Resolution > 1 && median < coarsest*l.Notes.Resolution {
		refuse("times are in steps of %v, and the median latency is %v: steps must be at most a twentieth of it", l.Notes.Resolution, brief(median))
	}
	if len(l.attempts) == 0 {
		refuse("every call was refused: nothing reached the dependency")
	}
	return j
}

// Predict replays the log with a candidate. progress hears of the run, of how many, and of its calls.
func (j *Judge) Predict(c *Candidate, progress func(run, runs, calls int)) (*Prediction, error) {
	began := time.Now()
	p := &Prediction{Candidate: c, Verdict: Firm}
	if len(j.refusals) > 0 {
		p.Verdict, p.Reasons = Refused, j.refusals
		return p, nil
	}
	m, err := Run(j.log, c, Trace(), j.seed, func(calls int) { progress(1, 1, calls) })
	if err != nil {
		return nil, err
	}
	p.Model, p.Main = Trace(), m
	p.Trials = []*Trial{{Model: p.Model, Seed: j.seed, Outcome: m, Counts: true}}
	p.mark("only one model was run: whether load changed what happened is not known")
	p.band()
	p.Took = time.Since(began)
	return p, nil
}

// median returns the median latency of the attempts.
func (l *Log) median() time.Duration {
	took := make([]time.Duration, len(l.attempts))
	for i := range l.attempts {
		took[i] = l.attempts[i].took
	}
	return quantile(sorted(took), .5)
}
