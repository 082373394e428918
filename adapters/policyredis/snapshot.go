package policyredis

import (
	"encoding/json"
	"log/slog"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Snapshot is the state of a [Limiter] or a [PerKey]. Its fields are read one after another.
type Snapshot struct {
	Name      string    `json:"name,omitempty"`
	PerSecond float64   `json:"per_second"`
	Burst     int       `json:"burst"`
	Mode      Mode      `json:"mode"`  // who decides now
	Since     time.Time `json:"since"` // when that began
	Shadow    bool      `json:"shadow"`
	Trusted   bool      `json:"trusted"` // the client is called on the goroutines of the attempts; see [TrustClient]
	Admitted  uint64    `json:"admitted"`
	Rejected  uint64    `json:"rejected"`
	// ShadowRejected counts the attempts that went ahead without a token because the limiter was in shadow.
	ShadowRejected uint64 `json:"shadow_rejected"`
	Returned       uint64 `json:"returned"`  // attempts that were admitted and never made
	FellBack       uint64 `json:"fell_back"` // attempts decided without the store
	Changes        uint64 `json:"changes"`   // of mode
	Forgotten      uint64 `json:"forgotten"` // how often the store held less debt than this process knew of
	Calls          uint64 `json:"calls"`     // to the store
	Texts          uint64 `json:"texts"`     // how many of the calls took a second trip, with the text of the script
	Errors         uint64 `json:"errors"`    // calls that failed, in whatever way, and those that [ErrBusy] prevented
	Timeouts       uint64 `json:"timeouts"`  // how many of the errors were deadlines
	Running        int    `json:"running"`   // calls that run now
	// Abandoned counts the running calls that no attempt waits for any more, since they have outlived their deadline or
	// their caller. It falls to 0 again, unless the client never returns.
	Abandoned int64 `json:"abandoned"`
}

// Snapshot returns the current state. It neither calls the store nor changes anything.
func (l *Limiter) Snapshot() Snapshot { return l.core.snapshot(l.current()) }

// Snapshot returns the current state of all keys together. It neither calls the store nor changes anything.
func (p *PerKey) Snapshot() Snapshot { return p.core.snapshot(p.current()) }

func (c *core) snapshot(cfg *config) Snapshot {
	last := c.mode.lastChange()
	return Snapshot{
		Name:           cfg.name,
		PerSecond:      cfg.perSecond,
		Burst:          cfg.burst,
		Mode:           last.To,
		Since:          last.At,
		Changes:        last.Number,
		Shadow:         c.shadow.Load(),
		Trusted:        c.store.trusts(cfg),
		Admitted:       c.counts.admitted.Load(),
		Rejected:       c.counts.rejected.Load(),
		ShadowRejected: c.counts.shadowRejected.Load(),
		Returned:       c.counts.returned.Load(),
		FellBack:       c.counts.fellBack.Load(),
		Forgotten:      c.counts.forgotten.Load(),
		Calls:          c.store.calls.Load(),
		Texts:          c.store.texts.Load(),
		Errors:         c.store.failures.Load(),
		Timeouts:       c.store.timeouts.Load(),
		Running:        c.store.places.count(),
		Abandoned:      c.store.abandoned.Load(),
	}
}

// LogValue returns the fields as a group.
func (s Snapshot) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("name", s.Name), slog.Float64("per_second", s.PerSecond), slog.Int("burst", s.Burst),
		slog.String("mode", s.Mode.String()), slog.Time("since", s.Since), slog.Bool("shadow", s.Shadow),
		slog.Bool("trusted", s.Trusted), slog.Uint64("admitted", s.Admitted), slog.Uint64("rejected", s.Rejected),
		slog.Uint64("shadow_rejected", s.ShadowRejected), slog.Uint64("returned", s.Returned),
		slog.Uint64("fell_back", s.FellBack), slog.Uint64("changes", s.Changes), slog.Uint64("forgotten", s.Forgotten),
		slog.Uint64("calls", s.Calls), slog.Uint64("texts", s.Texts), slog.Uint64("errors", s.Errors),
		slog.Uint64("timeouts", s.Timeouts), slog.Int("running", s.Running), slog.Int64("abandoned", s.Abandoned),
	)
}

// Report returns the configuration, the mode and the counts, as every layer does. The state is the [Mode]. The values
// are "tokens", which is the last level that this process knows of, "admitted", "rejected", "shadow_rejected",
// "returned", "fell_back", "mode_changes", "store_forgotten", "store_calls", "store_texts", "store_errors",
// "store_timeouts", "store_running" and "store_abandoned".
func (l *Limiter) Report() policy.Report {
	cfg := l.current()
	paidAt := l.bucket.account.debtPaidAt()
	tokens := cfg.quota.tokens(l.core.now().until(paidAt))
	report := l.core.report(cfg, l.Stage())
	report.Values = append([]policy.Value{{
		Name: "tokens", Unit: policy.UnitCount, Kind: policy.Gauge, Number: float64(tokens), Limit: float64(cfg.burst),
		Unknown: paidAt == 0 || report.State.Name != Shared.String(),
	}}, report.Values...)
	return report
}

// Report returns what [Limiter.Report] does, for all keys together and without "tokens". In addition "keys" is the
// number of keys with a local bucket.
func (p *PerKey) Report() policy.Report {
	cfg := p.current()
	report := p.core.report(cfg, p.Stage())
	report.Values = append(report.Values, policy.Value{
		Name: "keys", Unit: policy.UnitCount, Kind: policy.Gauge, Number: float64(p.buckets.Len()), Limit: float64(cfg.maxKeys),
	})
	return report
}

// MarshalJSON writes the report.
func (l *Limiter) MarshalJSON() ([]byte, error) { return json.Marshal(l.Report()) }

// MarshalJSON writes the report.
func (p *PerKey) MarshalJSON() ([]byte, error) { return json.Marshal(p.Report()) }

func (c *core) report(cfg *config, stage policy.Stage) policy.Report {
	s := c.snapshot(cfg)
	counter := func(name string, n uint64) policy.Value {
		return policy.Value{Name: name, Unit: policy.UnitCount, Kind: policy.Counter, Number: float64(n)}
	}
	gauge := func(name string, n float64) policy.Value {
		return policy.Value{Name: name, Unit: policy.UnitCount, Kind: policy.Gauge, Number: n, Limit: maxRunning}
	}
	state := policy.State{Name: s.Mode.String(), Since: s.Since, All: modes[:]}
	if s.Mode != Shared {
		err := c.mode.lastChange().Err
		state.Cause = policy.Cause{Rule: "store", What: "failed", Bad: failuresInARow, Limit: failuresInARow, Err: err}
	}
	return policy.Report{
		Kind: kind, Name: s.Name, Stage: stage, State: state, Shadow: s.Shadow, Settings: cfg.given,
		Values: []policy.Value{
			counter("admitted", s.Admitted),
			counter("rejected", s.Rejected),
			counter("shadow_rejected", s.ShadowRejected),
			counter("returned", s.Returned),
			counter("fell_back", s.FellBack),
			counter("mode_changes", s.Changes),
			counter("store_forgotten", s.Forgotten),
			counter("store_calls", s.Calls),
			counter("store_texts", s.Texts),
			counter("store_errors", s.Errors),
			counter("store_timeouts", s.Timeouts),
			gauge("store_running", float64(s.Running)),
			gauge("store_abandoned", float64(s.Abandoned)),
		},
	}
}
