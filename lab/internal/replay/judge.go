package replay

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Judge makes predictions from a log, and says how far they can be trusted.
type Judge struct {
	log      *Log
	recorded *Measured
	seed     uint64
	refusals []string // reasons why the log does not hold what predictions need
	fit      *fit
	signs    Signs
}

// The bounds of what a log must hold. They were found by experiment; see docs/replay.md.
const (
	leastPerSecond = 20
	mostCensored   = .01 // of the lines, without numbers of attempts
	coarsest       = 20  // parts of the median latency
	leastHeadless  = 20  // calls without their first attempt: a log may begin within some
	mostHeadless   = .1  // of those that were tried again
)

// NewJudge looks at a log.
func NewJudge(l *Log, seed uint64) *Judge {
	j := &Judge{log: l, recorded: l.Recorded(), seed: seed}
	refuse := func(format string, args ...any) { j.refusals = append(j.refusals, fmt.Sprintf(format, args...)) }
	if rate := l.PerSecond(); rate < leastPerSecond {
		refuse("%.1f lines a second: with fewer than %d, what further attempts would have met is not to be seen", rate, leastPerSecond)
	}
	if l.Notes.Sampled != "" {
		refuse("the log is sampled: %s", l.Notes.Sampled)
	}
	if l.headless >= leastHeadless && float64(l.headless) > mostHeadless*float64(l.further) {
		refuse("%s of %s calls that were tried again have no first attempt: lines are missing, as in a sampled log", count(l.headless), count(l.further))
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
	if len(j.refusals) == 0 {
		j.read()
	}
	return j
}

// Signs are what a log says of its dependency.
type Signs struct {
	Growth     float64 // t of latency on load, within seconds
	FailGrowth float64 // t of failure on load, within seconds
	Residual   float64 // t of what the slots do not explain
	Slots      int     // of the server that fits; 0: none
	Queue      int     // that may wait there; -1: no bound was seen
	Waited     float64 // share of the attempts that found all slots taken
	Censored   float64 // share of the attempts that were cut short
	Flight     int     // attempts under way at once

	Second, SecondFailed float64 // further attempts, and those that failed
	Expected             float64 // of them that would have, if they had been first attempts at that time
}

// Signs returns what the log says of the dependency.
func (j *Judge) Signs() Signs { return j.signs }

// Load says in words what the log says of load, "" for a log that is refused.
func (j *Judge) Load() string {
	s := &j.signs
	switch {
	case j.fit == nil:
		return ""
	case s.Slots > 0:
		places := ""
		if s.Queue >= 0 {
			places = fmt.Sprintf(" and %d places to wait", s.Queue)
		}
		return fmt.Sprintf("load: requests queue as at a server of %d slots%s (latency on load, within seconds: t %.1f)", s.Slots, places, s.Growth)
	case s.Growth > significant:
		return fmt.Sprintf("load: latency grows with it within seconds (t %.1f), and not as at a server with slots", s.Growth)
	}
	return fmt.Sprintf("load: latency does not grow with it within seconds (t %.1f)", s.Growth)
}

// seeds is how many seeds each model is run with.
const seeds = 3

// Predict replays the log with a candidate, two runs at a time. progress hears of how many calls of all runs have come.
func (j *Judge) Predict(c *Candidate, progress func(done, of int)) (*Prediction, error) {
	began := time.Now()
	p := &Prediction{Candidate: c, Verdict: Firm}
	if len(j.refusals) > 0 {
		p.Verdict, p.Reasons = Refused, j.refusals
		return p, nil
	}
	p.Trials = j.trials()
	if err := j.run(c, p.Trials, progress); err != nil {
		return nil, err
	}
	j.judge(p)
	p.Took = time.Since(began)
	return p, nil
}

// run runs all trials.
func (j *Judge) run(c *Candidate, trials []*Trial, progress func(done, of int)) error {
	var running sync.WaitGroup
	errs := make([]error, len(trials))
	room := make(chan struct{}, min(2, runtime.GOMAXPROCS(0)))
	var done atomic.Int64
	for i, t := range trials {
		room <- struct{}{}
		running.Go(func() {
			defer func() { <-room }()
			before := 0
			t.Outcome, errs[i] = Run(j.log, c, t.Model, t.Seed, func(calls int) {
				progress(int(done.Add(int64(calls-before))), len(trials)*len(j.log.calls))
				before = calls
			})
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// role is what a trial is for.
type role uint8

const (
	inTime    role = iota // failures belong to the moment
	callBound             // failures belong to their calls
	loaded                // load queues at the fitted server
	stressed              // and that is 10 % slower
	lost                  // what was cut short would never have ended well
)

// trials returns what is to be run.
func (j *Judge) trials() (trials []*Trial) {
	add := func(r role, m Model, n int) {
		for k := range n {
			trials = append(trials, &Trial{Model: m, Seed: j.seed + uint64(k)*77, role: r})
		}
	}
	if j.signs.Censored > 0 {
		add(lost, cutFails(), 1)
	}
	if j.signs.Slots == 0 {
		add(inTime, Trace(), seeds)
		add(callBound, CallBound(), 1)
		return trials
	}
	add(inTime, Trace(), 1)
	add(callBound, j.fit.server(variant{bound: true}), 1)
	add(loaded, j.fit.server(variant{}), seeds)
	add(loaded, j.fit.server(variant{skip: true}), seeds)
	add(stressed, j.fit.server(variant{slower: 1.1}), 1)
	return trials
}

// read works out the signs.
func (j *Judge) read() {
	f := newFit(j.log)
	j.fit = f
	j.signs = Signs{
		Growth: f.growth, FailGrowth: f.failGrowth, Residual: f.residual, Slots: f.slots, Queue: f.queue, Waited: f.waited,
		Censored: share(j.log.censored, len(j.log.attempts)), Flight: f.most,
	}
	attempts := j.log.attempts
	number := make([]uint8, len(attempts))
	for i := range attempts {
		if next := attempts[i].next; next >= 0 {
			number[next] = 1
		}
	}
	for i := range attempts {
		if number[i] == 0 || attempts[i].cut == byCaller {
			continue
		}
		fails, of := 0, 0
		for k := max(0, i-60); k < min(len(attempts), i+60); k++ {
			if number[k] == 0 {
				of++
				if attempts[k].outcome != 0 {
					fails++
				}
			}
		}
		if of == 0 {
			continue
		}
		j.signs.Second++
		if attempts[i].outcome != 0 {
			j.signs.SecondFailed++
		}
		j.signs.Expected += float64(fails) / float64(of)
	}
}

// median returns the median latency of the attempts.
func (l *Log) median() time.Duration {
	took := make([]time.Duration, len(l.attempts))
	for i := range l.attempts {
		took[i] = l.attempts[i].took
	}
	return quantile(sorted(took), .5)
}
