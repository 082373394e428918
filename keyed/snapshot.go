package keyed

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/go-resilience/resilience/policy"
)

// Snapshot is the state of a [Registry] at one moment, and what happened since it was made. It
// contains no keys. Live is always Made - Evicted - Expired - Deleted.
type Snapshot struct {
	Live       int    `json:"live"`       // keys that are there
	Max        int    `json:"max"`        // the most that there can be
	Made       uint64 `json:"made"`       // keys whose value was made
	Evicted    uint64 `json:"evicted"`    // keys that lost their place to a new one
	Expired    uint64 `json:"expired"`    // keys that were not used for the time of [Idle]
	Deleted    uint64 `json:"deleted"`    // keys that [Registry.Delete] took out
	Overflowed uint64 `json:"overflowed"` // uses that got the overflow value because there was no place
	TooLong    uint64 `json:"too_long"`   // uses that got the overflow value because the key was too long
}

// LogValue returns the fields as a group.
func (s Snapshot) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Int("live", s.Live), slog.Int("max", s.Max),
		slog.Uint64("made", s.Made), slog.Uint64("evicted", s.Evicted), slog.Uint64("expired", s.Expired),
		slog.Uint64("deleted", s.Deleted), slog.Uint64("overflowed", s.Overflowed), slog.Uint64("too_long", s.TooLong),
	)
}

// Snapshot returns one consistent value. It changes nothing.
func (r *Registry[K, V]) Snapshot() Snapshot {
	r.current()
	r.mu.Lock()
	defer r.mu.Unlock()
	return Snapshot{
		Live:       int(r.made - r.evicted - r.expired - r.deleted),
		Max:        r.current().max,
		Made:       r.made,
		Evicted:    r.evicted,
		Expired:    r.expired,
		Deleted:    r.deleted,
		Overflowed: r.overflowed.Load(),
		TooLong:    r.tooLong.Load(),
	}
}

// Len returns the number of keys that are there. It is at most [Max], unless that was lowered by
// [Registry.Reconfigure].
func (r *Registry[K, V]) Len() int { return r.Snapshot().Live }

// String returns how many keys are there and how many can be, as in `keyed 12/1000`.
func (r *Registry[K, V]) String() string {
	s := r.Snapshot()
	return fmt.Sprintf("keyed %d/%d", s.Live, s.Max)
}

// statedBy returns what says which state value is in: value itself or, in a pipeline, its outermost layer that has states by
// itself, such as its breaker.
func statedBy(value any) any {
	pipeline, ok := value.(policy.Composite)
	if !ok {
		return value
	}
	for _, layer := range pipeline.Layers() {
		if placed, ok := layer.(policy.Placed); ok {
			layer = placed.Layer
		}
		if stated, ok := layer.(policy.StateReporter); ok {
			return stated
		}
	}
	return value
}

// stateOf returns the name of a value's state, "" if it has none.
func stateOf(value any) string {
	value = statedBy(value)
	if reporter, ok := value.(policy.StateReporter); ok {
		return reporter.ReportState()
	}
	return reportOf(value).State.Name
}

// Report counts the keys by the state of their values, where those are [policy.Reporter] and have
// states, and otherwise under the label "total". The state of a pipeline is that of its outermost
// [policy.StateReporter], such as its breaker. It contains no keys; see [Registry.ReportOf] for those.
// The name and the stage are those of the overflow value.
//
// Report makes no key and does not count as a use. It asks every value, so its cost grows with the
// number of keys.
func (r *Registry[K, V]) Report() policy.Report {
	c := r.current()
	report := policy.Report{Kind: "keyed", Settings: c.given}
	if layer, ok := any(r.overflow.value).(policy.Layer); ok {
		report.Stage = layer.Stage()
	}
	report.Name = reportOf(r.overflow.value).Name
	states := reportOf(statedBy(r.overflow.value)).State.All
	keys := stateCount{values: make([]policy.Value, 0, 8+max(1, len(states))), limit: float64(c.max)}
	for _, state := range states { // also those that no key is in
		keys.add(state, 0)
	}
	if stateOf(r.overflow.value) == "" {
		keys.add(total, 0)
	}
	r.entries.Range(func(_, found any) bool {
		if e := found.(*entry[K, V]); e.there() {
			keys.add(cmp.Or(stateOf(e.value), total), 1)
		}
		return true
	})
	slices.SortStableFunc(keys.values[len(states):], func(a, b policy.Value) int { return strings.Compare(a.Label, b.Label) })
	s := r.Snapshot()
	report.Values = append(keys.values,
		counter("made", s.Made), counter("evicted", s.Evicted), counter("expired", s.Expired),
		counter("deleted", s.Deleted), counter("overflowed", s.Overflowed), counter("too_long", s.TooLong))
	return report
}

// MarshalJSON writes the report.
func (r *Registry[K, V]) MarshalJSON() ([]byte, error) { return json.Marshal(r.Report()) }

const total = "total"

func counter(name string, n uint64) policy.Value {
	return policy.Value{Name: name, Unit: policy.UnitCount, Kind: policy.Counter, Number: float64(n)}
}

// stateCount is the number of keys for each state.
type stateCount struct {
	values []policy.Value
	limit  float64
}

func (c *stateCount) add(state string, n float64) {
	for i := range c.values {
		if c.values[i].Label == state {
			c.values[i].Number += n
			return
		}
	}
	c.values = append(c.values, policy.Value{
		Name: "keys", Label: state, Unit: policy.UnitCount, Kind: policy.Gauge, Number: n, Limit: c.limit,
	})
}

// ReportOf returns the report of the value of key. It returns false when the key is not there, or
// its value is no [policy.Reporter]. It makes no value and does not count as a use.
func (r *Registry[K, V]) ReportOf(key K) (policy.Report, bool) {
	r.current()
	if e := r.peek(key); e != nil {
		if reporter, ok := any(e.value).(policy.Reporter); ok {
			return reporter.Report(), true
		}
	}
	return policy.Report{}, false
}

// reportOf returns the report of value, the zero Report if it makes none.
func reportOf(value any) policy.Report {
	if reporter, ok := value.(policy.Reporter); ok {
		return reporter.Report()
	}
	return policy.Report{}
}
