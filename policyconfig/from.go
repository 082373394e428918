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
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
)

// From returns a pipeline as a configuration, with its name as the key, or "pipeline" if it has none. For a [Handle] it
// returns what the configuration in force says about the pipeline, including what the pipeline inherits, what it uses,
// and what environment variables set. It does not include modes and states that were set by hand.
//
// For a pipeline written in Go, it writes data as configured. Code is not data: for an option that takes a function it
// writes the name of the option as the name of the code ("if", and "if 2" for a second one), and for a layer from
// outside this module its type. [Load] then asks for these names in its Registry, so nothing is lost silently. A guard
// made by [keyed.By] is written as the overflow value of its registry, and its key function as "key". From cannot tell
// what else the function that makes the values does with a key, nor can it see the Classify and the observers of a
// pipeline.
//
// The error is a [*policy.ConfigError] that names every layer that cannot be written, and what [Load] would refuse, such as a
// name with a line break.
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
	data := root.indented()
	found := &problems{} // of what Go allows and a file does not, such as a name of 201 bytes
	decodeLoosely(data, found)
	for _, problem := range found.list {
		f.problems.Add("%s: %s", shownPointer(problem.Pointer), problem.Message)
	}
	if err := f.problems.Err(); err != nil {
		return nil, err
	}
	return data, nil
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
	o.stage(l.stage)
	return o
}

// stage adds where a layer stands, if that is not its own place.
func (o *ordered) stage(stage policy.Stage) {
	if name := stageName(stage); stages[name] == stage && stage != 0 {
		o.add("stage", name)
	} else if stage != 0 {
		o.add("stage", int(stage))
	}
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
	list     ordered        // of budgets
	names    map[string]int // of code, and how often each was asked for
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
	o := f.policy(layer)
	o.stage(stage)
	return o
}

// policy returns a layer without its stage.
func (f *fileWriter) policy(layer policy.Layer) ordered {
	report := policy.Report{}
	if reporter, ok := layer.(policy.Reporter); ok {
		report = reporter.Report()
	}
	k := kindOfReport(report)
	switch {
	case report.Kind == "keyed":
		return f.perKey(layer, report)
	case report.Kind == "rate limiter per key":
		return f.buckets(layer, report)
	case k == nil:
		return ordered{{"kind", "layer"}, {"layer", f.code(fmt.Sprintf("%T", layer))}}
	}
	o := ordered{{"kind", k.name}}
	for _, setting := range report.Settings {
		f.setting(&o, setting, layer)
	}
	return o
}

// perKey returns a guard of one policy per key as its overflow value, which stands for all.
func (f *fileWriter) perKey(guard policy.Layer, report policy.Report) ordered {
	for _, overflow := range []func(policy.Layer) policy.Layer{
		overflowOf[*breaker.Breaker], overflowOf[*throttle.Throttle], overflowOf[*ratelimit.Limiter], overflowOf[*bulkhead.Bulkhead], overflowOf[*timeout.Timeout],
	} {
		one := overflow(guard)
		if one == nil {
			continue
		}
		o, keys := f.policy(one), ordered{{"key", f.code("key")}}
		for _, s := range report.Settings {
			switch {
			case s.Name == "New": // is the policy itself
			case s.Code:
				f.problems.Add("%v: has the option %s, which a file cannot have", guard, s.Name)
			default:
				keys.add(keyOf(s), valueOf(s.Args))
			}
		}
		o.add("perKey", keys)
		return o
	}
	f.problems.Add("%v: cannot be written: the keys must be of type string, and the guards of one type of this module", guard)
	return nil
}

// buckets returns a limiter with a bucket for each key.
func (f *fileWriter) buckets(layer policy.Layer, report policy.Report) ordered {
	limiter, ok := layer.(*ratelimit.PerKey[string])
	if !ok {
		f.problems.Add("%v: cannot be written: the keys must be of type string", layer)
		return nil
	}
	o := ordered{{"kind", ratelimitKind.name}}
	for _, setting := range report.Settings {
		if setting.Name != "Keys" {
			f.setting(&o, setting, layer)
		}
	}
	o.add("perKey", ordered{{"key", f.code("key")}, {"keys", limiter.Snapshot().MaxKeys}})
	return o
}

func overflowOf[V policy.Guard](layer policy.Layer) policy.Layer {
	if guard, ok := layer.(*keyed.Guard[string, V]); ok {
		return guard.Registry().Overflow()
	}
	return nil
}

// code returns a name for code, which nothing else has: one function need not be the other.
func (f *fileWriter) code(name string) string {
	if f.names == nil {
		f.names = make(map[string]int)
	}
	f.names[name]++
	if n := f.names[name]; n > 1 {
		return fmt.Sprintf("%s %d", name, n)
	}
	return name
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

// keyOf returns the name of an option in a file.
func keyOf(s policy.Setting) string { return strings.ToLower(s.Name[:1]) + s.Name[1:] }

// setting adds an option as it was configured.
func (f *fileWriter) setting(o *ordered, s policy.Setting, layer policy.Layer) {
	key := keyOf(s)
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
				(*o)[i].value = append((*o)[i].value.([]string), f.code(key))
				return
			}
		}
		o.add(key, []string{f.code(key)})
	case s.Code && key == "retryRejections":
		o.add(key, []string{f.code(key)})
	case s.Code:
		o.add(key, f.code(key))
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
