package breaker

import (
	"slices"
	"time"

	"github.com/go-resilience/resilience/internal/saturate"
)

// halfOpen is what a half-open breaker knows: which attempts probe the dependency, and what they have found so far.
//
// There are a few slots, and each probe takes one, on lease. It gives the slot back when it ends. If its lease is over before
// that, the probe goes on and still counts, unless a new probe finds no free slot and displaces it. So a probe that hangs
// blocks nothing for long, and one that is merely slow is not lost.
type halfOpen struct {
	probes       []probe       // that have a slot, oldest first
	lastNumber   int64         // of a probe; numbers are never used again
	lastAdmitted time.Duration // when the last probe was admitted
	passed       int           // probes that succeeded
	failed       int           // probes that failed, or were slow
}

// probe is an attempt that has a slot. Its lease is [since, until).
type probe struct {
	number    int64
	since     time.Duration
	until     time.Duration
	throttled bool // it has ended: the dependency asked to be left alone, so the slot stays taken until the lease is over
}

func (p probe) leased(now time.Duration) bool { return within(now, p.since, p.until) }
func (p probe) inFlight() bool                { return !p.throttled }

// slots returns how many slots there are: never more than successes are still needed. Reconfigure may have lowered those to
// what has passed already; then one more probe is needed all the same.
func (h *halfOpen) slots(r *rules) int {
	return min(r.probes, max(1, r.successes-h.passed))
}

// taken returns how many slots no other probe can have at now, because their leases are running.
func (h *halfOpen) taken(now time.Duration) (n int) {
	for _, p := range h.probes {
		if p.leased(now) {
			n++
		}
	}
	return n
}

// full reports whether there is no slot for another probe at now.
func (h *halfOpen) full(r *rules, now time.Duration) bool { return h.taken(now) >= h.slots(r) }

// inFlight returns how many probes have not ended, and will count if no other displaces them.
func (h *halfOpen) inFlight() (n uint64) {
	for _, p := range h.probes {
		if p.inFlight() {
			n++
		}
	}
	return n
}

// admit gives a slot to a new probe and returns its number, or 0 if there is none for it. It also returns how many probes in
// flight the new one has displaced: more than one if there are fewer slots now than there were.
func (h *halfOpen) admit(r *rules, now time.Duration) (number int64, displaced uint64) {
	if h.full(r, now) {
		return 0, 0
	}
	before := h.inFlight()
	h.displace(len(h.probes)+1-h.slots(r), now)
	displaced = before - h.inFlight()
	h.lastNumber++
	h.lastAdmitted = now
	h.probes = append(h.probes, probe{number: h.lastNumber, since: now, until: saturate.Add(now, r.lease)})
	return h.lastNumber, displaced
}

// displace takes their slots from the n oldest probes whose leases are over. There are as many if the slots are not full.
func (h *halfOpen) displace(n int, now time.Duration) {
	h.probes = slices.DeleteFunc(h.probes, func(p probe) bool {
		if n <= 0 || p.leased(now) {
			return false
		}
		n--
		return true
	})
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

// throttle is end for a probe that was throttled: its slot stays taken for a period from now on.
func (h *halfOpen) throttle(number int64, now, period time.Duration) bool {
	i := h.find(number)
	if i < 0 {
		return false
	}
	h.probes[i] = probe{number: number, since: now, until: saturate.Add(now, period), throttled: true}
	return true
}

// find returns the place of a probe that is in flight, -1 if it is not.
func (h *halfOpen) find(number int64) int {
	return slices.IndexFunc(h.probes, func(p probe) bool { return p.number == number && p.inFlight() })
}

// forget forgets all probes and what they found, and returns how many of them were in flight.
func (h *halfOpen) forget() (stale uint64) {
	stale = h.inFlight()
	h.probes, h.passed, h.failed = h.probes[:0], 0, 0
	return stale
}

// idle reports whether no lease is running at now, and the last probe was admitted longer ago than a lease and than the open
// time.
func (h *halfOpen) idle(r *rules, now time.Duration) bool {
	return h.taken(now) == 0 && !within(now, h.lastAdmitted, saturate.Add(h.lastAdmitted, max(r.lease, r.openFor)))
}
