package policyslog

import (
	"cmp"
	"encoding/json"
	"expvar"
	"fmt"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

// Expvar publishes the reports of pipelines under a name, for [expvar]'s page /debug/vars: one JSON object with a
// member for each pipeline, sorted by name. They are read on demand, so calls pay nothing. The pipelines are kept for
// ever, as is everything that is published.
//
// Each pipeline must have a name (resilience.Name), and no two may have the same. Expvar panics with a
// [*policy.ConfigError] otherwise, and when name is empty or taken. If a [resilience.Source] later changes its name to
// one that another pipeline has, the second gets a number.
func Expvar(name string, pipelines ...resilience.Source) {
	problems := policy.ConfigError{Policy: "policyslog.Expvar"}
	if name == "" {
		problems.Add("the name is empty")
	} else if expvar.Get(name) != nil {
		problems.Add("the name %q is taken", name)
	}
	seen := map[string]int{}
	for i, source := range pipelines {
		pipeline := nameOf(source)
		switch {
		case pipeline == nil:
			problems.Add("pipeline %d is nil", i+1)
		case *pipeline == "":
			problems.Add("pipeline %d has no name: give it one with resilience.Name", i+1)
		case seen[*pipeline] > 0:
			problems.Add("pipelines %d and %d are both named %q", seen[*pipeline], i+1, *pipeline)
		default:
			seen[*pipeline] = i + 1
		}
	}
	if err := problems.Err(); err != nil {
		panic(err)
	}
	sources := append([]resilience.Source(nil), pipelines...)
	expvar.Publish(name, expvar.Func(func() any { return reports(sources) }))
}

// nameOf returns the name of the pipeline in force, nil if there is none.
func nameOf(source resilience.Source) (name *string) {
	defer func() { _ = recover() }() // of a nil pointer in the interface
	if source == nil {
		return nil
	}
	found := source.Current().Name()
	return &found
}

// reports returns the reports by name. encoding/json sorts the names.
func reports(sources []resilience.Source) map[string]json.RawMessage {
	all := make(map[string]json.RawMessage, len(sources))
	for i, source := range sources {
		name, report := report(source)
		name = cmp.Or(name, fmt.Sprintf("pipeline %d", i+1))
		if _, taken := all[name]; taken {
			name = fmt.Sprintf("%s (%d)", name, i+1)
		}
		all[name] = report
	}
	return all
}

// report returns the report of one pipeline. One that cannot be had, because of a layer that panics, is an object with an
// error: it must not spoil the page for the others.
func report(source resilience.Source) (name string, report json.RawMessage) {
	failed := func(err any) json.RawMessage {
		text, _ := json.Marshal(map[string]string{"error": fmt.Sprint(err)})
		return text
	}
	defer func() {
		if recovered := recover(); recovered != nil {
			report = failed(fmt.Sprintf("panic: %v", recovered))
		}
	}()
	pipeline := source.Current()
	name = pipeline.Name()
	report, err := json.Marshal(pipeline.Report())
	if err != nil {
		report = failed(err)
	}
	return name, report
}
