// Package decimal calculates with shares as people write them.
package decimal

import (
	"math/bits"
	"strconv"
	"strings"
)

// Fraction is an exact fraction, from 0 to 1. The zero Fraction is none.
type Fraction struct{ Num, Den uint64 }

// Of returns the fraction that the shortest decimal form of share shows: what a person wrote as 0.57 is 57/100, and not
// the nearest binary fraction, which is a little less. Beyond 18 decimal places it rounds. share must be from 0 to 1.
func Of(share float64) Fraction {
	text := strconv.FormatFloat(share, 'f', -1, 64)
	whole, decimals, _ := strings.Cut(text, ".")
	if len(decimals) > 18 {
		whole, decimals, _ = strings.Cut(strconv.FormatFloat(share, 'f', 18, 64), ".")
	}
	num, _ := strconv.ParseUint(whole+decimals, 10, 64)
	den := uint64(1)
	for range decimals {
		den *= 10
	}
	return Fraction{num, den}
}

// ReachedBy reports whether part/whole is at least the fraction, exactly.
func (f Fraction) ReachedBy(part, whole int64) bool {
	partHigh, partLow := bits.Mul64(uint64(part), f.Den)
	wholeHigh, wholeLow := bits.Mul64(f.Num, uint64(whole))
	return partHigh > wholeHigh || partHigh == wholeHigh && partLow >= wholeLow
}

// Floor returns the largest whole number that is not above the fraction of whole, which must not be negative.
func (f Fraction) Floor(whole int64) int64 {
	high, low := bits.Mul64(f.Num, uint64(whole))
	quotient, _ := bits.Div64(high, low, f.Den) // which fits, as the fraction is at most 1
	return int64(quotient)
}
