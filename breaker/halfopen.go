package breaker

import (
	"slices"
	"time"
)

// halfOpen is what a half-open breaker knows: which attempts probe the dependency, and what they have found so far.
//
// A probe is a lease of a slot. When the lease is over another attempt may take the slot; until one does, the probe's
// outcome still counts. So a probe that hangs blocks nothing for long, and one that is merely slow is not lost.
type halfOpen struct {
	probes []probe       // that hold a slot, oldest first; those that others have displaced are not here any more
	last   int64         // the number of the last probe; numbers are never used again
	begun  time.Duration // when the last probe was admitted
	passed int           // probes that succeeded
	failed int           // probes that failed, or were slow
}

// probe is the holder of a slot. Its lease is [since, until).
type probe struct {
	number int64
	since  time.Duration
	until  time.Duration
	over   bool // it has ended, throttled, and the slot is kept from others until the lease is over
}

func (p probe) leased(now time.Duration) bool { return within(now, p.since, p.until) }

// forget forgets all probes and what they found, and returns how many of them had not ended.
func (h *halfOpen) forget() (stale uint64) {
	stale = h.inFlight()
	h.probes, h.passed, h.failed = h.probes[:0], 0, 0
	return stale
}

// slots returns how many probes there may be at once: never more than must still succeed.
func (h *halfOpen) slots(r *rules) int {
	return min(r.probes, max(1, r.successes-h.passed))
}

// full reports whether there is no slot for another probe at now.
func (h *halfOpen) full(r *rules, now time.Duration) bool { return h.leased(now) >= h.slots(r) }

// leased returns how many slots are taken at now by probes whose leases are not over.
func (h *halfOpen) leased(now time.Duration) (n int) {
	for _, p := range h.probes {
		if p.leased(now) {
			n++
		}
	}
	return n
}

// inFlight returns how many probes have not ended, and will count if no other displaces them.
func (h *halfOpen) inFlight() (n uint64) {
	for _, p := range h.probes {
		if !p.over {
			n++
		}
	}
	return n
}

// admit gives a slot to a new probe and returns its number, or 0 if there is no slot. If need be it takes slots away from the
// oldest probes whose lease is over, and returns how many of these had not ended.
func (h *halfOpen) admit(r *rules, now time.Duration) (number int64, displaced uint64) {
	if h.full(r, now) {
		return 0, 0
	}
	excess := len(h.probes) + 1 - h.slots(r)
	h.probes = slices.DeleteFunc(h.probes, func(p probe) bool {
		if excess <= 0 || p.leased(now) {
			return false
		}
		excess--
		if !p.over {
			displaced++
		}
		return true
	})
	h.last++
	h.begun = now
	h.probes = append(h.probes, probe{number: h.last, since: now, until: after(now, r.lease)})
	return h.last, displaced
}

// end takes the slot of a probe back. It reports false if the probe has none: another one has displaced it, the breaker is
// not half-open any more, or the probe has ended before.
func (h *halfOpen) end(number int64) bool {
	i := h.find(number)
	if i < 0 {
		return false
	}
	h.probes = slices.Delete(h.probes, i, i+1)
	return true
}

// throttle ends a probe as end does, but keeps its slot from others for a period from now on.
func (h *halfOpen) throttle(number int64, now, period time.Duration) bool {
	i := h.find(number)
	if i < 0 {
		return false
	}
	h.probes[i].over, h.probes[i].since, h.probes[i].until = true, now, after(now, period)
	return true
}

// find returns the place of a probe that has a slot and has not ended, -1 if there is none.
func (h *halfOpen) find(number int64) int {
	return slices.IndexFunc(h.probes, func(p probe) bool { return p.number == number && !p.over })
}

// lastSlotHolder returns the number of the probe that took the last slot, 0 while there is a free one. If it changes, so does
// what Ready answers: also when a new probe takes the slot of one whose lease was over, although no slot was free before.
func (h *halfOpen) lastSlotHolder(r *rules) int64 {
	if len(h.probes) < h.slots(r) {
		return 0
	}
	return h.last
}

// idle reports whether no lease is running at now, and the last probe was admitted longer ago than a lease and than the open
// time.
func (h *halfOpen) idle(r *rules, now time.Duration) bool {
	return h.leased(now) == 0 && !within(now, h.begun, after(h.begun, max(r.lease, r.openFor)))
}
