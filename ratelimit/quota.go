package ratelimit

import (
	"math"
	"math/bits"
	"time"

	"github.com/go-resilience/resilience/internal/keytable"
	"github.com/go-resilience/resilience/internal/saturate"
	"github.com/go-resilience/resilience/policy"
)

// quota is the configuration of a limiter per key as arithmetic: the generic cell rate algorithm in virtual time. It does
// not change.
//
// A token is a fixed number of units. The bucket of a key is one number of units, its word in the table:
//
//	 floor               word               ceiling
//	---|-------------------|-------------------|-----> units
//	   |<---- missing ---->|<----- there ----->|
//	   |<---------- full: the burst ---------->|
//
// Floor and ceiling rise with time, by as many units as tokens come in. A word stays, until a token is taken, which raises
// it by the units of the token. No word is above the ceiling, unless the rate has just become lower. A word at the floor, or
// below it, is that of a full bucket and the same as none, so what is taken counts from the floor on.
//
// For example, with 100 per second and a burst of 5, a token is 80,000,000 units: eight for each nanosecond that it takes to
// come in. A key that has taken 3 tokens has its word 160,000,000 units below the ceiling: 2 are there. 10 ms later the
// ceiling is 80,000,000 units higher: 3 are there. When the rate becomes 200 per second, a token stays 80,000,000 units, and
// the ceiling rises by 16 units per nanosecond in place of 8. When the burst becomes 10, the floor goes down by 5 tokens.
// Either way no word is touched, and a key has the tokens that it had. TestQuotaByExample shows these numbers.
//
// The units of a token are rounded up, so no window gets more than it should. At a million per second, a rate may be lower for
// that by an eighth per thousand.
type quota struct {
	config   *config
	inShadow bool            // the mode now; config.beginsInShadow is the one that it began with
	table    *keytable.Table // nil without a limit

	start   time.Duration // when it began, by the limiter's stopwatch. Quotas are told apart by it: see same and gave
	ceiling int64         // at the start
	speed   uint64        // by which the ceiling rises, in units per nanosecond, times 2^speedBits
	token   int64         // units of a token
	full    int64         // units of the burst
	reach   time.Duration // how long the ceiling stays within its bounds
}

const (
	// unitsPerNanosecond is how fine units are, unless the burst would not fit. The finer they are, the sooner the ceiling
	// is at its last: with eight, after 22 years.
	unitsPerNanosecond = 8

	maxBurstUnits = 1 << 60 // an eighth of all there are
	firstCeiling  = 1 << 61 // so the floor is positive, whatever the burst
	lastCeiling   = math.MaxInt64 - maxBurstUnits

	// speedBits are the binary places of a speed, which is rounded down: a ceiling lags by a unit in two years at most. Eight
	// bits are left for units per nanosecond, of which there are at most 32: unitsPerNanosecond × maxSpeedup.
	speedBits = 56
	// maxSpeedup is how much faster the ceiling may rise before keys are moved to coarser units: it would be at its last too
	// soon.
	maxSpeedup = 4

	// anotherClock is how far before the start of a quota a reading lies that comes from another clock, as package stopwatch
	// has it. One that is nearer is late.
	anotherClock = 24 * time.Hour
)

// intervalOf returns the units of a token at a rate above 0 if units are as fine as they can be.
func intervalOf(perSecond float64) int64 {
	return int64(math.Ceil(unitsPerNanosecond * float64(time.Second) / perSecond)) // at most 8e18
}

// bestToken returns the units of a token if they are as fine as the burst allows. At a rate of 0, they do not matter.
func (c *config) bestToken() int64 {
	interval := int64(unitsPerNanosecond * time.Second)
	if c.perSecond > 0 {
		interval = intervalOf(c.perSecond)
	}
	return min(interval, maxBurstUnits/int64(c.burst))
}

// firstQuota returns the quota of a new table.
func firstQuota(c *config, start time.Duration) *quota {
	q := &quota{config: c, inShadow: c.beginsInShadow, start: start, ceiling: firstCeiling}
	if !c.unlimited() {
		q.table = keytable.New(c.keys)
		q.token = c.bestToken()
	}
	return q.paced()
}

// paced computes what follows from the rate, the burst and the token.
func (q *quota) paced() *quota {
	q.full = q.token * int64(q.config.burst)
	if q.config.perSecond > 0 && !q.unlimited() { // as many units per nanosecond as q.token is coarser than the interval
		q.speed, _ = scale(q.token, unitsPerNanosecond<<speedBits, uint64(intervalOf(q.config.perSecond)))
	}
	q.reach = q.timeTo(lastCeiling)
	return q
}

// scale returns x × times ÷ by, rounded down, and what is left; the largest number if it is too large for that, or by is 0.
func scale(x int64, times, by uint64) (quotient, rest uint64) {
	high, low := bits.Mul64(uint64(x), times)
	if high >= by {
		return math.MaxUint64, 0
	}
	return bits.Div64(high, low, by)
}

// after returns the quota with another configuration that starts where q ends: now.
func (q *quota) after(c *config, clock func() time.Duration) *quota {
	now := clock()
	if q.unlimited() || c.unlimited() {
		return q.refilled(c, now)
	}
	ceiling := q.finalCeiling(now)
	if q.fits(c, ceiling) {
		return q.continued(c, now, ceiling)
	}
	return q.moved(c, clock, ceiling)
}

