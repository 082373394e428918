package policyprom

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
)

// Option says what a [Collector] shows.
type Option func(*config)

type config struct{ targets []*target }

// Pipelines shows pipelines. Each must have a name (resilience.Name), which is the value of the label "pipeline" for good: it
// does not change when a [resilience.Source] replaces its pipeline by one of another name.
func Pipelines(sources ...resilience.Source) Option {
	sources = slices.Clone(sources)
	return func(c *config) {
		for _, source := range sources {
			c.targets = append(c.targets, &target{
				name: nameOf(source),
				what: "pipeline",
				read: func() reading { return readingOf(source.Current().Report()) },
			})
		}
	}
}

// Registry shows a keyed registry, a retry budget that several pipelines share, or anything else that reports and stands in no
// pipeline. name is the value of the label "pipeline". Of a keyed registry the keys are counted by state, and are never
// labels; see [PerKey].
func Registry(name string, reporter policy.Reporter) Option {
	return func(c *config) {
		t := &target{name: name, what: "registry", read: func() reading { return reading{layers: []policy.Report{reporter.Report()}} }}
		if isNil(reporter) {
			t.read = nil
		}
		c.targets = append(c.targets, t)
	}
}

// PerKey shows single keys of a registry whose values are policies or pipelines, in addition to [Registry]. label turns a
// key into the label "name"; it must not tell what the monitoring may not know, and leaves a key out by returning "". Of the
// labels, in alphabetical order, the first most are shown; most must be between 1 and 1000. name must be another than that
// of the Registry.
func PerKey[K comparable, V any](name string, registry *keyed.Registry[K, V], label func(K) string, most int) Option {
	return func(c *config) {
		t := &target{name: name, what: "registry", read: func() reading { return readKeys(registry, label, most) }}
		switch {
		case registry == nil:
			t.read = nil
		case label == nil:
			t.problem = "the function for labels is nil"
		case most < 1 || most > 1000:
			t.problem = fmt.Sprintf("most is %d: must be between 1 and 1000", most)
		}
		c.targets = append(c.targets, t)
	}
}

// Validate returns the [*policy.ConfigError] that [NewCollector] would panic with, or nil.
func Validate(opts ...Option) error {
	_, err := configure(opts)
	return err
}

func configure(opts []Option) (*config, error) {
	c := &config{}
	problems := policy.ConfigError{Policy: "policyprom"}
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
		case t.read == nil || t.name == noPipeline:
			problems.Add("%s is nil", id)
		case t.name == "":
			problems.Add("%s has no name", id)
		case seen[t.name] > 0:
			problems.Add("%s %q has the name of %s %d, %[2]q", id, t.name, c.targets[seen[t.name]-1].what, seen[t.name])
		default:
			seen[t.name] = i + 1
		}
		if t.problem != "" {
			problems.Add("%s %q: %s", id, t.name, t.problem)
		}
		t.name = text(t.name)
	}
	return c, problems.Err()
}

// noPipeline is no name that a pipeline can have: it is not UTF-8.
const noPipeline = "\xff"

// nameOf returns the name of the pipeline in force.
func nameOf(source resilience.Source) (name string) {
	defer func() {
		if recover() != nil { // a nil pointer in the interface
			name = noPipeline
		}
	}()
	return source.Current().Name()
}

func isNil(reporter policy.Reporter) bool {
	v := reflect.ValueOf(reporter)
	return reporter == nil || v.Kind() == reflect.Pointer && v.IsNil()
}

// text returns s as the value of a label: valid, and of bounded length.
func text(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "")
}
