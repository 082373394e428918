package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyconfig"
)

// Candidate is a pipeline of a policyconfig file.
type Candidate struct {
	Name     string   // of the file and the pipeline, as the report shows it
	Layers   string   // in words
	Warnings []string // what of the file is not replayed, and why

	pipeline string            // its name
	data     []byte            // of the file, without what is code
	code     map[string]string // what is: the names that the file has for it, by where it stands
}

// LoadCandidate loads the pipeline that "FILE" or "FILE#NAME" names. Without a name the file must have one pipeline only.
func LoadCandidate(reference string) (*Candidate, error) {
	file, name, _ := strings.Cut(reference, "#")
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, fmt.Errorf("replay: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("replay: %s is not a regular file", file)
	case info.Size() > policyconfig.MaxSize:
		return nil, fmt.Errorf("replay: %s is longer than %d bytes", file, policyconfig.MaxSize)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	c, err := NewCandidate(filepath.Base(file), data, name)
	if wrong, ok := errors.AsType[*policyconfig.Error](err); ok {
		wrong.File = file
	}
	return c, err
}

// NewCandidate is [LoadCandidate] for the content of a file.
func NewCandidate(file string, data []byte, name string) (*Candidate, error) {
	if _, err := policyconfig.Go(data); err != nil { // says where in the file something is wrong, and needs no code
		return nil, err
	}
	c := &Candidate{}
	if err := c.strip(data); err != nil {
		return nil, fmt.Errorf("replay: %s: %w", file, err)
	}
	set, err := policyconfig.Load(c.data, chance(rand.NewPCG(1, 1)))
	if err != nil {
		return nil, err
	}
	names := set.Names()
	switch {
	case name == "" && len(names) == 1:
		name = names[0]
	case name == "":
		return nil, fmt.Errorf("replay: %s has %d pipelines: choose one, as in %s#%s (%s)", file, len(names), file, names[0], strings.Join(names, ", "))
	case !slices.Contains(names, name):
		return nil, fmt.Errorf("replay: %s has no pipeline %q; there are %s", file, name, strings.Join(names, ", "))
	}
	c.pipeline = name
	c.Name = file
	if len(names) > 1 {
		c.Name += "#" + name
	}
	c.Layers = set.Pipeline(name).String()
	return c, nil
}

// WithoutPolicies is a pipeline that only calls the operation.
func WithoutPolicies() *Candidate { return &Candidate{Name: "no policies", Layers: "none"} }

// seeded is the name under which the replay registers its source of chance.
const seeded = "replay"

func chance(source rand.Source) policyconfig.Registry {
	return policyconfig.Registry{Rand: map[string]func() rand.Source{seeded: func() rand.Source { return source }}}
}

// compose makes the pipeline in a world.
func (c *Candidate) compose(w *sim.World, more ...policy.Layer) (*resilience.Pipeline, error) {
	if c.data == nil {
		return sim.Compose(more...), nil
	}
	made := 0
	registry := policyconfig.Registry{Rand: map[string]func() rand.Source{seeded: func() rand.Source {
		made++
		return w.Source("policy", made)
	}}}
	set, err := policyconfig.Load(c.data, registry)
	if err != nil {
		return nil, err
	}
	p := set.Pipeline(c.pipeline).Current()
	layers := append(p.Layers(), more...)
	if p.Name() != "" {
		layers = append(layers, resilience.Name(p.Name()))
	}
	return sim.Compose(layers...), nil
}

// What a file says of code. What is dropped silently changes no call; what is not replayed is said.
var (
	silent = []string{"observe", "onChange", "onDiscard", "onPanic", "rand"}
	said   = map[string]string{
		"classify": "failures mean what the log says of them",
		"tripWhen": "the breaker opens by its other rules only",
		"if":       "every transient failure is retried",
		"delay":    "the delays are the default ones",
		"backOff":  "the delays are the default ones",
		"costOf":   "every attempt costs one token",
		"weightOf": "every attempt takes one slot",
		"perKey":   "the log has no keys: one policy stands for all of them",
	}
	chancy = []string{"retry", "breaker", "throttle"} // kinds with a source of chance
)

// strip takes what is code out of a file, and gives every policy a source of chance that repeats itself.
func (c *Candidate) strip(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var root map[string]any
	if err := decoder.Decode(&root); err != nil {
		return err
	}
	budgets, _ := root["budgets"].(map[string]any)
	dropped := map[string][]string{}
	c.code = map[string]string{}
	drop := func(where string, of map[string]any, key string) {
		if value, given := of[key]; given && value != nil {
			name, _ := json.Marshal(value)
			at := where + ": " + key
			c.code[at] = strings.TrimPrefix(c.code[at]+", "+string(name), ", ")
		}
		delete(of, key)
	}
	lift := func(where string, of map[string]any) {
		for _, key := range silent {
			drop(where, of, key)
		}
		for _, key := range slices.Sorted(maps.Keys(said)) {
			if of[key] != nil {
				dropped[key] = append(dropped[key], where)
			}
			drop(where, of, key)
		}
		if name, ok := of["withBudget"].(string); ok && budgets[name] == nil {
			dropped["withBudget"] = append(dropped["withBudget"], where)
			drop(where, of, "withBudget")
		}
	}
	treat := func(where string, layer map[string]any) (keep bool) {
		kind, _ := layer["kind"].(string)
		if kind == "layer" {
			dropped["layer"] = append(dropped["layer"], where)
			drop(where, map[string]any{kind: layer}, kind)
			return false
		}
		lift(where, layer)
		if slices.Contains(chancy, kind) {
			layer["rand"] = seeded
		}
		return true
	}
	policies, _ := root["policies"].(map[string]any)
	for name, value := range policies {
		if layer, ok := value.(map[string]any); ok && !treat(name, layer) {
			return fmt.Errorf("policy %q is code (a layer of the program's own): it cannot be replayed", name)
		}
	}
	pipelines, _ := root["pipelines"].(map[string]any)
	for name, value := range pipelines {
		pipeline, _ := value.(map[string]any)
		lift(name, pipeline)
		layers, _ := pipeline["layers"].([]any)
		var kept []any
		for _, value := range layers {
			if layer, ok := value.(map[string]any); !ok || treat(name, layer) {
				kept = append(kept, value)
			}
		}
		if kept != nil || layers != nil {
			pipeline["layers"] = append([]any{}, kept...)
		}
	}
	delete(root, "$schema")
	for _, key := range slices.Sorted(maps.Keys(dropped)) {
		slices.Sort(dropped[key])
		why := said[key]
		switch key {
		case "layer":
			why = "a layer of the program's own is left out"
		case "withBudget":
			why = "the budget of the program is not there: the policy has one of its own"
		}
		c.Warnings = append(c.Warnings, fmt.Sprintf("%s of %s is code, which is not replayed: %s", strconv.Quote(key), strings.Join(slices.Compact(dropped[key]), ", "), why))
	}
	var err error
	c.data, err = json.Marshal(root)
	return err
}
