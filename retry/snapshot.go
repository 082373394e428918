package retry

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"

	"github.com/go-resilience/resilience/policy"
)

// Snapshot is what a [Retrier] is and has done, at one moment.
type Snapshot struct {
	Name     string         `json:"name,omitempty"`
	Attempts int            `json:"attempts"`        // the most attempts of a call, the first included
	Retries  uint64         `json:"retries"`         // further attempts that were scheduled since the Retrier was made
	GaveUp   uint64         `json:"gave_up"`         // calls that ended with an [*Error], or with a panic between two attempts
	Budget   BudgetSnapshot `json:"budget,omitzero"` // zero without a budget, or with one of another package
}

// LogValue returns the fields as a group.
func (s Snapshot) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("name", s.Name), slog.Int("attempts", s.Attempts),
		slog.Uint64("retries", s.Retries), slog.Uint64("gave_up", s.GaveUp),
	}
	if s.Budget != (BudgetSnapshot{}) {
		attrs = append(attrs, slog.Attr{Key: "budget", Value: s.Budget.LogValue()})
	}
	return slog.GroupValue(attrs...)
}

// BudgetSnapshot is the state of a budget at one moment.
type BudgetSnapshot struct {
	Tokens float64 `json:"tokens"` // what is there
	Limit  float64 `json:"limit"`  // the most that can be there now
	Denied uint64  `json:"denied"` // retries that were not allowed since the budget was made
}

// LogValue returns the fields as a group.
func (s BudgetSnapshot) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Float64("tokens", s.Tokens), slog.Float64("limit", s.Limit), slog.Uint64("denied", s.Denied),
	)
}

// String returns what is there and the most that can be there.
func (s BudgetSnapshot) String() string { return fmt.Sprintf("budget %.1f of %.1f", s.Tokens, s.Limit) }

// Snapshot returns what the Retrier is and has done: the retries of every call that is among those that gave up are
// counted. The budget, which may be shared, is read a moment earlier. It changes nothing.
func (r *Retrier) Snapshot() Snapshot {
	c := r.current()
	s := Snapshot{Name: c.name, Attempts: c.attempts}
	if budget, ok := c.budget.(interface{ Snapshot() BudgetSnapshot }); ok {
		s.Budget = budget.Snapshot()
	}
	s.GaveUp = r.gaveUp.Load() // before the retries: see above
	s.Retries = r.scheduled.Load()
	return s
}

// reported is the options as the last report has shown them.
type reported struct {
	numbers  *numbers
	settings []policy.Setting
}

// settings returns the options, with the numbers of the budget as they are now.
func (c *config) settings() []policy.Setting {
	budget, ok := c.budget.(described)
	if !ok || !c.given.Given("WithBudget") {
		return c.given
	}
	numbers := budget.described()
	if last := c.reported.Load(); last != nil && last.numbers == numbers {
		return last.settings
	}
	settings := slices.Clone([]policy.Setting(c.given))
	for i := range settings {
		if settings[i].Name == "WithBudget" {
			settings[i].Args = numbers.args
		}
	}
	c.reported.Store(&reported{numbers, settings})
	return settings
}

// Report returns what Snapshot does, and the options. The setting "WithBudget" of a budget of this package has the kind of
// the budget and the numbers that it was made with, or reconfigured to.
func (r *Retrier) Report() policy.Report {
	c, s := r.current(), r.Snapshot()
	values := make([]policy.Value, 0, 4)
	values = append(values,
		policy.Value{Name: "retries", Unit: policy.UnitCount, Kind: policy.Counter, Number: float64(s.Retries)},
		policy.Value{Name: "gave_up", Unit: policy.UnitCount, Kind: policy.Counter, Number: float64(s.GaveUp)},
	)
	if s.Budget != (BudgetSnapshot{}) {
		values = appendBudget(values, s.Budget)
	}
	return policy.Report{Kind: "retry", Name: c.name, Stage: r.Stage(), Settings: c.settings(), Values: values}
}

// MarshalJSON writes the report.
func (r *Retrier) MarshalJSON() ([]byte, error) { return json.Marshal(r.Report()) }

func reportBudget(kind string, s BudgetSnapshot, settings []policy.Setting) policy.Report {
	return policy.Report{Kind: kind, Settings: settings, Values: appendBudget(make([]policy.Value, 0, 2), s)}
}

func appendBudget(values []policy.Value, s BudgetSnapshot) []policy.Value {
	return append(values,
		policy.Value{Name: "tokens", Unit: policy.UnitCount, Kind: policy.Gauge, Number: s.Tokens, Limit: s.Limit},
		policy.Value{Name: "denied", Unit: policy.UnitCount, Kind: policy.Counter, Number: float64(s.Denied)},
	)
}

// Idle reports whether the Retrier may be forgotten: a new one would allow no retry that this one denies for lack of
// budget.
func (r *Retrier) Idle() bool {
	budget, ok := r.current().budget.(interface{ Idle() bool })
	return !ok || budget.Idle()
}
