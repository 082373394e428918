package ratelimit

import (
	"encoding/json"
	"log/slog"
	"math"

	"github.com/go-resilience/resilience/policy"
)

// PerKeySnapshot is the state of a [PerKey] at one moment. It contains no keys.
type PerKeySnapshot struct {
	Name      string  `json:"name,omitempty"`
	PerSecond float64 `json:"per_second"` // the rate of a key; null in JSON where it is infinite
	Burst     int     `json:"burst"`      // the most tokens of a key at a time
	Shadow    bool    `json:"shadow"`     // nothing is refused; see PerKey.Shadow
	Keys      int     `json:"keys"`       // keys whose buckets are not full, and that have room
	MaxKeys   int     `json:"max_keys"`   // for how many there is room, see [Keys]
	// OverflowShare is the share of the buckets for keys without room that are not full, from 0 to 1: about the probability
	// that a new key is not told from others.
	OverflowShare float64 `json:"overflow_share"`
	Overflowed    uint64  `json:"overflowed"` // attempts that were decided by such a bucket
	Returned      uint64  `json:"returned"`   // attempts that were not made, so that tokens could go back
	// Rejected counts the attempts that [PerKey.Admit] refused, not what [PerKey.Allow] did. The other counters count both.
	Rejected uint64 `json:"rejected"`
	// ShadowRejected counts the attempts that went ahead without a token because the limiter was in shadow.
	ShadowRejected uint64 `json:"shadow_rejected"`
}

// Snapshot returns the current state. It changes nothing. It looks at every key, which takes a few milliseconds for a
// million of them, and makes no attempt wait.
func (h *hashLimiter) Snapshot() PerKeySnapshot {
	h.current()
	s, _ := h.snapshot()
	return s
}

func (h *hashLimiter) snapshot() (PerKeySnapshot, *quota) {
	u, q := h.usage()
	c := q.config
	s := PerKeySnapshot{
		Name: c.name, PerSecond: c.perSecond, Burst: c.burst, Shadow: q.inShadow, Keys: u.Keys, MaxKeys: c.keys,
		OverflowShare: float64(u.Overflow) / float64(max(1, u.Lines)),
	}
	for i := range h.tally {
		t := &h.tally[i]
		s.Overflowed += t.overflowed.Load()
		s.Returned += t.returned.Load()
		s.Rejected += t.rejected.Load()
		s.ShadowRejected += t.shadowRejected.Load()
	}
	return s, q
}

// MarshalJSON writes an infinite rate, which JSON does not know, as null.
func (s PerKeySnapshot) MarshalJSON() ([]byte, error) {
	type fields PerKeySnapshot
	perSecond := &s.PerSecond
	if math.IsInf(s.PerSecond, 1) {
		perSecond = nil
	}
	return json.Marshal(struct {
		fields
		PerSecond *float64 `json:"per_second"`
	}{fields(s), perSecond})
}

// LogValue returns the fields as a group.
func (s PerKeySnapshot) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("name", s.Name),
		slog.Float64("per_second", s.PerSecond),
		slog.Int("burst", s.Burst),
		slog.Bool("shadow", s.Shadow),
		slog.Int("keys", s.Keys),
		slog.Int("max_keys", s.MaxKeys),
		slog.Float64("overflow_share", s.OverflowShare),
		slog.Uint64("overflowed", s.Overflowed),
		slog.Uint64("returned", s.Returned),
		slog.Uint64("rejected", s.Rejected),
		slog.Uint64("shadow_rejected", s.ShadowRejected),
	)
}

// Report returns the configuration and the counts, as every layer does. The values are "keys", "overflow_share",
// "overflowed", "returned", "rejected" and "shadow_rejected". It costs as much as Snapshot.
func (h *hashLimiter) Report() policy.Report {
	h.current()
	s, q := h.snapshot()
	counter := func(name string, n uint64) policy.Value {
		return policy.Value{Name: name, Unit: policy.UnitCount, Kind: policy.Counter, Number: float64(n)}
	}
	r := q.report()
	r.Values = []policy.Value{
		{Name: "keys", Unit: policy.UnitCount, Kind: policy.Gauge, Number: float64(s.Keys), Limit: float64(s.MaxKeys)},
		{Name: "overflow_share", Unit: policy.UnitRatio, Kind: policy.Gauge, Number: s.OverflowShare, Limit: 1},
		counter("overflowed", s.Overflowed),
		counter("returned", s.Returned),
		counter("rejected", s.Rejected),
		counter("shadow_rejected", s.ShadowRejected),
	}
	return r
}

// MarshalJSON writes the report.
func (h *hashLimiter) MarshalJSON() ([]byte, error) { return json.Marshal(h.Report()) }

// report returns what all reports have in common.
func (q *quota) report() policy.Report {
	return policy.Report{
		Kind: kindPerKey, Name: q.config.name, Stage: policy.StageRateLimit, Shadow: q.inShadow, Settings: q.config.settings(),
	}
}

// reportOf returns the report of a key.
func (h *hashLimiter) reportOf(hash uint64) policy.Report {
	for {
		now := h.clock.Elapsed()
		q := h.quota.Load()
		tokens := policy.Value{
			Name: "tokens", Unit: policy.UnitCount, Kind: policy.Gauge,
			Number: float64(q.config.burst), Limit: float64(q.config.burst), Unknown: q.unlimited(),
		}
		if !q.allFull(now) {
			word, closed := q.table.Word(hash)
			if closed {
				h.await()
				continue
			}
			if ceiling := q.ceilingAt(now); word > ceiling-q.full {
				tokens.Number = float64(max(0, ceiling-word)) / float64(q.token) // a word from a clock that is ahead is later
			}
		}
		r := q.report()
		r.Values = []policy.Value{tokens}
		return r
	}
}
