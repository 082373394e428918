// Package saturate calculates with durations that end at the largest one instead of overflowing.
package saturate

import (
	"math"
	"time"
)

// Max is the longest duration.
const Max = time.Duration(math.MaxInt64)

// Add returns t+d, at most [Max]. d must not be negative.
func Add(t, d time.Duration) time.Duration {
	if sum := t + d; sum >= t {
		return sum
	}
	return Max
}

// Scale returns d times factor, at most [Max]. Neither may be negative, nor factor NaN.
func Scale(d time.Duration, factor float64) time.Duration {
	if scaled := float64(d) * factor; scaled < math.MaxInt64 {
		return time.Duration(scaled)
	}
	return Max
}
