package bulkhead

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Snapshot is the state of a bulkhead at one instant.
type Snapshot struct {
	Limit          int    `json:"limit"`           // slots
	InFlight       int    `json:"in_flight"`       // slots taken; above Limit for a while after the limit was lowered
	PeakInFlight   int    `json:"peak_in_flight"`  // the most slots ever taken at a time
	Waiting        int    `json:"waiting"`         // attempts in the queue
	PeakWaiting    int    `json:"peak_waiting"`    // the most attempts ever in the queue at a time
	Waited         uint64 `json:"waited"`          // attempts that came into the queue
	Rejected       uint64 `json:"rejected"`        // attempts refused; those whose context ended while they waited are not among them
	TimedOut       uint64 `json:"timed_out"`       // attempts whose wait in the queue was over before a slot was free
	ShadowRejected uint64 `json:"shadow_rejected"` // attempts that would have been refused and were let through
	Shadow         bool   `json:"shadow"`          // the mode: no attempt is refused for want of a slot
	Draining       bool   `json:"draining"`        // Drain was called
}

// String returns what is not zero in words.
func (s Snapshot) String() string {
	text := fmt.Sprintf("%d of %d in flight, %d waiting, %d rejected", s.InFlight, s.Limit, s.Waiting, s.Rejected)
	if s.Shadow || s.ShadowRejected > 0 {
		text += fmt.Sprintf(", %d rejected in shadow", s.ShadowRejected)
	}
	if s.Draining {
		text += ", draining"
	}
	return text
}

// LogValue returns the fields as a group.
func (s Snapshot) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Int("limit", s.Limit),
		slog.Int("in_flight", s.InFlight),
		slog.Int("peak_in_flight", s.PeakInFlight),
		slog.Int("waiting", s.Waiting),
		slog.Int("peak_waiting", s.PeakWaiting),
		slog.Uint64("waited", s.Waited),
		slog.Uint64("rejected", s.Rejected),
		slog.Uint64("timed_out", s.TimedOut),
		slog.Uint64("shadow_rejected", s.ShadowRejected),
		slog.Bool("shadow", s.Shadow),
		slog.Bool("draining", s.Draining),
	)
}

// Snapshot returns the current state. It changes nothing.
func (b *Bulkhead) Snapshot() Snapshot {
	s, _, _ := b.look()
	return s
}

// look returns the state, the configuration that it belongs to, and when draining began.
func (b *Bulkhead) look() (s Snapshot, c *config, draining time.Time) {
	b.current()
	b.mu.Lock()
	defer b.mu.Unlock()
	// Without enter, which would freeze the word, and so make attempts wait for whoever looks. What expire finds in the queue has
	// frozen the word already, and thaw lets attempts go on if that was the last.
	b.expire()
	b.thaw()
	c = b.current()
	w := b.word.load()
	return Snapshot{
		Limit:          w.limit(),
		InFlight:       w.inFlight(),
		PeakInFlight:   max(int(b.peak.Load()), w.inFlight()),
		Waiting:        b.queue.len(),
		PeakWaiting:    b.queue.peak,
		Waited:         b.queue.waited,
		Rejected:       b.rejected.Load(),
		TimedOut:       b.queue.timedOut,
		ShadowRejected: b.shadows.rejected,
		Shadow:         b.shadow.Load(),
		Draining:       b.draining.begun(),
	}, c, b.draining.since
}

var states = []string{"accepting", "draining"}

// Report returns the state "accepting" or "draining", and the values in_flight, queued, limit, rejected, waited,
// timed_out and shadow_rejected. The setting of the constructor is "New", with limit, or "Adaptive", with algorithm,
// target if it has one, floor and ceiling. A mode that was set by a method is no setting. It changes nothing.
func (b *Bulkhead) Report() policy.Report {
	s, c, since := b.look()
	state := states[0]
	if s.Draining {
		state = states[1]
	}
	value := func(name string, kind policy.ValueKind, number, limit float64) policy.Value {
		return policy.Value{Name: name, Unit: policy.UnitCount, Kind: kind, Number: number, Limit: limit}
	}
	return policy.Report{
		Kind:     "bulkhead",
		Name:     c.name,
		Stage:    policy.StageBulkhead,
		State:    policy.State{Name: state, Since: since, All: states},
		Shadow:   s.Shadow,
		Settings: c.given,
		Values: []policy.Value{
			value("in_flight", policy.Gauge, float64(s.InFlight), float64(s.Limit)),
			value("queued", policy.Gauge, float64(s.Waiting), float64(c.queueLength)),
			value("limit", policy.Gauge, float64(s.Limit), float64(c.ceiling)),
			value("rejected", policy.Counter, float64(s.Rejected), 0),
			value("waited", policy.Counter, float64(s.Waited), 0),
			value("timed_out", policy.Counter, float64(s.TimedOut), 0),
			value("shadow_rejected", policy.Counter, float64(s.ShadowRejected), 0),
		},
	}
}

// MarshalJSON writes the report.
func (b *Bulkhead) MarshalJSON() ([]byte, error) { return json.Marshal(b.Report()) }
