package retry

import (
	"encoding/json"
	"slices"

	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

// Report returns what Snapshot does, and the options. The setting "WithBudget" of a budget of this package has the kind of
// the budget and what it was made with, or reconfigured to.
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

// The kinds of budgets in reports.
const (
	kindBudget            = "retry budget"
	kindTokenBudget       = "retry token budget"
	kindConcurrencyBudget = "retry concurrency budget"
)

// arguments is what a budget was made with, or reconfigured to, as reports show it. It does not change.
type arguments struct {
	ofNew        []policy.Setting  // in the report of the budget
	ofWithBudget []policy.Argument // the same, and the kind, in the report of a Retrier
}

func argumentsOf(kind string, args ...policy.Argument) *arguments {
	return &arguments{
		ofNew:        []policy.Setting{{Name: "New", Args: args}},
		ofWithBudget: append([]policy.Argument{setting.Arg("kind", kind)}, args...),
	}
}

// shown is the settings of a Retrier as a report has shown them, when its budget had these arguments.
type shown struct {
	settings []policy.Setting
	budget   *arguments
}

// settings returns the options, WithBudget with the arguments that a budget of this package has now. They are made anew
// only when these have changed, since pages and metrics ask often: a report allocates once.
func (c *config) settings() []policy.Setting {
	budget, ok := c.budget.(interface{ arguments() *arguments })
	if !ok || !c.given.Given("WithBudget") {
		return c.given
	}
	now := budget.arguments()
	if last := c.lastShown.Load(); last != nil && last.budget == now {
		return last.settings
	}
	settings := slices.Clone([]policy.Setting(c.given))
	for i := range settings {
		if settings[i].Name == "WithBudget" {
			settings[i].Args = now.ofWithBudget
		}
	}
	c.lastShown.Store(&shown{settings, now})
	return settings
}

func reportBudget(kind string, s BudgetSnapshot, settings []policy.Setting) policy.Report {
	return policy.Report{Kind: kind, Settings: settings, Values: appendBudget(make([]policy.Value, 0, 2), s)}
}

func appendBudget(values []policy.Value, s BudgetSnapshot) []policy.Value {
	return append(values,
		policy.Value{Name: "tokens", Unit: policy.UnitCount, Kind: policy.Gauge, Number: s.Tokens, Limit: s.Limit},
		policy.Value{Name: "denied", Unit: policy.UnitCount, Kind: policy.Counter, Number: float64(s.Denied)},
	)
}
