package theory

import "math"

// Survival is the probability that a time is longer than t.
type Survival func(t float64) float64

// ExponentialSurvival is that of the exponential distribution.
func ExponentialSurvival(mean float64) Survival {
	return func(t float64) float64 { return math.Exp(-max(0, t) / mean) }
}

// LognormalSurvival is that of the lognormal distribution.
func LognormalSurvival(median, sigma float64) Survival {
	return func(t float64) float64 {
		if t <= 0 {
			return 1
		}
		return 0.5 * math.Erfc(math.Log(t/median)/(sigma*math.Sqrt2))
	}
}

// Point is a point of a survival function.
type Point struct{ Time, Survival float64 }

// MeasuredSurvival goes straight from (0, 1) or, if low is above 0, from (low, 1) to the first point, and from then on
// from point to point as a straight line on paper with two logarithmic axes, and on beyond the last.
func MeasuredSurvival(low float64, points ...Point) Survival {
	return func(t float64) float64 {
		first := points[0]
		if t <= low {
			return 1
		}
		if t <= first.Time {
			return 1 - (t-low)/(first.Time-low)*(1-first.Survival)
		}
		a, b := points[len(points)-2], points[len(points)-1]
		for i := 1; i < len(points); i++ {
			if t <= points[i].Time {
				a, b = points[i-1], points[i]
				break
			}
		}
		slope := math.Log(b.Survival/a.Survival) / math.Log(b.Time/a.Time)
		return a.Survival * math.Pow(t/a.Time, slope)
	}
}

// Hedged is the survival of the first answer of two attempts, the second of which starts after delay. The extra load
// is s(delay).
func (s Survival) Hedged(delay float64) Survival {
	return func(t float64) float64 { return s(t) * s(t-delay) }
}

// Longest is the survival of the longest of n independent times.
func (s Survival) Longest(n int) Survival {
	return func(t float64) float64 { return -math.Expm1(float64(n) * math.Log1p(-s(t))) }
}

// Quantile returns the time that is exceeded with probability 1-q.
func (s Survival) Quantile(q float64) float64 {
	low, high := 0.0, 1.0
	for s(high) > 1-q {
		high *= 2
	}
	for {
		switch mid := (low + high) / 2; {
		case mid == low || mid == high: // there is no number between them
			return high
		case s(mid) > 1-q:
			low = mid
		default:
			high = mid
		}
	}
}
