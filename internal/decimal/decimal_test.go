package decimal_test

import (
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/internal/decimal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFault023_RatesCompareExactly(t *testing.T) {
	for _, rate := range []struct {
		float    float64
		num, den int64
	}{{0.5, 1, 2}, {0.57, 57, 100}, {0.004, 4, 1000}, {0.01, 1, 100}, {1, 1, 1}, {0.29, 29, 100}, {0.07, 7, 100}} {
		r := decimal.Of(rate.float)
		for calls := int64(1); calls <= 1000; calls++ {
			for failures := int64(0); failures <= calls; failures++ {
				if got, want := r.ReachedBy(failures, calls), failures*rate.den >= rate.num*calls; got != want {
					t.Fatalf("%v: %d of %d: %v", rate.float, failures, calls, got)
				}
			}
		}
	}
	require.False(t, decimal.Of(0.5).ReachedBy(124, 250))
	require.True(t, decimal.Of(0.5).ReachedBy(125, 250))
	require.True(t, decimal.Of(0.57).ReachedBy(57, 100))
	third := 1.0 / 3
	require.True(t, decimal.Of(third).ReachedBy(1, 3))
	require.True(t, decimal.Of(2*third).ReachedBy(2, 3))
}

// 18 decimal places are exact; what has more is rounded, so that no product overflows.
func TestFault023_DecimalPlacesOfARate(t *testing.T) {
	for rate, want := range map[float64]decimal.Fraction{
		1:                     {Num: 1, Den: 1},
		0.57:                  {Num: 57, Den: 100},
		1e-9:                  {Num: 1, Den: 1e9},
		0.012345678901234568:  {Num: 12345678901234568, Den: 1e18},
		0.001234567890123456:  {Num: 1234567890123456, Den: 1e18},
		0.0012345678901234567: {Num: 1234567890123457, Den: 1e18},
		0.0012345678901234563: {Num: 1234567890123456, Den: 1e18},
		1.2345678901234567e-9: {Num: 1234567890, Den: 1e18},
	} {
		require.Equal(t, want, decimal.Of(rate), "%v", rate)
	}
}

func TestFault023_RatesAreTheDecimalsThatPeopleWrite(t *testing.T) { rapid.Check(t, ratesAreDecimals) }
func FuzzRatio(f *testing.F)                                       { f.Fuzz(rapid.MakeFuzz(ratesAreDecimals)) }

func ratesAreDecimals(t *rapid.T) {
	rate := rapid.Float64Range(1e-9, 1).Draw(t, "rate")
	part := rapid.Int64Range(0, 1<<62).Draw(t, "part")
	whole := rapid.Int64Range(part, 1<<62).Draw(t, "whole")
	r := decimal.Of(rate)
	exact := new(big.Rat).SetFrac(new(big.Int).SetUint64(r.Num), new(big.Int).SetUint64(r.Den))
	if float, _ := exact.Float64(); math.Abs(float-rate) > 1e-18 || rate > 0.01 && float != rate {
		t.Fatalf("%v became %v", rate, exact)
	}
	left := new(big.Int).Mul(big.NewInt(part), new(big.Int).SetUint64(r.Den))
	right := new(big.Int).Mul(big.NewInt(whole), new(big.Int).SetUint64(r.Num))
	if got, want := r.ReachedBy(part, whole), left.Cmp(right) >= 0; got != want {
		t.Fatalf("%d of %d at %v: %v", part, whole, rate, got)
	}
}

func TestFloor(t *testing.T) {
	for _, c := range []struct {
		share       float64
		whole, want int64
	}{
		{0.29, 100, 29}, {0.57, 100, 57}, {0.07, 100, 7}, {0.2, 4, 0}, {0.2, 5, 1}, {0, 100, 0}, {1, math.MaxInt64, math.MaxInt64},
		{0.1, 0, 0}, {0.012345678901234568, 1e18, 12345678901234568},
	} {
		require.Equal(t, c.want, decimal.Of(c.share).Floor(c.whole), "%v of %d", c.share, c.whole)
	}
}

// What is at most the floor is what the fraction of the whole is reached by, and no more.
func TestTheFloorIsTheLargest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := decimal.Of(rapid.Float64Range(0, 1).Draw(t, "share"))
		whole := rapid.Int64Range(0, math.MaxInt64).Draw(t, "whole")
		floor := f.Floor(whole)
		product := new(big.Int).Mul(new(big.Int).SetUint64(f.Num), big.NewInt(whole))
		if want := product.Quo(product, new(big.Int).SetUint64(f.Den)); want.Cmp(big.NewInt(floor)) != 0 {
			t.Fatalf("%v of %d is %d, not %v", f, whole, floor, want)
		}
	})
}
