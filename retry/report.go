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
	return policy.Report{Kind: "retry", Name: c.name, Stage: r.Stage(), Settings: c.reportedOptions(), Values: values}
}

// MarshalJSON writes the report.
func (r *Retrier) MarshalJSON() ([]byte, error) { return json.Marshal(r.Report()) }

// The kinds of budgets in reports.
const (
	kindBudget            = "retry budget"
	kindTokenBudget       = "retry token budget"
	kindConcurrencyBudget = "retry concurrency budget"
)

// reportedArgs is what a budget was made with, or reconfigured to, in the form of reports. It does not change.
type reportedArgs struct {
	settings []policy.Setting  // in the report of the budget
	args     []policy.Argument // the same, and the kind: the arguments of WithBudget in the report of a Retrier
}

func newReportedArgs(kind string, args ...policy.Argument) *reportedArgs {
	return &reportedArgs{
		settings: []policy.Setting{{Name: "New", Args: args}},
		args:     append([]policy.Argument{setting.Arg("kind", kind)}, args...),
	}
}

// reportedOptions is the options of a Retrier as its last report has shown them, when the arguments of the budget were those.
type reportedOptions struct {
	budget  *reportedArgs
	options []policy.Setting
}

// reportedOptions returns the options, WithBudget with the arguments that a budget of this package has now. They are kept for
// the next report.
func (c *config) reportedOptions() []policy.Setting {
	budget, ok := c.budget.(interface{ reportedArgs() *reportedArgs })
	if !ok || !c.given.Given("WithBudget") {
		return c.given
	}
	now := budget.reportedArgs()
	if last := c.reported.Load(); last != nil && last.budget == now {
		return last.options
	}
	options := slices.Clone([]policy.Setting(c.given))
	for i := range options {
		if options[i].Name == "WithBudget" {
			options[i].Args = now.args
		}
	}
	c.reported.Store(&reportedOptions{now, options})
	return options
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
