package policyconfig

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// From returns a pipeline as a configuration, with its name as the key, or "pipeline" if it has none. Of a [Handle] it is
// what the configuration in force says of the pipeline, with everything that it inherits, uses and is told by the
// environment. Modes and states that were set by hand are not in it.
//
// Of a pipeline that was written in Go, data is written as it was configured. Code is not data: an option that takes a function is written with the name of the
// option as the name of the code, and a layer that is not of this module with its type. [Load] then asks for them in its
// Registry, so nothing is lost silently. What a pipeline does not tell cannot be written: its Classify and its observers,
// and what stands per key.
//
// The error is a [*policy.ConfigError] that names every layer that cannot be written.
func From(source resilience.Source) ([]byte, error) {
	if handle, ok := source.(*Handle); ok {
		return fromFile(handle.file.Load(), handle.key), nil
	}
	p := source.Current()
	f := &fileWriter{problems: policy.ConfigError{Policy: "policyconfig.From"}}
	layers := p.Layers()
	var list []ordered
	for _, layer := range layers {
		if one := f.layer(layer); one != nil {
			list = append(list, one)
		}
	}
	if err := f.problems.Err(); err != nil {
		return nil, err
	}
	pipeline := ordered{}
	if p.Name() == "" {
		pipeline.add("name", "")
	}
	pipeline.add("layers", list)
	root := ordered{{"$schema", SchemaID}}
	if len(f.list) > 0 {
		root.add("budgets", f.list)
	}
	root.add("pipelines", ordered{{cmp.Or(p.Name(), "pipeline"), pipeline}})
	return root.indented(), nil
}

// fromFile returns one pipeline of a file, and what it needs.
func fromFile(f *file, key string) []byte {
	var budgets, policies ordered
	var needed []*layer
	root, body := ordered{{"$schema", SchemaID}}, ordered{}
	for _, p := range f.pipelines {
		if p.key != key {
			continue
		}
		if p.name != p.key {
			body.add("name", p.name)
		}
		for _, g := range []*given{p.classify, p.observe} {
			if g != nil {
				body.add(g.option.key, g.data())
			}
		}
		list := []ordered{}
		for _, l := range p.layers {
			list = append(list, l.data())
			needed = append(needed, l)
		}
		body.add("layers", list)
	}
	for _, l := range f.policies {
		name := l.id[len("policies/"):]
		if slices.ContainsFunc(needed, func(user *layer) bool { return user.use == name }) {
			policies.add(name, l.data())
			needed = append(needed, l)
		}
	}
	for _, b := range f.budgets {
		if slices.ContainsFunc(needed, func(l *layer) bool {
			return slices.ContainsFunc(l.given, func(g *given) bool { return g.option.code == "Budgets" && g.names[0] == b.name })
		}) {
			one := ordered{{"kind", b.kind.key}}
			one.arguments(b.kind.args, b.args)
			budgets.add(b.name, one)
		}
	}
	if budgets != nil {
		root.add("budgets", budgets)
	}
	if policies != nil {
		root.add("policies", policies)
	}
	root.add("pipelines", ordered{{key, body}})
	return root.indented()
}

// data returns a layer as it stands in a file.
func (l *layer) data() ordered {
	var o ordered
	switch {
	case l.use != "":
		o.add("use", l.use)
	case l.kind == nil:
		o = ordered{{"kind", "layer"}, {"layer", l.given[0].names[0]}}
	default:
		o.add("kind", l.kind.name)
		if l.constructor.key == "" {
			o.arguments(l.constructor.args, l.args)
		} else {
			o.add(l.constructor.key, (&given{option: l.constructor, args: l.args}).data())
		}
		for _, g := range l.given {
			o.add(g.option.key, g.data())
		}
	}
	if l.perKey != nil {
		keys := ordered{{"key", l.perKey.name}}
		for _, g := range l.perKey.given {
			keys.add(g.option.key, g.data())
		}
		o.add("perKey", keys)
	}
	if !l.enabled {
		o.add("enabled", false)
	}
	if name := stageName(l.stage); stages[name] == l.stage && l.stage != 0 {
		o.add("stage", name)
	} else if l.stage != 0 {
		o.add("stage", int(l.stage))
	}
	return o
}

