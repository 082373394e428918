package ratelimit

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/keytable"
	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
)

// kindPerKey is the kind of policy in rejections and reports.
const kindPerKey = "rate limiter per key"

// hashLimiter is a [PerKey] but for the keys: it knows them by their hashes.
type hashLimiter struct {
	quota atomic.Pointer[quota] // nil only in the zero value; written under the mutex
	clock stopwatch.Stopwatch
	tally tally

	mu      sync.Mutex
	changed bool // by Reconfigure, Shadow or Enforce: a new limiter would be another one
}

// start begins with the configuration c.
func (h *hashLimiter) start(c *config) {
	h.clock = stopwatch.Start()
	h.quota.Store(firstQuota(c, 0))
}

// current returns the quota, and panics for the zero value.
func (h *hashLimiter) current() *quota {
	q := h.quota.Load()
	if q == nil {
		panic("ratelimit: a PerKey must be made with NewPerKey")
	}
	return q
}

// decision is what was decided about an attempt. It has four words, so that it needs no memory.
type decision struct {
	quota   *quota
	now     time.Duration
	from    int64 // what the cost was added to, or would have been; see keytable.Table.Take
	verdict verdict
}

type verdict uint8

const (
	refused verdict = iota
	free            // admitted, and took nothing: it costs none, or there is no limit
	taken           // admitted, and took its tokens
)

// take decides about an attempt.
//
// The clock is read before the quota. So, when another quota is put in force at the same time:
//
//   - The reading may be from before the start of the quota. It counts as the start.
//   - The quota may be asked about a moment after its end, but only while the next one is being made. What it then grants
//     too early stays in the word of the key, and is missing later.
//   - The words may be on their way to another table. [keytable.Table.Move] lets nobody change a word from when it is read:
//     so either what is granted here moves along, or the table is found closed, and the next quota is asked.
func (h *hashLimiter) take(hash uint64, cost int) decision {
	for {
		now := h.clock.Elapsed()
		q := h.quota.Load()
		switch {
		case cost < 0 || cost > q.config.burst && !q.unlimited():
			return decision{quota: q, now: now, verdict: refused}
		case cost == 0 || q.unlimited():
			return decision{quota: q, now: now, verdict: free}
		case !q.reaches(now):
			h.adopt()
			continue
		}
		ceiling := q.ceilingAt(now)
		from, outcome := q.table.Take(hash, ceiling-q.full, ceiling, int64(cost)*q.token)
		if outcome == keytable.Closed {
			h.await()
			continue
		}
		if outcome.Overflowed() {
			h.tally.of(hash).overflowed.Add(1)
		}
		if outcome.Granted() {
			return decision{q, now, from, taken}
		}
		return decision{q, now, from, refused}
	}
}

// await waits until no quota is being made.
func (h *hashLimiter) await() {
	h.mu.Lock()
	defer h.mu.Unlock()
}

// adopt makes a quota for a clock whose readings the present one does not reach: it is another clock, as inside a
// testing/synctest bubble around a limiter that was made outside of it, or decades have passed.
func (h *hashLimiter) adopt() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mustReach()
}

// mustReach returns a quota that reaches the present: the one in force, or another one that it puts in force. It reads the clock
// itself: a process can be stopped for days between a reading and its use. h.mu must be held.
func (h *hashLimiter) mustReach() *quota {
	q := h.quota.Load()
	if q.reaches(h.clock.Elapsed()) {
		return q
	}
	next := q.after(q.config, h.clock.Elapsed)
	next.inShadow = q.inShadow
	h.quota.Store(next)
	return next
}

// ticket returns what the attempt needs to give its tokens back.
func (d decision) ticket(hash uint64, cost int) policy.Ticket {
	if d.verdict != taken {
		return policy.Ticket{}
	}
	return policy.Ticket{Period: hash, Start: max(d.now, d.quota.start), Number: int64(cost)}
}

