// Package target is what the adapters for metrics have in common: the pipelines and registries that they show, read at one
// moment, and made fit to be exported.
package target

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

// Target is a pipeline or a registry.
type Target struct {
	Name     string
	what     string // "pipeline" or "registry"
	read     func() Reading
	problem  string
	failures atomic.Uint64
}

// String returns what it is, with its name.
func (t *Target) String() string { return fmt.Sprintf("%s %q", t.what, t.Name) }

// Reading is what a target was like at one moment.
type Reading struct {
	Calls  *resilience.Calls // nil if they are not counted
	Layers []policy.Report
}

// Read reads the target. It returns false, and counts a failure, when a layer panics.
//
// All texts are valid UTF-8 of bounded length. Kind and name are unique: of two layers of the same kind and name the second is
// "#2", or the next number that no layer has as its name. The state is among State.All, and nothing occurs twice there. Values of one name and label are unique. So a mistake of
// a third party's layer cannot fail the export of the others.
func (t *Target) Read() (found Reading, ok bool) {
	defer func() {
		if !ok {
			_ = recover()
			t.failures.Add(1)
		}
	}()
	found = t.read()
	for i := range found.Layers {
		clean(&found.Layers[i])
	}
	number(found.Layers)
	return found, true
}

// Failures returns how many readings have failed.
func (t *Target) Failures() uint64 { return t.failures.Load() }

func clean(r *policy.Report) {
	r.Kind, r.Name, r.State.Name = Text(r.Kind), Text(r.Name), Text(r.State.Name)
	var states []string
	if r.State.Name != "" {
		for _, state := range append(slices.Clone(r.State.All), r.State.Name) {
			if state = Text(state); !slices.Contains(states, state) {
				states = append(states, state)
			}
		}
	}
	r.State.All = states
	seen := make(map[[2]string]bool, len(r.Values))
	values := make([]policy.Value, 0, len(r.Values))
	for _, v := range r.Values {
		v.Name, v.Label = Text(v.Name), Text(v.Label)
		if id := [2]string{v.Name, v.Label}; !seen[id] {
			seen[id] = true
			values = append(values, v)
		}
	}
	r.Values = values
}

// number numbers layers of one kind and name. A name that a layer was given stays its own.
func number(layers []policy.Report) {
	type id struct{ kind, name string }
	taken := make(map[id]bool, len(layers)) // the value says whether a layer has it for good
	for _, r := range layers {
		taken[id{r.Kind, r.Name}] = false
	}
	for i := range layers {
		r := &layers[i]
		if !taken[id{r.Kind, r.Name}] {
			taken[id{r.Kind, r.Name}] = true
			continue
		}
		name := r.Name
		for n, free := 2, false; !free; n++ {
			r.Name = fmt.Sprintf("%s#%d", name, n)
			_, found := taken[id{r.Kind, r.Name}]
			free = !found
		}
		taken[id{r.Kind, r.Name}] = true
	}
}

// Text returns s as the value of a label: valid, and of bounded length.
func Text(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "")
}

// readKeys reads single keys of a registry. Their layers have the label of the key as name.
func readKeys[K comparable, V any](registry Keys[K, V], label func(K) string, most int) Reading {
	type one struct {
		label string
		value any
	}
	var keys []one
	seen := map[string]bool{}
	for key, value := range registry.All() {
		if label := Text(label(key)); label != "" && !seen[label] {
			seen[label] = true
			keys = append(keys, one{label, value})
		}
	}
	slices.SortFunc(keys, func(a, b one) int { return cmp.Compare(a.label, b.label) })
	var found Reading
	for _, key := range keys[:min(most, len(keys))] {
		for _, report := range reportsOf(key.value) {
			report.Name = key.label
			found.Layers = append(found.Layers, report)
		}
	}
	return found
}

// reportsOf returns the reports of the value of a key, which is a policy or a pipeline.
func reportsOf(value any) []policy.Report {
	switch value := value.(type) {
	case policy.Reporter:
		return []policy.Report{value.Report()}
	case resilience.Source:
		return value.Current().Report().Layers
	}
	return nil
}