// data returns the value of an option as it stands in a file.
func (g *given) data() any {
	switch {
	case g.option.list:
		return g.names
	case g.names != nil:
		return g.names[0]
	case len(g.option.args) == 0:
		return true
	case len(g.option.args) == 1:
		return dataOf(g.args[0])
	}
	o := ordered{}
	o.arguments(g.option.args, g.args)
	return o
}

// arguments adds arguments by name.
func (o *ordered) arguments(args []argument, values []any) {
	for i, a := range args {
		if values[i] != nil {
			o.add(a.name, dataOf(values[i]))
		}
	}
}

// ordered is an object whose members keep their order.
type ordered []pair

type pair struct {
	name  string
	value any
}

func (o *ordered) add(name string, value any) { *o = append(*o, pair{name, value}) }

// MarshalJSON writes the members in their order.
func (o ordered) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, p := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		for j, part := range []any{p.name, p.value} {
			encoder := json.NewEncoder(&b)
			encoder.SetEscapeHTML(false)
			if err := encoder.Encode(part); err != nil {
				return nil, err
			}
			b.Truncate(b.Len() - 1)
			if j == 0 {
				b.WriteByte(':')
			}
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// indented returns the file with a line for each layer.
func (o ordered) indented() []byte {
	var b bytes.Buffer
	var write func(value any, indent string)
	write = func(value any, indent string) {
		switch v := value.(type) {
		case ordered:
			if strings.Count(indent, "  ") < 3 && !isLayer(v) {
				b.WriteString("{\n")
				for i, p := range v {
					fmt.Fprintf(&b, "%s  %s: ", indent, encoded(p.name))
					write(p.value, indent+"  ")
					if i < len(v)-1 {
						b.WriteByte(',')
					}
					b.WriteByte('\n')
				}
				b.WriteString(indent + "}")
				return
			}
			b.WriteString("{")
			for i, p := range v {
				if i > 0 {
					b.WriteString(", ")
				}
				fmt.Fprintf(&b, "%s: ", encoded(p.name))
				write(p.value, indent+"      ")
			}
			b.WriteString("}")
		case []ordered:
			if len(v) == 0 {
				b.WriteString("[]")
				return
			}
			b.WriteString("[\n")
			for i, one := range v {
				b.WriteString(indent + "  ")
				write(one, indent+"      ")
				if i < len(v)-1 {
					b.WriteByte(',')
				}
				b.WriteByte('\n')
			}
			b.WriteString(indent + "]")
		default:
			b.Write(encoded(v))
		}
	}
	write(o, "")
	b.WriteByte('\n')
	return b.Bytes()
}

func isLayer(o ordered) bool { return len(o) > 0 && (o[0].name == "kind" || o[0].name == "use") }

// encoded returns a value in JSON. What is written here can always be encoded.
func encoded(value any) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// fileWriter writes layers as configuration.
type fileWriter struct {
	budgets  []policy.Budget
	list     ordered // of budgets
	problems policy.ConfigError
}

// layer returns a layer as it stands in a file, nil for one that stands there by itself.
func (f *fileWriter) layer(layer policy.Layer) ordered {
	stage := policy.Stage(0)
	if placed, ok := layer.(policy.Placed); ok {
		layer, stage = placed.Layer, placed.Stage()
	}
	if _, ok := layer.(*retry.ConcurrencyBudget); ok {
		return nil // comes with the retry or hedge that uses it
	}
	reporter, ok := layer.(policy.Reporter)
	report := policy.Report{}
	if ok {
		report = reporter.Report()
	}
	var o ordered
	k := kindOfReport(report)
	switch {
	case report.Kind == "keyed":
		f.problems.Add("%v: a layer per key cannot be written", layer)
		return nil
	case k == nil:
		o = ordered{{"kind", "layer"}, {"layer", fmt.Sprintf("%T", layer)}}
	default:
		o = ordered{{"kind", k.name}}
		for _, setting := range report.Settings {
			f.setting(&o, setting, layer)
		}
	}
	if stage != 0 {
		if name := stageName(stage); stages[name] == stage {
			o.add("stage", name)
		} else {
			o.add("stage", int(stage))
		}
	}
	return o
}

// kindOfReport returns the kind of a layer of this module, nil if it is none.
func kindOfReport(report policy.Report) *kind {
	switch report.Kind {
	case "rate limiter":
		return ratelimitKind
	case "total timeout", "attempt timeout", "abandoning timeout":
		return timeoutKind
	case "breaker", "retry", "bulkhead", "hedge", "throttle":
		return kindNamed(report.Kind)
	}
	return nil
}

// setting adds an option as it was configured.
func (f *fileWriter) setting(o *ordered, s policy.Setting, layer policy.Layer) {
	key := strings.ToLower(s.Name[:1]) + s.Name[1:]
	switch {
	case s.Name == "Shadow":
		o.add("mode", "shadow")
	case s.Name == "Name":
		if name := s.Args[0].Value; name != "" {
			o.add("name", name)
		}
	case s.Name == "New":
		for _, a := range s.Args {
			o.add(a.Name, dataOf(a.Value))
		}
	case s.Name == "WithBudget":
		f.withBudget(o, layer)
	case s.Code && key == "onChange":
		for i := range *o {
			if (*o)[i].name == key { // several subscribers
				names := (*o)[i].value.([]string)
				(*o)[i].value = append(names, fmt.Sprintf("%s %d", key, len(names)+1))
				return
			}
		}
		o.add(key, []string{key})
	case s.Code && key == "retryRejections":
		o.add(key, []string{key})
	case s.Code:
		o.add(key, key)
	case len(s.Args) == 0:
		o.add(key, true)
	default:
		o.add(key, valueOf(s.Args))
	}
}

// withBudget adds the budget that a retry or hedge pays from.
func (f *fileWriter) withBudget(o *ordered, layer policy.Layer) {
	user, ok := layer.(policy.BudgetUser)
	if !ok {
		return
	}
	budget := user.Budget()
	nameOf := func(i int) string {
		if i == 0 {
			return "budget"
		}
		return "budget " + strconv.Itoa(i+1)
	}
	if reflect.ValueOf(budget).Comparable() {
		for i, other := range f.budgets {
			if reflect.ValueOf(other).Comparable() && other == budget {
				o.add("withBudget", nameOf(i))
				return
			}
		}
	}
	name := nameOf(len(f.budgets))
	f.budgets = append(f.budgets, budget)
	o.add("withBudget", name)
	kind := ""
	switch budget.(type) {
	case *retry.Budget:
		kind = "budget"
	case *retry.TokenBudget:
		kind = "tokenBudget"
	case *retry.ConcurrencyBudget:
		kind = "concurrencyBudget"
	default:
		return // of the program
	}
	one := ordered{{"kind", kind}}
	for _, s := range budget.(policy.Reporter).Report().Settings {
		for _, a := range s.Args {
			one.add(a.Name, dataOf(a.Value))
		}
	}
	f.list.add(name, one)
}

// valueOf returns arguments as an option has them: one as it is, several by name.
func valueOf(args []policy.Argument) any {
	if len(args) == 1 {
		return dataOf(args[0].Value)
	}
	o := ordered{}
	for _, a := range args {
		o.add(a.Name, dataOf(a.Value))
	}
	return o
}

func dataOf(value any) any {
	switch v := value.(type) {
	case time.Duration:
		return v.String()
	case float64:
		if math.IsInf(v, 1) {
			return "+Inf"
		}
	}
	return value
}
