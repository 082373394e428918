package ratelimit

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"

	"github.com/go-resilience/resilience/policy"
)

// kind is the kind of policy in rejections and reports.
const kind = "rate limiter"

// Snapshot is the state of a limiter at one moment.
type Snapshot struct {
	Name        string  `json:"name,omitempty"`
	PerSecond   float64 `json:"per_second"` // the rate; null in JSON where it is infinite
	Burst       int     `json:"burst"`      // the most tokens at a time
	Shadow      bool    `json:"shadow"`     // nothing is refused; see Limiter.Shadow
	Tokens      float64 `json:"tokens"`     // tokens that are there
	Waiting     int     `json:"waiting"`    // attempts in the queue; in shadow, those that would be in it
	PeakWaiting int     `json:"peak_waiting"`
	Admitted    uint64  `json:"admitted"` // attempts that got their tokens
	Returned    uint64  `json:"returned"` // attempts among them whose tokens went back
	// Rejected counts the attempts that were refused. Those whose context ended while they waited are not among them.
	Rejected uint64 `json:"rejected"`
	// ShadowRejected counts the attempts that went ahead without a token because the limiter was in shadow.
	ShadowRejected uint64 `json:"shadow_rejected"`
}

// Snapshot returns the current state. It changes nothing.
func (l *Limiter) Snapshot() Snapshot {
	s, _ := l.snapshot()
	return s
}

func (l *Limiter) snapshot() (Snapshot, *config) {
	l.current()
	l.lock()
	defer l.mu.Unlock()
	c := l.config.Load()
	s := Snapshot{
		Name:           c.name,
		PerSecond:      c.perSecond,
		Burst:          c.burst,
		Shadow:         l.shadow,
		Tokens:         max(0, l.bucket.level()),
		Waiting:        l.queue.len(),
		Admitted:       l.counts.admitted,
		Returned:       l.counts.returned,
		Rejected:       l.counts.rejected,
		ShadowRejected: l.counts.shadowRejected,
	}
	if l.queue != nil {
		s.PeakWaiting = l.queue.longest
	}
	return s, c
}

// MarshalJSON writes an infinite rate, which JSON does not know, as null.
func (s Snapshot) MarshalJSON() ([]byte, error) {
	type fields Snapshot
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
func (s Snapshot) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("name", s.Name),
		slog.Float64("per_second", s.PerSecond),
		slog.Int("burst", s.Burst),
		slog.Bool("shadow", s.Shadow),
		slog.Float64("tokens", s.Tokens),
		slog.Int("waiting", s.Waiting),
		slog.Int("peak_waiting", s.PeakWaiting),
		slog.Uint64("admitted", s.Admitted),
		slog.Uint64("returned", s.Returned),
		slog.Uint64("rejected", s.Rejected),
		slog.Uint64("shadow_rejected", s.ShadowRejected),
	)
}

// ReportFor returns the report for an attempt with that context. It returns false when the attempt costs nothing: the limit is
// none for it. It asks the function of [CostOf] and changes nothing.
func (l *Limiter) ReportFor(ctx context.Context) (policy.Report, bool) {
	if c := l.current(); c.costOf != nil && c.costOf(ctx) == 0 {
		return policy.Report{}, false
	}
	return l.Report(), true
}

// Report returns the configuration and the counts, as every layer does. The values are "tokens", "queued", "admitted",
// "returned", "rejected" and "shadow_rejected". Without a limit the tokens are not known. The rate of a limiter without a
// limit is the text "+Inf".
func (l *Limiter) Report() policy.Report {
	s, c := l.snapshot()
	waiters := 0
	if c.maxWait > 0 {
		waiters = c.maxWaiters
	}
	counter := func(name string, n uint64) policy.Value {
		return policy.Value{Name: name, Unit: policy.UnitCount, Kind: policy.Counter, Number: float64(n)}
	}
	return policy.Report{
		Kind:     kind,
		Name:     c.name,
		Stage:    l.Stage(),
		Shadow:   s.Shadow,
		Settings: c.settings(),
		Values: []policy.Value{
			{
				Name: "tokens", Unit: policy.UnitCount, Kind: policy.Gauge,
				Number: s.Tokens, Limit: float64(s.Burst), Unknown: c.unlimited(),
			},
			{
				Name: "queued", Unit: policy.UnitCount, Kind: policy.Gauge,
				Number: float64(s.Waiting), Limit: float64(waiters),
			},
			counter("admitted", s.Admitted),
			counter("returned", s.Returned),
			counter("rejected", s.Rejected),
			counter("shadow_rejected", s.ShadowRejected),
		},
	}
}

// MarshalJSON writes the report.
func (l *Limiter) MarshalJSON() ([]byte, error) { return json.Marshal(l.Report()) }

// Idle reports whether the limiter is as a new one would be: all tokens are there, nothing waits, and it was not changed
// by [Limiter.Reconfigure], [Limiter.Shadow] or [Limiter.Enforce]. A registry of limiters per key may then forget it.
func (l *Limiter) Idle() bool {
	l.current()
	l.lock()
	defer l.mu.Unlock()
	return l.queue.len() == 0 && !l.changed && l.bucket.level() >= float64(l.bucket.tokens.burst)
}
