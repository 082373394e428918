package peaks

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// history is what happened to a bucket, to be told again without what was never taken.
type history struct {
	refill []float64 // before each take
	taken  []float64 // by each take; 0 once it was given back
}

// missing returns what is missing after all of it.
func (h *history) missing() (missing float64) {
	for i := range h.taken {
		missing = max(0, missing-h.refill[i]) + h.taken[i]
	}
	return missing
}

// worthOfAll returns what all that was taken is worth together, by the peaks that are kept.
func worthOfAll(p Peaks, h *history) (worth float64) {
	p.debt = 0
	for i, n := range h.taken {
		worth += p.GiveBack(uint64(i+1), n)
	}
	return worth
}

// With whatever is given back, the bucket is never fuller than if it had never been taken; and it is just as full as long
// as the moments to remember are few.
func TestPeaks(t *testing.T) {
	given, joined := 0, 0
	rapid.Check(t, func(r *rapid.T) {
		most := rapid.SampledFrom([]int{1, 2, 50}).Draw(r, "most")
		refills := rapid.OneOf(rapid.Just(0.0), rapid.Float64Range(0, 1.5*float64(most)))
		if rapid.Bool().Draw(r, "slowly emptying") {
			refills = rapid.Float64Range(0.85, 1)
		}
		var p Peaks
		var h history
		missing, seen := 0.0, 0 // by p, and how many moments it may have to remember
		for range rapid.IntRange(10, 60).Draw(r, "steps") {
			if number := rapid.IntRange(0, 2*len(h.taken)).Draw(r, "give back"); number > 0 && number <= len(h.taken) && h.taken[number-1] > 0 {
				missing -= min(missing, p.GiveBack(uint64(number), h.taken[number-1]))
				h.taken[number-1] = 0
				given++
			} else {
				refill := refills.Draw(r, "refill")
				missing = max(0, missing-refill)
				if seen++; missing == 0 {
					seen = 1
				}
				p.See(missing)
				n := rapid.IntRange(1, most).Draw(r, "n")
				p.Take(float64(n))
				missing += float64(n)
				h.refill, h.taken = append(h.refill, refill), append(h.taken, float64(n))
			}
			if all := worthOfAll(p, &h); all > p.returnable+p.debt+1e-9 || p.debt >= mostDebt {
				r.Fatalf("all takes are worth %v together, and %v is returnable with a debt of %v", all, p.returnable, p.debt)
			}
			for i := 1; i < p.kept; i++ {
				if p.peaks[i].missing <= p.peaks[i-1].missing {
					r.Fatalf("%v: one of no use is kept", p.peaks[:p.kept])
				}
			}
			switch want := h.missing(); {
			case missing < want-1e-9:
				r.Fatalf("%v missing, but %v if what was given back had never been taken", missing, want)
			case seen <= len(p.peaks) && missing > want+1e-9:
				r.Fatalf("%v missing, but only %v if what was given back had never been taken", missing, want)
			case missing > want+1e-9:
				joined++
				return
			}
		}
	})
	require.Positive(t, joined, "of %d", given)
}

// The table in the doc comment of [Peaks].
func TestPeaksByExample(t *testing.T) {
	taken := func() *Peaks {
		var p Peaks
		p.See(0)
		require.Zero(t, p.kept)
		p.Take(2)
		p.See(1)
		require.Equal(t, []peak{{1, 1}}, p.peaks[:p.kept])
		p.Take(3)
		p.See(3)
		require.Equal(t, []peak{{1, 1}, {2, 3}}, p.peaks[:p.kept])
		p.Take(1)
		return &p
	}
	p := taken()
	require.Equal(t, 1.0, p.GiveBack(1, 2))
	require.Equal(t, []peak{{1, 0}, {2, 2}}, p.peaks[:p.kept])
	require.Equal(t, 2.0, p.GiveBack(2, 3))
	require.Equal(t, []peak{{2, 0}}, p.peaks[:p.kept])

	p = taken()
	require.Equal(t, 3.0, p.GiveBack(2, 3))
	require.Equal(t, []peak{{2, 0}}, p.peaks[:p.kept])
	require.Equal(t, 0.0, p.GiveBack(1, 2))
}

// A peak that has become of no use by what was given back leaves its room to another one, so that no two are joined.
func TestWhatIsOfNoUseTakesNoRoom(t *testing.T) {
	var p Peaks
	for missing := range 3 {
		p.See(float64(missing))
		p.Take(2)
	}
	require.Equal(t, 1.0, p.GiveBack(1, 2))
	require.Equal(t, 1.0, p.GiveBack(2, 2))
	for missing := 1; missing <= 3; missing++ { // after takes 3, 4 and 5
		p.See(float64(missing))
		p.Take(2)
	}
	require.Equal(t, 2.0, p.GiveBack(4, 2), "least was missing after the take: 2")
}

// When attempts come at nearly the rate, each takes something of its worth from the one before. The latest is worth
// exactly that, and of the earlier ones most.
func TestTheyLoseLittle(t *testing.T) {
	for _, steps := range []int{5, 10, 100, 1000} {
		t.Run(fmt.Sprint(steps), func(t *testing.T) {
			worth := func(which int) (got, want float64) {
				var p Peaks
				for i := range steps {
					p.See(float64(i) / float64(steps))
					p.Take(1)
				}
				return p.GiveBack(uint64(which+1), 1), min(1, float64(which+1)/float64(steps))
			}
			total, all := 0.0, 0.0
			for which := range steps {
				got, want := worth(which)
				require.LessOrEqual(t, got, want)
				total, all = total+got, all+want
			}
			got, want := worth(steps - 2)
			require.Equal(t, want, got)
			require.Greater(t, total, 0.4*all)
		})
	}
}

// However much or little is missing: what is given back is neither more than was taken, nor less than nothing.
func TestTheyStayWithinBounds(t *testing.T) {
	const most = 1 << 53
	var p Peaks
	p.See(0)
	require.Zero(t, p.kept, "nothing was taken yet")
	p.Take(most)
	more := math.Nextafter(1, 2)
	p.See(more)
	p.Take(1)
	require.Equal(t, 1.0, p.GiveBack(2, 1))
	require.Equal(t, more, p.GiveBack(1, most))
	require.Zero(t, p.GiveBack(1, most), "a second time, which is against the rules")
	p.Take(1)
	p.See(0)
	for number := range uint64(4) {
		require.Zero(t, p.GiveBack(number, 1))
	}
	p.Take(1)
	require.Equal(t, 1.0, p.GiveBack(4, 1), "it comes after that")
	require.Equal(t, 1, p.kept)
}

// When everything was given back and nothing is missing, there is room for four moments again.
func TestAFullBucketRemembersOneMoment(t *testing.T) {
	var p Peaks
	for i := range 4 {
		p.See(float64(i) / 2)
		p.Take(1)
	}
	require.Equal(t, len(p.peaks)-1, p.kept)
	for number := range uint64(4) {
		p.GiveBack(number+1, 1)
	}
	p.See(0)
	require.Equal(t, 1, p.kept)
	require.Zero(t, p.GiveBack(1, 1), "a take from before")
}