// Settle gives the tokens back when the operation was never entered; otherwise they are spent, however it ended. They are
// worth what they cost, less what has come in since they were taken: never more than what would be there had they not been
// taken. Tokens that were taken before the last [PerKey.Reconfigure] do not come back.
//
// It must be called once for each admission, as the engine and [policy.Permit] do.
func (h *hashLimiter) Settle(_ context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	q := h.current()
	if outcome.Kind != policy.NotCalled || ticket.Number <= 0 {
		return
	}
	h.tally.of(ticket.Period).returned.Add(1)
	if q.unlimited() || !q.gave(ticket) {
		return
	}
	cost := min(ticket.Number, int64(q.config.burst)) * q.token
	q.table.GiveBack(ticket.Period, func() int64 {
		now := h.clock.Elapsed()
		if !h.quota.Load().same(q) || !q.reaches(now) || max(now, q.start) < ticket.Start {
			return 0 // it was changed meanwhile, or this is another clock
		}
		return cost - (q.ceilingAt(now) - q.ceilingAt(ticket.Start))
	})
}

// refuse returns the rejection of an attempt; nil in shadow, where it is only counted.
func (h *hashLimiter) refuse(hash uint64, cost int, d decision) error {
	if h.excused(hash, d) {
		return nil
	}
	h.tally.of(hash).rejected.Add(1)
	q := d.quota
	r := &policy.Rejection{Kind: kindPerKey, Name: q.config.name, Reason: ErrLimited}
	switch {
	case cost < 0:
		r.Reason = errNegative
	case cost > q.config.burst:
		r.Reason = errTooDear
	default:
		at, ok := q.moment(d.from + int64(cost)*q.token)
		if !ok {
			r.Reason = ErrExhausted
			break
		}
		r.Until = h.clock.Time(at)
	}
	return r
}

// excused reports whether a refused attempt goes ahead all the same, in shadow, and counts it then.
func (h *hashLimiter) excused(hash uint64, d decision) bool {
	if d.quota.inShadow {
		h.tally.of(hash).shadowRejected.Add(1)
	}
	return d.quota.inShadow
}

// reconfigure makes what configure returns the configuration.
func (h *hashLimiter) reconfigure(configure func(old *config) (*config, error)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, err := configure(h.quota.Load().config)
	if err != nil {
		return err
	}
	h.changed = true
	next := h.mustReach().after(c, h.clock.Elapsed)
	next.start++ // see quota.gave
	h.quota.Store(next)
	return nil
}

// Stage returns [policy.StageRateLimit].
func (h *hashLimiter) Stage() policy.Stage { return policy.StageRateLimit }

// Shadow lets the limiter refuse nothing from now on, while it counts as if it did: to try a rate on real traffic. An
// attempt that would be refused goes ahead without a token and is counted by ShadowRejected of [PerKeySnapshot]. That is
// exactly what would be refused of the same traffic.
func (h *hashLimiter) Shadow() { h.steer(true) }

// Enforce ends what [PerKey.Shadow] or the option [Shadow] began. The limiter goes on from the shadow's state.
func (h *hashLimiter) Enforce() { h.steer(false) }

func (h *hashLimiter) steer(shadow bool) {
	h.current()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changed = true
	q := *h.quota.Load()
	q.inShadow = shadow
	h.quota.Store(&q)
}

// Idle reports whether the limiter is as a new one would be: the buckets of all keys are full, and it was not changed by
// Reconfigure, Shadow or Enforce. It looks at every key.
func (h *hashLimiter) Idle() bool {
	h.current()
	h.mu.Lock()
	changed := h.changed
	h.mu.Unlock()
	if changed {
		return false
	}
	u, _ := h.usage()
	return u.Keys == 0 && u.Overflow == 0
}

// usage returns what is in the table now.
func (h *hashLimiter) usage() (keytable.Usage, *quota) {
	for {
		now := h.clock.Elapsed()
		q := h.quota.Load()
		if q.allFull(now) {
			return keytable.Usage{}, q
		}
		if u, closed := q.table.Usage(q.ceilingAt(now) - q.full); !closed {
			return u, q
		}
		h.await()
	}
}

// String returns the rate and the burst, as in `rate limit per key "client" 10/s burst 20`.
func (h *hashLimiter) String() string { return "rate limit per key " + h.current().config.describe() }

// tally is what has happened so far, in parts, so that several processors do not wait for each other.
type tally [16]tallyPart

type tallyPart struct {
	_ [32]byte // so that parts have lines of the cache of their own, and the first one shares none with what is before it

	rejected, shadowRejected, returned, overflowed atomic.Uint64
}

func (t *tally) of(hash uint64) *tallyPart { return &t[hash%uint64(len(t))] }
