package target

import (
	"fmt"
	"iter"
	"slices"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/policy"
)

// Config is what options say.
type Config struct{ targets []*Target }

// Pipelines adds pipelines.
func Pipelines(sources ...resilience.Source) func(*Config) {
	sources = slices.Clone(sources)
	return func(c *Config) {
		for _, source := range sources {
			t := &Target{what: "pipeline"}
			if _, ok := source.(policy.Reporter); ok { // one pipeline for each key: the one in force is only that of the overflow
				t.problem = fmt.Sprintf("a %T has a pipeline for each key: give it to Registry", source)
			}
			if name, ok := nameOf(source); ok {
				t.Name, t.read = name, func() Reading {
					report := source.Current().Report()
					return Reading{report.Calls, report.Layers}
				}
			}
			c.targets = append(c.targets, t)
		}
	}
}

// Registry adds something that reports.
func Registry(name string, reporter policy.Reporter) func(*Config) {
	return func(c *Config) {
		t := &Target{Name: name, what: "registry", read: func() Reading { return Reading{Layers: []policy.Report{reporter.Report()}} }}
		if option.IsNil(reporter) {
			t.read = nil
		}
		c.targets = append(c.targets, t)
	}
}

// Keys is the keys of a registry, with their values.
type Keys[K comparable, V any] interface{ All() iter.Seq2[K, V] }

// PerKey adds single keys of a registry.
func PerKey[K comparable, V any](name string, registry Keys[K, V], label func(K) string, most int) func(*Config) {
	return func(c *Config) {
		t := &Target{Name: name, what: "registry", read: func() Reading { return readKeys(registry, label, most) }}
		switch {
		case option.IsNil(registry):
			t.read = nil
		case label == nil:
			t.problem = "the function for labels is nil"
		case most < 1 || most > 1000:
			t.problem = fmt.Sprintf("most is %d: must be between 1 and 1000", most)
		}
		c.targets = append(c.targets, t)
	}
}

// Configure returns the targets, and the [*policy.ConfigError] of the package with everything that is wrong with them.
func Configure[O ~func(*Config)](pkg string, opts []O) ([]*Target, error) {
	c := &Config{}
	problems := policy.ConfigError{Policy: pkg}
	for i, opt := range opts {
		if opt == nil {
			problems.Add("option %d is nil", i+1)
			continue
		}
		opt(c)
	}
	seen := map[string]int{}
	for i, t := range c.targets {
		id := fmt.Sprintf("%s %d", t.what, i+1)
		switch {
		case t.read == nil:
			problems.Add("%s is nil", id)
		case t.Name == "":
			problems.Add("%s has no name", id)
		case Text(t.Name) == "":
			problems.Add("%s has no name: %.100q is not UTF-8", id, t.Name)
		case seen[Text(t.Name)] > 0:
			problems.Add("%s %q has the name of %s %d, %[2]q", id, t.Name, c.targets[seen[Text(t.Name)]-1].what, seen[Text(t.Name)])
		default:
			seen[Text(t.Name)] = i + 1
		}
		if t.problem != "" {
			problems.Add("%s %q: %s", id, t.Name, t.problem)
		}
		t.Name = Text(t.Name)
	}
	return c.targets, problems.Err()
}

// nameOf returns the name of the pipeline in force, and false if there is none.
func nameOf(source resilience.Source) (name string, ok bool) {
	defer func() { _ = recover() }() // of a nil pointer in the interface
	return source.Current().Name(), true
}
