package theory

import "math"

// Attempts returns the mean number of attempts of a call that makes up to n of them, each of which fails with
// probability p, independently.
func Attempts(p float64, n int) float64 {
	if p == 1 {
		return float64(n)
	}
	return (1 - math.Pow(p, float64(n))) / (1 - p)
}

// Success returns the probability that one of n attempts succeeds.
func Success(p float64, n int) float64 { return 1 - math.Pow(p, float64(n)) }

// Layers returns the attempts of one layer that d layers of n attempts each amount to.
func Layers(n, d int) int {
	product := 1
	for range d {
		product *= n
	}
	return product
}

// AttemptsDeviation returns the standard deviation of the number of attempts of a call.
func AttemptsDeviation(p float64, n int) float64 {
	mean, square := 0.0, 0.0
	for k := 1; k <= n; k++ {
		chance := math.Pow(p, float64(k-1)) // that there is a k-th attempt
		mean += chance
		square += chance * float64(2*k-1)
	}
	return math.Sqrt(max(0, square-mean*mean))
}
