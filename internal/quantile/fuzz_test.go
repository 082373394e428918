package quantile

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"time"
)

// The estimate against sorting, for every quantile and whatever the durations are: what lies between the ends of the
// histogram is known to 1/32, and what lies beyond is told as beyond. Each 8 bytes are a duration, over and over.
func FuzzEstimator(f *testing.F) {
	f.Add(0.95, []byte("some durations that are as long as they are"))
	f.Add(0.5, []byte{0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Add(0.999, []byte{0, 0x20, 0, 0, 0, 0, 0, 0, 0xff, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0})
	f.Fuzz(func(t *testing.T, q float64, data []byte) {
		if !(q >= 0.5 && q <= 0.999) || len(data) < 8 {
			return
		}
		var durations []time.Duration
		for n := Samples(q); len(durations) < n; {
			for rest := data; len(rest) >= 8 && len(durations) < n; rest = rest[8:] {
				d := time.Duration(binary.LittleEndian.Uint64(rest))
				durations = append(durations, d>>(rest[0]%64)) // short ones too
			}
		}
		e := New(q)
		for i, d := range durations {
			if _, known := e.Estimate(); known {
				t.Fatalf("known after %d of %d", i, len(durations))
			}
			e.Observe(d)
		}
		estimate, known := e.Estimate()
		if !known {
			t.Fatalf("not known after %d", len(durations))
		}
		slices.Sort(durations)
		exact := durations[max(0, int(math.Ceil(q*float64(len(durations))))-1)]
		switch {
		case exact < 1<<lowest:
			if estimate < 0 || estimate > 1<<lowest {
				t.Fatalf("%v instead of %v", estimate, exact)
			}
		case exact >= 1<<highest:
			if estimate != 1<<highest {
				t.Fatalf("%v instead of the end, %v", estimate, exact)
			}
		case math.Abs(float64(estimate-exact)) > float64(exact)/parts:
			t.Fatalf("%v instead of %v", estimate, exact)
		}
	})
}
