package breaker

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"
)

// Counts says what became of the attempts that were admitted. An attempt that was admitted while closed costs no count
// on its way in, and so becomes a request when it is settled; a probe becomes one when it is admitted. The failure of a
// result that stayed open is one request and one failure more.
type Counts struct {
	Requests  uint64 `json:"requests"`
	Successes uint64 `json:"successes"`
	Failures  uint64 `json:"failures"`
	Neutral   uint64 `json:"neutral"` // outcomes that say nothing about the dependency
	Stale     uint64 `json:"stale"`   // outcomes that came, or would come, after the state had ended or the slot was taken
}

// Snapshot is what a breaker knows, at one moment.
//
// Requests = Successes + Failures + Neutral + Stale + InFlight holds in every snapshot.
type Snapshot struct {
	Name       string    `json:"name,omitempty"`
	State      State     `json:"state"`          // in shadow, the state that an enforcing breaker would have
	Shadow     bool      `json:"shadow"`         // nothing is refused
	Since      time.Time `json:"since"`          // when the breaker entered the state
	Until      time.Time `json:"until,omitzero"` // when the open time or the ramp ends; zero when there is neither
	Generation uint64    `json:"generation"`     // grows with every change of state, and with every Reset
	Changes    uint64    `json:"changes"`        // how many changes of state there were

	Reason Reason `json:"reason"` // of the last change
	Cause  error  `json:"cause"`  // the error of the last failure that opened the breaker, nil when it had none; Change.Cause has the numbers

	// What the trip rules see: the calls in the window, and the outcomes of one kind that came last. While the breaker is
	// not closed, what they saw last; while it is half-open, ConsecutiveSuccesses counts probes. Without a rule
	// that needs a window the counts are zero.
	Calls                int64 `json:"calls"`
	CallsFailed          int64 `json:"calls_failed"`
	CallsSlow            int64 `json:"calls_slow"`
	ConsecutiveFailures  int   `json:"consecutive_failures"`
	ConsecutiveSuccesses int   `json:"consecutive_successes"`

	// Shares of Calls, 0 when there are none. They are known when there are at least as many calls as the rule asks for.
	FailureRate      float64 `json:"failure_rate"` // null in JSON where it is not known
	SlowRate         float64 `json:"slow_rate"`    // null in JSON where it is not known
	FailureRateKnown bool    `json:"-"`
	SlowRateKnown    bool    `json:"-"`

	Counts         // since the breaker was made; they never fall
	Current Counts `json:"current"` // since the present generation began

	Probes   int    `json:"probes"`    // how many slots are taken, and not to be had for another probe
	InFlight uint64 `json:"in_flight"` // probes that have not ended, and whose outcome would count

	Rejected uint64 `json:"rejected"` // attempts that were refused

	// ShadowRejected is attempts that were let through only because the breaker was in shadow; in no other count.
	ShadowRejected uint64 `json:"shadow_rejected"`

	// LostDeliveries says how often a subscriber did not return from a change, because of a panic or runtime.Goexit, or
	// did not get it at all, because too many were waiting.
	LostDeliveries uint64 `json:"lost_deliveries"`
}

// Snapshot returns what the breaker knows now. It changes nothing: a breaker whose open time is over is reported as
// half-open, but only an attempt makes it so.
func (b *Breaker) Snapshot() Snapshot {
	b.current()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.learnGood()
	return b.snapshot(b.clock.Elapsed())
}

// snapshot is called with the lock held, after learnGood.
func (b *Breaker) snapshot(now time.Duration) Snapshot {
	c := b.core
	seen, total, r := c.seen(now), c.total(), c.rules
	// Any window counts failures, but only where a rule says which calls are slow are those counted.
	failureRateKnown := c.window != nil && r.failureRate.known(seen.window.calls)
	slowRateKnown := r.slowRate.exists() && r.slowRate.known(seen.window.calls)
	s := Snapshot{
		Name:       b.config.name,
		State:      c.stateAt(now),
		Shadow:     c.shadow,
		Since:      b.clock.Time(c.since),
		Generation: c.generation,
		Changes:    c.changes,
		Reason:     c.reason,
		Cause:      c.openedBy,

		Calls:                seen.window.calls,
		CallsFailed:          seen.window.failures,
		CallsSlow:            seen.window.slow,
		ConsecutiveFailures:  seen.failures,
		ConsecutiveSuccesses: int(seen.successes),
		FailureRateKnown:     failureRateKnown,
		SlowRateKnown:        slowRateKnown,

		Counts:   total.since(ledger{}),
		Current:  total.since(c.ledgerAtEntry),
		Probes:   c.halfOpen.taken(now),
		InFlight: c.halfOpen.inFlight(),

		Rejected:       b.rejected.Load(),
		ShadowRejected: b.shadowRejected.Load(),
		LostDeliveries: b.lost.Load(),
	}
	if s.Calls > 0 {
		s.FailureRate = float64(s.CallsFailed) / float64(s.Calls)
		s.SlowRate = float64(s.CallsSlow) / float64(s.Calls)
	}
	switch {
	case c.state == Open && s.State == HalfOpen:
		s.Since = b.clock.Time(min(c.until, now))
	case c.until != 0 && within(now, c.since, c.until):
		s.Until = b.clock.Time(c.until)
	}
	return s
}

