package bulkhead

import (
	"math"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Algorithm says how an [Adaptive] bulkhead turns latency into its limit: [AIMD], [Gradient2] or [Vegas]. It is a value
// and holds no state: one can serve several bulkheads. The zero value is none.
type Algorithm struct {
	name   string
	target time.Duration // AIMD only
}

// String returns the name of the algorithm: "aimd", "gradient2", "vegas", or "none".
func (a Algorithm) String() string {
	if a.name == "" {
		return "none"
	}
	return a.name
}

// MarshalText returns what String does.
func (a Algorithm) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

func (a Algorithm) check(problems *policy.ConfigError) {
	switch {
	case a == Algorithm{}:
		problems.Add("the algorithm is the zero value: use AIMD, Gradient2 or Vegas")
	case a.name == "aimd" && a.target <= 0:
		problems.Add("AIMD target %v: must be positive", a.target)
	}
}

// start returns the algorithm at work, nil for none.
func (a Algorithm) start() controller {
	switch a.name {
	case "aimd":
		return &aimd{target: a.target.Seconds()}
	case "gradient2":
		return &gradient2{}
	case "vegas":
		return &vegas{least: math.Inf(1), earlier: math.Inf(1)}
	}
	return nil
}

// controller is an algorithm at work for one bulkhead. The bulkhead keeps the limit between floor and ceiling.
type controller interface {
	next(limit float64, s sample) float64
}

// AIMD raises the limit by one while the mean latency of a window is at most target, and lowers it by a tenth when it
// is above, or at an overload: additive increase, multiplicative decrease. It is for dependencies whose tolerable
// latency is known. target must be positive.
//
// Source: D.-M. Chiu and R. Jain, "Analysis of the increase and decrease algorithms for congestion avoidance in
// computer networks", Computer Networks and ISDN Systems 17 (1989). The factor is the one of Netflix's
// concurrency-limits, AIMDLimit.
func AIMD(target time.Duration) Algorithm { return Algorithm{name: "aimd", target: target} }

type aimd struct{ target float64 }

func (a *aimd) next(limit float64, s sample) float64 {
	switch {
	case s.overload || s.latency > a.target:
		return limit * 0.9
	case s.halfUsed(limit):
		return limit + 1
	}
	return limit
}

// Gradient2 compares the mean latency of a window with its long-term average. As long as it is at most half as much
// again, the limit grows by up to 4 per window, slowly; beyond that, it shrinks in proportion, by at most a tenth per
// window. An overload lowers it by a tenth. It needs no knowledge about the dependency, and takes a latency that stays
// higher for the new normal after about a minute.
//
// Source: Netflix, concurrency-limits, Gradient2Limit, with its parameters: tolerance 1.5, smoothing 0.2, a queue of 4,
// a long-term average over 600 windows that moves faster after an overload has passed.
func Gradient2() Algorithm { return Algorithm{name: "gradient2"} }

type gradient2 struct {
	average float64 // of the latency
	windows int     // that it is made of
}

func (g *gradient2) next(limit float64, s sample) float64 {
	const (
		tolerance = 1.5
		smoothing = 0.2
		queue     = 4
		warmUp    = 10
		long      = 600
	)
	if s.latency > 0 {
		g.windows++
		if g.windows <= warmUp {
			g.average += (s.latency - g.average) / float64(g.windows)
		} else {
			g.average += (s.latency - g.average) * 2 / (long + 1)
		}
		if g.average > 2*s.latency {
			g.average *= 0.95 // out of an overload: forget its latencies sooner
		}
	}
	if s.overload {
		return limit * 0.9
	}
	if s.latency <= 0 || !s.halfUsed(limit) {
		return limit
	}
	gradient := min(max(tolerance*g.average/s.latency, 0.5), 1)
	return limit + smoothing*(limit*gradient+queue-limit)
}

// Vegas estimates, from the latency and the least latency it knows, how many attempts are queueing inside the
// dependency, and keeps that number small: between 3 and 6 times the logarithm of the limit. It reacts fastest, and
// keeps latency lowest. The least latency is taken from the last 600 to 1200 windows, one to two minutes, so that a
// latency that stays higher becomes the new normal, and one window that was lucky does not count for ever.
//
// Source: L. Brakmo and L. Peterson, "TCP Vegas: end to end congestion avoidance on a global Internet", IEEE Journal on
// Selected Areas in Communications 13 (1995), with the parameters of Netflix's concurrency-limits, VegasLimit: alpha
// 3 log10, beta 6 log10, where log10 is a whole number, at least 1, and the estimate is rounded up. Instead of single fast
// samples and a random time to probe, the least latency is a minimum over windows, as in BBR.
func Vegas() Algorithm { return Algorithm{name: "vegas"} }

type vegas struct {
	least   float64 // latency of the present period
	earlier float64 // of the period before
	windows int     // of the present period
}

func (v *vegas) next(limit float64, s sample) float64 {
	const period = 600
	step := wholeLog10(limit)
	switch {
	case s.overload:
		return limit - step
	case s.latency <= 0: // too fast for the clock
		return limit
	}
	if v.windows++; v.windows > period {
		v.windows, v.earlier, v.least = 1, v.least, math.Inf(1)
	}
	v.least = min(v.least, s.latency)
	queue := math.Ceil(limit * (1 - min(v.least, v.earlier)/s.latency))
	switch {
	case queue > 6*step:
		return limit - step
	case !s.halfUsed(limit):
		return limit
	case queue <= step:
		return limit + 6*step
	case queue < 3*step:
		return limit + step
	}
	return limit
}

// wholeLog10 returns the logarithm of limit, rounded down, but at least 1.
func wholeLog10(limit float64) float64 {
	log := 1.0
	for limit >= 100 {
		limit, log = limit/10, log+1
	}
	return log
}
