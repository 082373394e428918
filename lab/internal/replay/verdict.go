package replay

import (
	"math"
	"strconv"
)

// How far trials may differ for a prediction to be firm. They were found by experiment; see docs/replay.md.
const (
	sameSuccess  = .02 // of the calls
	sameRefused  = .01
	sameAttempts = .05 // of the attempts
	sameBusy     = .2
	tipsBusy     = .5 // with 10 % more service time
	widestBand   = .1
	mostPeak     = 1.2  // of the recorded peak of attempts
	mostImputed  = .002 // of the attempts: the p99 is made by the slowest hundredth
	leastSecond  = 100  // further attempts that tell whose failures are
	mostBase     = .9   // share of failures among first attempts, above which they do not
	boundShare   = .05  // of the failures
)

// judge says how far the trials can be trusted.
func (j *Judge) judge(p *Prediction) {
	s := &j.signs
	base := inTime
	if s.Slots > 0 {
		base = loaded
	}
	count := func(r role) {
		for _, t := range p.Trials {
			t.Counts = t.Counts || t.role == r
		}
	}
	count(base)
	for _, t := range p.Trials {
		if t.role == base {
			p.Model, p.Main = t.Model, t.Outcome
			break
		}
	}
	for _, t := range p.Trials {
		if t.role == callBound {
			p.CallBound = t.Outcome
		}
	}
	everything := false
	switch {
	case s.FailGrowth > significant:
		everything = true
		p.mark("failures grow with the load (t %.1f within seconds), which no model here foretells", s.FailGrowth)
	case s.Growth > significant && s.Slots == 0:
		everything = true
		p.mark("latency grows with the load (t %.1f within seconds), and no server with slots explains it", s.Growth)
	case s.Slots > 0 && math.Abs(s.Residual) > significant:
		everything = true
		p.mark("latency grows with the load, and a server of %d slots does not explain it all (t %.1f of what is left)", s.Slots, s.Residual)
	}
	if s.Slots > 0 && s.Censored > mostImputed {
		everything = true
		p.mark("%.1f %% of the attempts were cut short: how much load they were is not known", 100*s.Censored)
	}
	peak, imputed := 0.0, 0.0
	for _, t := range p.Trials {
		if t.role == base {
			peak = max(peak, float64(t.Outcome.PeakRate)/float64(max(1, j.recorded.PeakRate)))
			imputed = max(imputed, share(t.Outcome.Imputed, t.Outcome.Attempts))
		}
	}
	if s.Slots == 0 && imputed > mostImputed {
		count(lost)
		p.mark("%.1f %% of the attempts would take longer than they could when they were recorded: how long is not known", 100*imputed)
	}
	if peak > mostPeak {
		everything = true
		p.mark("at its peak %.2f times as many attempts would be sent as ever were: whether the dependency bears that is not known", peak)
	}
	if what := j.differ(p, sameBusy, func(t *Trial) bool { return t.role == base }); what != "" {
		p.mark("models or seeds differ by %s", what)
	}
	switch own, told := j.ownShare(); {
	case told && own < boundShare: // failures do not follow their calls
	default:
		if what := j.differ(p, sameBusy, func(t *Trial) bool { return t.role == base || t.role == callBound }); what != "" {
			count(callBound)
			if told {
				p.mark("%.0f %% of the failures belong to their calls: a further attempt meets them again", 100*own)
			} else {
				p.mark("the log does not tell whether failures belong to the moment or to their calls, which differ by %s", what)
			}
		}
	}
	if what := j.differ(p, tipsBusy, func(t *Trial) bool { return t.role == base || t.role == stressed }); what != "" && s.Slots > 0 {
		count(stressed)
		p.mark("10 %% more service time tips it: %s", what)
	}
	if everything {
		for _, t := range p.Trials {
			t.Counts = true
		}
	}
	p.band()
	if p.Verdict == Marked && p.High-p.Low > widestBand {
		p.Verdict = CannotTell
	}
}

// ownShare returns the share of failures that belong to their calls, if the log tells.
func (j *Judge) ownShare() (share float64, told bool) {
	s := &j.signs
	if s.Second < leastSecond || s.Expected > mostBase*s.Second {
		return 0, false
	}
	return max(0, (s.SecondFailed-s.Expected)/(s.Second-s.Expected)), true
}

// differ says by how much trials differ, "" if they say the same.
func (j *Judge) differ(p *Prediction, sameBusy float64, among func(*Trial) bool) string {
	var success, refused, attempts, busy extremes
	for _, t := range p.Trials {
		if among(t) {
			m := t.Outcome
			success.add(m.Success())
			refused.add(share(m.Refused, m.Calls))
			attempts.add(float64(m.Attempts))
			busy.add(m.Busy.Seconds())
		}
	}
	switch {
	case success.high-success.low > sameSuccess:
		return percents(success.high-success.low) + " points of success"
	case refused.high-refused.low > sameRefused:
		return percents(refused.high-refused.low) + " points of refusals"
	case attempts.high > attempts.low*(1+sameAttempts):
		return percents(attempts.high/attempts.low-1) + " % of the attempts"
	case busy.high > busy.low*(1+sameBusy):
		return percents(busy.high/busy.low-1) + " % of the time that the dependency is busy"
	}
	return ""
}

type extremes struct {
	low, high float64
	any       bool
}

func (e *extremes) add(x float64) {
	if !e.any {
		e.low, e.high, e.any = x, x, true
	}
	e.low, e.high = min(e.low, x), max(e.high, x)
}

func percents(share float64) string { return strconv.FormatFloat(100*share, 'f', 1, 64) }
