package retry

import (
	"fmt"
	"log/slog"
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
