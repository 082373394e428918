package hedge

import (
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Snapshot is what a [Hedge] is and has done, at one moment.
type Snapshot struct {
	Name           string
	Delay          time.Duration // before another attempt, as of now; 0 while too few latencies are known
	Calls          uint64        // calls that were allowed to be hedged
	Extra          uint64        // extra attempts that were started
	Won            uint64        // calls that an extra attempt won
	OverBudget     uint64        // extra attempts that the budget refused
	OverMaxRunning uint64        // attempts that found MaxRunning reached: a first one is made without hedging
	Discarded      uint64        // successful results that were not the result of their call
	Running        int           // attempts on goroutines of their own that have not ended
	Left           int           // of these, losers that still run after their call has ended
	Panics         uint64        // panics that came after the end of their call, or in the function given to OnDiscard
}

// Snapshot returns one consistent value. It changes nothing.
func (h *Hedge) Snapshot() Snapshot {
	h.current()
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.snapshot(h.current())
}

// snapshot is called with h.mu held.
func (h *Hedge) snapshot(c *config) Snapshot {
	attempts := h.group.Counts()
	return Snapshot{
		Name: c.name, Delay: h.delay(c),
		Calls: h.counts.calls, Extra: h.counts.extra, Won: h.counts.won,
		OverBudget: h.counts.overBudget, OverMaxRunning: h.counts.overMaxRunning,
		Discarded: attempts.Discarded, Running: attempts.Running, Left: attempts.Left, Panics: attempts.Panics,
	}
}

// MarshalJSON writes the delay as a number of seconds.
func (s Snapshot) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name           string  `json:"name,omitempty"`
		Delay          float64 `json:"delay"`
		Calls          uint64  `json:"calls"`
		Extra          uint64  `json:"extra"`
		Won            uint64  `json:"won"`
		OverBudget     uint64  `json:"over_budget"`
		OverMaxRunning uint64  `json:"over_max_running"`
		Discarded      uint64  `json:"discarded"`
		Running        int     `json:"running"`
		Left           int     `json:"left"`
		Panics         uint64  `json:"panics"`
	}{
		s.Name, s.Delay.Seconds(), s.Calls, s.Extra, s.Won, s.OverBudget, s.OverMaxRunning,
		s.Discarded, s.Running, s.Left, s.Panics,
	})
}

// LogValue returns the fields as a group.
func (s Snapshot) LogValue() slog.Value {
	attrs := make([]slog.Attr, 0, 11)
	if s.Name != "" {
		attrs = append(attrs, slog.String("name", s.Name))
	}
	return slog.GroupValue(append(attrs,
		slog.Duration("delay", s.Delay), slog.Uint64("calls", s.Calls), slog.Uint64("extra", s.Extra),
		slog.Uint64("won", s.Won), slog.Uint64("over_budget", s.OverBudget),
		slog.Uint64("over_max_running", s.OverMaxRunning), slog.Uint64("discarded", s.Discarded),
		slog.Int("running", s.Running), slog.Int("left", s.Left), slog.Uint64("panics", s.Panics),
	)...)
}

// Report implements [policy.Reporter]. The kind is "hedge". The setting "WithBudget" has the kind of the budget and the
// numbers that it was made with, if the budget reports them, as a retry.Budget does.
func (h *Hedge) Report() policy.Report {
	h.current()
	h.mu.Lock()
	c := h.current()
	s := h.snapshot(c)
	h.mu.Unlock()
	return policy.Report{
		Kind: "hedge", Name: c.name, Stage: policy.StageHedge, Settings: c.reported(),
		Values: []policy.Value{
			{Name: "delay", Unit: policy.UnitSeconds, Kind: policy.Gauge, Number: s.Delay.Seconds(), Unknown: s.Delay == 0},
			counter("calls", s.Calls),
			counter("extra", s.Extra),
			counter("won", s.Won),
			counter("over_budget", s.OverBudget),
			counter("over_max_running", s.OverMaxRunning),
			counter("discarded", s.Discarded),
			{Name: "running", Unit: policy.UnitCount, Kind: policy.Gauge, Number: float64(s.Running), Limit: float64(c.group.Limit)},
			{Name: "left", Unit: policy.UnitCount, Kind: policy.Gauge, Number: float64(s.Left)},
			counter("panics", s.Panics),
		},
	}
}

// MarshalJSON writes the report.
func (h *Hedge) MarshalJSON() ([]byte, error) { return json.Marshal(h.Report()) }

func counter(name string, n uint64) policy.Value {
	return policy.Value{Name: name, Unit: policy.UnitCount, Kind: policy.Counter, Number: float64(n)}
}

// reported returns the options, with the numbers of a budget that reports them. The budget is asked under no lock.
func (c *config) reported() []policy.Setting {
	reporter, ok := c.budget.(policy.Reporter)
	if !ok || !c.given.Given("WithBudget") {
		return c.given
	}
	budget := reporter.Report()
	constructor := slices.IndexFunc(budget.Settings, func(s policy.Setting) bool { return s.Name == "New" })
	if constructor < 0 {
		return c.given
	}
	settings := slices.Clone([]policy.Setting(c.given))
	for i := range settings {
		if settings[i].Name == "WithBudget" {
			settings[i].Args = append([]policy.Argument{{Name: "kind", Value: budget.Kind}}, budget.Settings[constructor].Args...)
		}
	}
	return settings
}