// since returns what a ledger has gained since it was before.
func (l ledger) since(before ledger) Counts {
	return Counts{
		Requests:  l.requests - before.requests,
		Successes: l.successes - before.successes,
		Failures:  l.failures - before.failures,
		Neutral:   l.neutral - before.neutral,
		Stale:     l.stale - before.stale,
	}
}

// String returns one line, such as: breaker "users-db" open: failure rate, 26 of 40 calls failed.
func (s Snapshot) String() string {
	text := "breaker "
	if s.Name != "" {
		text += fmt.Sprintf("%q ", s.Name)
	}
	text += s.State.String()
	if s.Shadow {
		text += " (shadow)"
	}
	text += ": " + s.Reason.String()
	if s.Calls > 0 {
		text += fmt.Sprintf(", %d of %d calls failed", s.CallsFailed, s.Calls)
		if s.CallsSlow > 0 {
			text += fmt.Sprintf(", %d were slow", s.CallsSlow)
		}
	}
	return text + fmt.Sprintf(", %d failures and %d successes in a row; requests %d: %d successes, %d failures, %d neutral,"+
		" %d stale, %d in flight; rejected %d, in shadow %d", s.ConsecutiveFailures, s.ConsecutiveSuccesses, s.Requests,
		s.Successes, s.Failures, s.Neutral, s.Stale, s.InFlight, s.Rejected, s.ShadowRejected)
}

// LogValue returns the snapshot as a group.
func (s Snapshot) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("state", s.State.String()), slog.Bool("shadow", s.Shadow), slog.Time("since", s.Since)}
	if s.Name != "" {
		attrs = append(attrs, slog.String("name", s.Name))
	}
	if !s.Until.IsZero() {
		attrs = append(attrs, slog.Time("until", s.Until))
	}
	attrs = append(attrs, slog.String("reason", s.Reason.String()))
	if s.Cause != nil {
		attrs = append(attrs, slog.String("cause", fmt.Sprint(s.Cause)))
	}
	if s.FailureRateKnown {
		attrs = append(attrs, slog.Float64("failure_rate", s.FailureRate))
	}
	if s.SlowRateKnown {
		attrs = append(attrs, slog.Float64("slow_rate", s.SlowRate))
	}
	return slog.GroupValue(append(attrs, slog.Int("consecutive_failures", s.ConsecutiveFailures),
		slog.Uint64("requests", s.Requests), slog.Uint64("successes", s.Successes), slog.Uint64("failures", s.Failures),
		slog.Uint64("neutral", s.Neutral), slog.Uint64("stale", s.Stale), slog.Uint64("in_flight", s.InFlight),
		slog.Uint64("rejected", s.Rejected), slog.Uint64("shadow_rejected", s.ShadowRejected))...)
}

// MarshalJSON writes state and reason as text, the cause as its text, and a rate that is not known as null.
func (s Snapshot) MarshalJSON() ([]byte, error) {
	known := func(rate float64, known bool) *float64 {
		if !known {
			return nil
		}
		return &rate
	}
	causeText := ""
	if s.Cause != nil {
		causeText = fmt.Sprint(s.Cause)
	}
	type fields Snapshot
	return json.Marshal(struct {
		fields
		Cause       string   `json:"cause,omitempty"`
		FailureRate *float64 `json:"failure_rate"`
		SlowRate    *float64 `json:"slow_rate"`
	}{fields(s), causeText, known(s.FailureRate, s.FailureRateKnown), known(s.SlowRate, s.SlowRateKnown)})
}
