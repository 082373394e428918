package throttle

import (
	"encoding/json"
	"log/slog"

	"github.com/go-resilience/resilience/policy"
)

// Snapshot is the state of a [Throttle] at one moment.
type Snapshot struct {
	Name           string  `json:"name,omitempty"`
	Shadow         bool    `json:"shadow"`          // it only counts; see [Throttle.Shadow]
	Requests       int64   `json:"requests"`        // in the window: attempts that ended, hang, or were rejected
	Accepts        int64   `json:"accepts"`         // in the window: attempts that were accepted
	Probability    float64 `json:"probability"`     // of rejecting an attempt now, from 0 up to, not including, 1
	Rejected       uint64  `json:"rejected"`        // attempts, since the Throttle was made
	ShadowRejected uint64  `json:"shadow_rejected"` // attempts that would have been rejected, since it was made
}

// LogValue returns the fields as a group.
func (s Snapshot) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("name", s.Name), slog.Bool("shadow", s.Shadow),
		slog.Int64("requests", s.Requests), slog.Int64("accepts", s.Accepts), slog.Float64("probability", s.Probability),
		slog.Uint64("rejected", s.Rejected), slog.Uint64("shadow_rejected", s.ShadowRejected),
	)
}

// Snapshot returns one consistent value. It changes nothing.
func (t *Throttle) Snapshot() Snapshot {
	c, counts := t.read()
	return Snapshot{
		Name:           c.name,
		Shadow:         t.shadow.Load(),
		Requests:       counts.requests,
		Accepts:        counts.accepts,
		Probability:    c.probability(counts),
		Rejected:       t.rejected.Load(),
		ShadowRejected: t.shadowRejected.Load(),
	}
}

// Report returns the Snapshot and the configuration in the form that all layers share. A Throttle
// has no states.
func (t *Throttle) Report() policy.Report {
	snapshot := t.Snapshot()
	value := func(name string, kind policy.ValueKind, n float64) policy.Value {
		return policy.Value{Name: name, Unit: policy.UnitCount, Kind: kind, Number: n}
	}
	return policy.Report{
		Kind:     "throttle",
		Name:     snapshot.Name,
		Stage:    t.Stage(),
		Shadow:   snapshot.Shadow,
		Settings: t.current().given,
		Values: []policy.Value{
			{Name: "probability", Unit: policy.UnitRatio, Kind: policy.Gauge, Number: snapshot.Probability},
			value("requests", policy.Gauge, float64(snapshot.Requests)),
			value("accepts", policy.Gauge, float64(snapshot.Accepts)),
			value("rejected", policy.Counter, float64(snapshot.Rejected)),
			value("shadow_rejected", policy.Counter, float64(snapshot.ShadowRejected)),
		},
	}
}

// MarshalJSON writes the report.
func (t *Throttle) MarshalJSON() ([]byte, error) { return json.Marshal(t.Report()) }
