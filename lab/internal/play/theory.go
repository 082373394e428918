package play

import (
	"math"

	"github.com/go-resilience/resilience/lab/internal/theory"
)

// Theory is what closed forms say of a run. NaN stands where there is none.
type Theory struct {
	Succeeded, Attempts [Seconds]float64 // per second
	Capacity            float64          // requests per second that the dependency can serve
	P50, P99            float64          // of the calls that succeed, in ms
	Formulas            []string         // which ones
}

// Theory says what to expect of a side: of calls that come by their own clock, if nothing but what the formulas know of
// plays a part.
func (s *State) Theory(side int) *Theory {
	t := &Theory{Capacity: math.NaN(), P50: math.NaN(), P99: math.NaN()}
	for i := range t.Succeeded {
		t.Succeeded[i], t.Attempts[i] = math.NaN(), math.NaN()
	}
	if s.Slots > 0 && s.Trouble == Fails {
		t.Capacity = 1000 * s.Slots / s.Service
		t.Formulas = append(t.Formulas, "capacity: slots / service time")
	}
	p := &s.Sides[side]
	if s.Load != Open || on(p.Total) || on(p.Breaker) || on(p.Throttle) || on(p.Limit) || on(p.Bulkhead) || on(p.Attempt) {
		return t
	}
	calm := s.Timeline == [Seconds]uint8{}
	switch {
	case s.Slots == 0 && !on(p.Hedge):
		s.retries(p, t)
		if calm {
			t.latency(s.survival(), "latency: that of the service")
		}
	case s.Slots == 0 && !on(p.Retry) && calm && p.Extra == 1 && p.HedgeBudget == NoBudget && s.Shape != Fixed:
		plain := s.survival()
		for i := range t.Succeeded {
			t.Succeeded[i], t.Attempts[i] = s.Rate, s.Rate*(1+plain(p.After))
		}
		t.latency(plain.Hedged(p.After), "latency: S(t) S(t − delay); attempts: 1 + S(delay) per call")
	case s.Slots > 0 && !on(p.Retry) && !on(p.Hedge) && s.Trouble == Fails:
		s.queue(t, calm)
	}
	return t
}

// retries is what calls amount to that are tried several times, each time with the same probability of failure.
func (s *State) retries(p *Side, t *Theory) {
	if s.Trouble == Slows || on(p.Retry) && p.RetryBudget != NoBudget {
		return
	}
	n := 1
	if on(p.Retry) {
		n = int(p.Attempts)
	}
	for i := range t.Succeeded {
		fails := s.trouble(i)
		t.Succeeded[i], t.Attempts[i] = s.Rate*theory.Success(fails, n), s.Rate*theory.Attempts(fails, n)
	}
	t.Formulas = append(t.Formulas, "attempts per call: (1 − pⁿ) / (1 − p); successes: 1 − pⁿ")
}

// queue is what a dependency with slots does to calls that are tried once.
func (s *State) queue(t *Theory, calm bool) {
	c, a := int(s.Slots), s.Rate*s.Service/1000
	switch {
	case s.Queue == 0:
		lost := theory.ErlangB(c, a)
		for i := range t.Succeeded {
			t.Succeeded[i], t.Attempts[i] = s.Rate*(1-lost)*(1-s.trouble(i)), s.Rate
		}
		t.Formulas = append(t.Formulas, "successes: all but Erlang's B")
		if calm {
			t.latency(s.survival(), "latency: that of the service")
		}
	case s.Shape == Exponential && a < float64(c) && theory.ErlangC(c, a)*math.Pow(a/float64(c), s.Queue) < 1e-3:
		for i := range t.Succeeded {
			t.Succeeded[i], t.Attempts[i] = s.Rate*(1-s.trouble(i)), s.Rate
		}
		t.latency(answers(c, a, s.Service), "latency: M/M/c")
	}
}

// answers is the survival of the time until the answer in M/M/c: service, and before it a wait with probability C.
func answers(c int, a, service float64) theory.Survival {
	waits, room := theory.ErlangC(c, a), float64(c)-1-a
	return func(t float64) float64 {
		if t <= 0 {
			return 1
		}
		t /= service
		extra := waits * t
		if math.Abs(room) > 1e-9 {
			extra = waits * -math.Expm1(-room*t) / room
		}
		return math.Exp(-t) * (1 + extra)
	}
}

func (t *Theory) latency(survival theory.Survival, formula string) {
	t.P50, t.P99 = survival.Quantile(.5), survival.Quantile(.99)
	t.Formulas = append(t.Formulas, formula)
}

// survival is that of the service time, in ms.
func (s *State) survival() theory.Survival {
	switch s.Shape {
	case Exponential:
		return theory.ExponentialSurvival(s.Service)
	case Lognormal:
		return theory.LognormalSurvival(s.Service*math.Exp(-.5), 1)
	}
	return func(t float64) float64 {
		if t < s.Service {
			return 1
		}
		return 0
	}
}
