package breaker

import (
	"math/bits"
	"strconv"
	"strings"
)

// ratio is an exact fraction. The zero ratio stands for a rule that does not exist.
type ratio struct{ num, den uint64 }

// ratioOf returns the fraction that the shortest decimal form of rate shows: what a person wrote as 0.57 is 57/100,
// and not the nearest binary fraction, which is a little less. Beyond 18 decimal places it rounds. rate must be
// between 0 and 1.
func ratioOf(rate float64) ratio {
	text := strconv.FormatFloat(rate, 'f', -1, 64)
	whole, decimals, _ := strings.Cut(text, ".")
	if len(decimals) > 18 {
		whole, decimals, _ = strings.Cut(strconv.FormatFloat(rate, 'f', 18, 64), ".")
	}
	num, _ := strconv.ParseUint(whole+decimals, 10, 64)
	den := uint64(1)
	for range decimals {
		den *= 10
	}
	return ratio{num, den}
}

// reachedBy reports whether part/whole is at least the ratio, exactly.
func (r ratio) reachedBy(part, whole int64) bool {
	partHigh, partLow := bits.Mul64(uint64(part), r.den)
	wholeHigh, wholeLow := bits.Mul64(r.num, uint64(whole))
	return partHigh > wholeHigh || partHigh == wholeHigh && partLow >= wholeLow
}

// rateRule trips when a share of the calls in the window is bad.
type rateRule struct {
	share        ratio
	minimumCalls int64
}

func (r rateRule) exists() bool { return r.share.den != 0 }

func (r rateRule) trips(bad, calls int64) bool {
	return r.exists() && calls >= r.minimumCalls && r.share.reachedBy(bad, calls)
}
