package ratelimit

import (
	"math"
	"math/bits"
	"time"

	"github.com/go-resilience/resilience/internal/keytable"
	"github.com/go-resilience/resilience/internal/saturate"
)

// quota is the configuration of a limiter per key as arithmetic: the generic cell rate algorithm in virtual time. It does
// not change.
//
// A token is a fixed number of units. The line goes up with time, by as many units as tokens come in. The word of a key
// is always below the line, by as many units as the key has tokens; a key whose word is below the line by the burst or more
// has all of them. So to take a token is to raise the word by its units, if it then is not above the line. When the rate
// changes, the line goes on from where it is at another speed; when the burst changes, only what is all changes. No word
// is touched.
//
// Units are an eighth of a nanosecond at the rate that they were made for, so that words last for 22 years, or coarser, so
// that the burst fits. The interval between tokens is rounded up to units: no window ever gets more than it should. At a
// million tokens per second, a rate may be lower for that by an eighth per thousand.
type quota struct {
	*config
	shadow bool            // the mode, which may not be that of config
	table  *keytable.Table // nil without a limit

	start time.Duration // when this quota began, by the limiter's stopwatch
	line  int64         // at the start
	speed uint64        // units per nanosecond, times 2^speedBits
	token int64         // units of a token
	full  int64         // units of the burst
	reach time.Duration // how long the line stays within its bounds
}

const (
	unitsPerNanosecond = 8
	speedBits          = 56      // so that a speed below 128 fits
	maxSpeedup         = 4       // by which the line may go faster than eight units per nanosecond
	maxBurstUnits      = 1 << 60 // of a burst
	firstLine          = 1 << 61 // above any burst
	lastLine           = math.MaxInt64 - maxBurstUnits

	// anotherClock is how far before the start of a quota a reading lies that comes from another clock.
	anotherClock = 24 * time.Hour
)

// intervalOf returns the units of a token at a rate above 0, for units of an eighth of a nanosecond.
func intervalOf(perSecond float64) int64 {
	return int64(math.Ceil(unitsPerNanosecond * float64(time.Second) / perSecond)) // at most 8e18
}

// firstQuota returns the quota of a new table.
func firstQuota(c *config, start time.Duration) *quota {
	q := &quota{config: c, shadow: c.shadow, start: start, line: firstLine}
	if !c.unlimited() {
		q.table = keytable.New(c.keys)
		q.token = c.bestToken()
	}
	return q.paced()
}

// bestToken returns the units of a token that are as fine as they can be. At a rate of 0, the units do not matter.
func (c *config) bestToken() int64 {
	interval := int64(unitsPerNanosecond * time.Second)
	if c.perSecond > 0 {
		interval = intervalOf(c.perSecond)
	}
	return min(interval, maxBurstUnits/int64(c.burst))
}

// paced computes what follows from the rate, the burst and the token.
func (q *quota) paced() *quota {
	q.full = q.token * int64(q.burst)
	if q.perSecond > 0 && !q.unlimited() {
		high, low := bits.Mul64(uint64(q.token), unitsPerNanosecond<<speedBits)
		q.speed, _ = bits.Div64(high, low, uint64(intervalOf(q.perSecond)))
	}
	q.reach = q.timeTo(lastLine)
	return q
}

// after returns the quota after q, with another configuration, from a start on at which q's line is at a point.
func (q *quota) after(c *config, line int64, start time.Duration) *quota {
	switch {
	case q.unlimited() || c.unlimited(): // all buckets are full
		return firstQuota(c, start)
	case q.fits(c, line):
		q.table.Grow(c.keys)
		after := &quota{config: c, shadow: c.shadow, table: q.table, start: start, line: line, token: q.token}
		return after.paced()
	}
	after := &quota{config: c, shadow: c.shadow, start: start, line: firstLine, token: c.bestToken()}
	after.table = q.table.Move(c.keys, line-q.full, func(word int64) int64 {
		tokens := uint64(max(0, line-word)) // in units of q; what is left of a unit is lost
		high, low := bits.Mul64(tokens, uint64(after.token))
		if high >= uint64(q.token) {
			return firstLine - maxBurstUnits // more than there can be
		}
		tokens, _ = bits.Div64(high, low, uint64(q.token))
		return firstLine - int64(min(tokens, maxBurstUnits))
	})
	return after.paced()
}

// fits reports whether the table and the units of q serve another configuration.
func (q *quota) fits(c *config, line int64) bool {
	best := c.bestToken()
	return c.keys >= q.keys && line < lastLine/2 && q.token <= maxBurstUnits/int64(c.burst) &&
		(c.perSecond == 0 || q.token < maxSpeedup*best && best <= unitsPerNanosecond*q.token)
}

// unlimited reports whether there is no limit.
func (q *quota) unlimited() bool { return q.table == nil }

// reaches reports whether the quota knows its line at a moment. A moment a little before its start counts as its start.
func (q *quota) reaches(now time.Duration) bool {
	return now-q.start <= q.reach && q.start-now <= anotherClock
}

// position returns where the line is at a moment, and that moment, which is not before the start. If q does not reach it, the
// line goes on from the latest word by another clock, or is where it ends after decades.
func (q *quota) position(now time.Duration) (line int64, at time.Duration) {
	switch {
	case q.unlimited():
		return q.line, now
	case q.reaches(now):
		at = max(now, q.start)
		return q.lineAt(at), at
	case now < q.start:
		u, _ := q.table.Usage(lastLine) // there is no other table: whoever makes one has the mutex
		return max(q.line, u.Latest), now
	}
	return lastLine, now
}

// lineAt returns the line at a moment that the quota reaches.
func (q *quota) lineAt(now time.Duration) int64 {
	high, low := bits.Mul64(uint64(max(0, now-q.start)), q.speed)
	return q.line + int64(high<<(64-speedBits)|low>>speedBits)
}

// moment returns when the line will be at a point that is above it now; false for never.
func (q *quota) moment(line int64) (time.Duration, bool) {
	at := saturate.Add(q.start, q.timeTo(line))
	return at, at < horizon
}

// timeTo returns how long after the start the line is at least at a point; the longest duration for never.
func (q *quota) timeTo(line int64) time.Duration {
	high, low := bits.Mul64(uint64(max(0, line-q.line)), 1<<speedBits)
	if high >= q.speed {
		return math.MaxInt64
	}
	wait, rest := bits.Div64(high, low, q.speed)
	if rest > 0 {
		wait++
	}
	return time.Duration(min(wait, math.MaxInt64))
}
