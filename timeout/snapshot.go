package timeout

import (
	"encoding/json"
	"log/slog"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Snapshot is what a [Timeout] has done so far.
type Snapshot struct {
	Limit   time.Duration // as of now
	Expired uint64        // calls, attempts and open results that it ended; not those that succeeded all the same
}

// Snapshot returns what the timeout has done so far. It changes nothing.
func (t *Timeout) Snapshot() Snapshot {
	return Snapshot{Limit: t.current().limit, Expired: t.expired.Load()}
}

// MarshalJSON writes the limit as a number of seconds.
func (s Snapshot) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Limit   float64 `json:"limit"`
		Expired uint64  `json:"expired"`
	}{s.Limit.Seconds(), s.Expired})
}

// LogValue returns the fields as a group.
func (s Snapshot) LogValue() slog.Value {
	return slog.GroupValue(slog.Duration("limit", s.Limit), slog.Uint64("expired", s.Expired))
}

// Report implements [policy.Reporter]. The kind is "total timeout" or "attempt timeout". The setting of the constructor is
// "Total" or "PerAttempt", with limit, or "FromLatency", with q, factor, floor and most.
func (t *Timeout) Report() policy.Report {
	c := t.current()
	return policy.Report{
		Kind: t.scope.kind, Stage: t.scope.stage, Settings: c.given,
		Values: []policy.Value{
			{Name: "limit", Unit: policy.UnitSeconds, Kind: policy.Gauge, Number: c.limit.Seconds(), Limit: c.longest.Seconds()},
			counter("expired", t.expired.Load()),
		},
	}
}

// MarshalJSON writes the report.
func (t *Timeout) MarshalJSON() ([]byte, error) { return json.Marshal(t.Report()) }

func counter(name string, n uint64) policy.Value {
	return policy.Value{Name: name, Unit: policy.UnitCount, Kind: policy.Counter, Number: float64(n)}
}

func gauge(name string, n, limit int) policy.Value {
	return policy.Value{Name: name, Unit: policy.UnitCount, Kind: policy.Gauge, Number: float64(n), Limit: float64(limit)}
}

// AbandonSnapshot is what an [Abandoner] is and has done, at one moment.
type AbandonSnapshot struct {
	Limit     time.Duration
	Expired   uint64 // attempts that it ended
	Rejected  uint64 // attempts that it refused with ErrMaxRunning
	Running   int    // operations that run now
	Abandoned int    // of these, operations whose caller has left
	Discarded uint64 // successful results of abandoned operations
	Panics    uint64 // panics of abandoned operations, or in the function given to OnDiscard
}

// Snapshot returns what the Abandoner has done so far. It changes nothing.
func (a *Abandoner) Snapshot() AbandonSnapshot {
	limit, counts := a.current().limit, a.group.Counts()
	return AbandonSnapshot{
		Limit: limit, Expired: a.expired.Load(), Rejected: a.rejected.Load(),
		Running: counts.Running, Abandoned: counts.Left, Discarded: counts.Discarded, Panics: counts.Panics,
	}
}

// MarshalJSON writes the limit as a number of seconds.
func (s AbandonSnapshot) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Limit     float64 `json:"limit"`
		Expired   uint64  `json:"expired"`
		Rejected  uint64  `json:"rejected"`
		Running   int     `json:"running"`
		Abandoned int     `json:"abandoned"`
		Discarded uint64  `json:"discarded"`
		Panics    uint64  `json:"panics"`
	}{s.Limit.Seconds(), s.Expired, s.Rejected, s.Running, s.Abandoned, s.Discarded, s.Panics})
}

// LogValue returns the fields as a group.
func (s AbandonSnapshot) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Duration("limit", s.Limit), slog.Uint64("expired", s.Expired), slog.Uint64("rejected", s.Rejected),
		slog.Int("running", s.Running), slog.Int("abandoned", s.Abandoned), slog.Uint64("discarded", s.Discarded),
		slog.Uint64("panics", s.Panics),
	)
}

// Report implements [policy.Reporter]. The kind is "abandoning timeout", the setting of the constructor
// is "Abandon", with limit.
func (a *Abandoner) Report() policy.Report {
	c, s := a.current(), a.Snapshot()
	return policy.Report{
		Kind: scopeAbandoned.kind, Stage: scopeAbandoned.stage, Settings: c.given,
		Values: []policy.Value{
			{Name: "limit", Unit: policy.UnitSeconds, Kind: policy.Gauge, Number: c.limit.Seconds()},
			counter("expired", s.Expired),
			counter("rejected", s.Rejected),
			gauge("running", s.Running, c.group.Limit),
			gauge("abandoned", s.Abandoned, 0),
			counter("discarded", s.Discarded),
			counter("panics", s.Panics),
		},
	}
}

// MarshalJSON writes the report.
func (a *Abandoner) MarshalJSON() ([]byte, error) { return json.Marshal(a.Report()) }
