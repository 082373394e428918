package policyredis

import "testing"

// FuzzReply: whatever a server answers, no integer that the script cannot give admits, and what is taken fits.
func FuzzReply(f *testing.F) {
	for _, n := range []int64{0, 1, -1, 1 << 62, -1 << 62, int64(maxCapacity)} {
		f.Add(n, int64(10), int64(5), int64(1000))
	}
	f.Fuzz(func(t *testing.T, reply, burstOf, costOf, unitOf int64) {
		burst, cost, unit := amount(burstOf), amount(costOf), amount(unitOf)
		if burst < 1 || unit < 1 || burst > maxCapacity/unit || cost < 1 || cost > burst {
			t.Skip()
		}
		back := question{capacity: burst * unit, least: -cost * unit, most: -cost * unit, unit: unit}
		if _, err := back.answerTo(reply); reply < 0 && err == nil {
			t.Fatalf("%d: what goes back is never refused", reply)
		}
		q := question{capacity: burst * unit, least: cost * unit, most: cost * unit, unit: unit}
		a, err := q.answerTo(reply)
		if err != nil {
			return
		}
		if a.wait < 0 || a.debt < 0 || (a.wait == 0) != (reply >= 0) {
			t.Fatalf("%d: %+v", reply, a)
		}
		if a.wait == 0 && (a.debt+q.takes(a.debt) > q.capacity || q.takes(a.debt) != q.least) {
			t.Fatalf("%d admits beyond the capacity", reply)
		}
		for _, other := range []any{nil, float64(reply), "1", int(reply), []any{reply}} {
			if _, err := q.answerTo(other); err == nil {
				t.Fatalf("%T admits", other)
			}
		}
	})
}