// refilled is after when there was no limit, or will be none: no word says what a key has taken, so all buckets are full.
func (q *quota) refilled(c *config, now time.Duration) *quota { return firstQuota(c, q.end(now)) }

// continued is after when the words mean the same in the new configuration: they stay where they are, and nobody waits.
func (q *quota) continued(c *config, now time.Duration, ceiling int64) *quota {
	q.table.Grow(c.keys)
	next := &quota{
		config: c, inShadow: c.beginsInShadow, table: q.table, start: q.end(now), ceiling: ceiling, token: q.token,
	}
	return next.paced()
}

// moved is after when they do not: it moves them to another table, in the units of the new configuration.
//
// Until the old table is closed, attempts go on by q, each up to the ceiling of its own reading of the clock. So the clock is read
// again then: by that reading, no word is above the ceiling. But the ceiling from before stays the least. By another clock it is
// the latest word, for which the table, now closed, cannot be asked any more.
func (q *quota) moved(c *config, clock func() time.Duration, ceiling int64) *quota {
	table := q.table.Move(c.keys, ceiling-q.full)
	now := clock()
	ceiling = max(ceiling, q.finalCeiling(now))
	next := &quota{
		config: c, inShadow: c.beginsInShadow, table: table, start: q.end(now), ceiling: firstCeiling, token: c.bestToken(),
	}
	table.Convert(func(word int64) int64 {
		there, _ := scale(max(0, ceiling-word), uint64(next.token), uint64(q.token)) // what is left of a unit is lost
		return firstCeiling - int64(min(there, maxBurstUnits))
	})
	return next.paced()
}

// fits reports whether the table and the units of q serve another configuration: the table does not shrink, most of the units
// are still to come, the burst fits, the ceiling does not rise too fast, and a unit is no more than a nanosecond.
func (q *quota) fits(c *config, ceiling int64) bool {
	best := c.bestToken()
	return c.keys >= q.config.keys && ceiling < lastCeiling/2 && q.token <= maxBurstUnits/int64(c.burst) &&
		(c.perSecond == 0 || q.token < maxSpeedup*best && best <= unitsPerNanosecond*q.token)
}

// same reports whether q and other differ in the mode at most: Shadow and Enforce copy a quota with its start.
func (q *quota) same(other *quota) bool { return q.start == other.start }

// gave reports whether the tokens of a ticket are this quota's. Those of an earlier one do not come back. Its tickets are from
// before the start, also those of the very moment of a Reconfigure, which adds a nanosecond to the start for that.
func (q *quota) gave(ticket policy.Ticket) bool { return ticket.Start >= q.start }

// unlimited reports whether there is no limit, and so no table.
func (q *quota) unlimited() bool { return q.table == nil }

// isOver reports whether decades have passed, so that the ceiling has come to its last and every bucket is full.
func (q *quota) isOver(now time.Duration) bool { return now-q.start > q.reach }

// isForeign reports whether a moment before the start is by another clock. Any other moment before it counts as the start.
func (q *quota) isForeign(now time.Duration) bool { return q.start-now > anotherClock }

// reaches reports whether the quota knows its ceiling at a moment.
func (q *quota) reaches(now time.Duration) bool { return !q.isOver(now) && !q.isForeign(now) }

// allFull reports whether all buckets are full, whatever was taken from them.
func (q *quota) allFull(now time.Duration) bool { return q.unlimited() || q.isOver(now) }

// end returns when q ends if it does now: not before its start, unless by another clock.
func (q *quota) end(now time.Duration) time.Duration {
	if q.isForeign(now) {
		return now
	}
	return max(now, q.start)
}

// finalCeiling returns where the ceiling is if q, which has a limit, ends now.
func (q *quota) finalCeiling(now time.Duration) int64 {
	switch {
	case q.isOver(now):
		return lastCeiling
	case q.isForeign(now): // which does not say how long it was
		return q.latestWord()
	}
	return q.ceilingAt(now)
}

// latestWord returns the latest word of any key, or the first ceiling if that is later. It looks at every key.
func (q *quota) latestWord() int64 {
	u, _ := q.table.Usage(lastCeiling) // there is no other table: whoever makes one has the mutex
	return max(q.ceiling, u.Latest)
}

// ceilingAt returns the ceiling at a moment that the quota reaches: at its start, also a little before it.
func (q *quota) ceilingAt(now time.Duration) int64 {
	high, low := bits.Mul64(uint64(max(0, now-q.start)), q.speed)
	return q.ceiling + int64(high<<(64-speedBits)|low>>speedBits)
}

// moment returns when the ceiling will be at a point that is above it now; false for never.
func (q *quota) moment(point int64) (time.Duration, bool) {
	at := saturate.Add(q.start, q.timeTo(point))
	return at, at < horizon
}

// timeTo returns how long after the start the ceiling is at least at a point; the longest duration for never.
func (q *quota) timeTo(point int64) time.Duration {
	wait, rest := scale(max(0, point-q.ceiling), 1<<speedBits, q.speed)
	if rest > 0 {
		wait++
	}
	return time.Duration(min(wait, math.MaxInt64))
}
