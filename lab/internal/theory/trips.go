package theory

import "math"

// CallsToRun returns the mean number of calls until k failures in a row, when each call fails with probability p.
func CallsToRun(p float64, k int) float64 {
	run := math.Pow(p, float64(k))
	return (1 - run) / ((1 - p) * run)
}

// RunWithin returns the probability of k failures in a row within calls, exactly, by a recurrence over the length of
// the current run.
func RunWithin(p float64, k, calls int) float64 {
	state := make([]float64, k) // state[i]: the probability that the last i calls failed and no more
	state[0] = 1
	tripped := 0.0
	for range calls {
		var healthy float64
		for _, s := range state {
			healthy += s
		}
		tripped += state[k-1] * p
		for i := k - 1; i > 0; i-- {
			state[i] = state[i-1] * p
		}
		state[0] = healthy * (1 - p)
	}
	return tripped
}

// Tail returns the probability of at least least failures in n calls.
func Tail(n, least int, p float64) float64 {
	sum := 0.0
	for i := least; i <= n; i++ {
		sum += math.Exp(logChoose(n, i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return sum
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

// FalseReopen returns the probability that not all of m probes succeed although the dependency is healthy, when each
// fails with probability p.
func FalseReopen(p float64, m int) float64 { return 1 - math.Pow(1-p, float64(m)) }

// CallsToRate returns the mean number of calls until the share of failures reaches share, from minimum calls on, in a
// window that has room for all of them, when a rule is evaluated after each failure and a call fails with
// probability p. The window is taken to be long enough: what is left after most calls is ignored.
func CallsToRate(p, share float64, minimum, most int) float64 {
	state := []float64{1} // state[f]: the probability of f failures without a trip
	mean := 0.0
	for n := 1; n <= most; n++ {
		next := make([]float64, len(state)+1)
		for failures, s := range state {
			next[failures] += s * (1 - p)
			if n >= minimum && float64(failures+1) >= share*float64(n) {
				mean += s * p * float64(n)
			} else {
				next[failures+1] += s * p
			}
		}
		state = next
	}
	return mean
}
