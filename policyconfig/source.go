package policyconfig

import (
	"bytes"
	"errors"
	"fmt"
	"go/format"
	"go/token"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-resilience/resilience/policy"
)

// Go returns a configuration as Go source: a file of package pipelines with a function Pipelines that returns the
// pipelines by name, composed as a person would write them. The function takes a [Registry] if the configuration refers
// to code. Disabled layers are left out. Inherited options are written out. Environment variables do not count.
//
// The code that data refers to need not exist. The error is an [*Error], as from [Load].
func Go(data []byte) ([]byte, error) {
	found := &problems{}
	f := decodeLoosely(data, found)
	if err := found.err(""); err != nil {
		return nil, err
	}
	w := &writer{imports: make(map[string]bool), names: map[string]string{}, used: map[string]bool{}, taken: map[string]bool{"registry": true, "pipelines": true}}
	for _, k := range kinds {
		w.taken[k.name] = true
	}
	for _, name := range []string{"resilience", "policy", "keyed", "time", "math", "string", "nil", "map", "context", "policyconfig"} {
		w.taken[name] = true
	}
	return w.file(f)
}

// decodeLoosely decodes a configuration whose code is not at hand: stand-ins take its place.
func decodeLoosely(data []byte, found *problems) *file {
	registry := standIns(data)
	f := decode(data, registry, found)
	if found.count() == 0 {
		rehearse(f, registry, found)
	}
	return f
}

// standIns returns a registry in which every text of the data is registered as everything.
func standIns(data []byte) *Registry {
	r := &Registry{}
	root := parse(data, &problems{})
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		field := v.Field(i)
		if field.Kind() != reflect.Map {
			continue
		}
		field.Set(reflect.MakeMap(field.Type()))
		name := v.Type().Field(i).Name
		if name == "Budgets" || name == "Check" { // those of the file; what it is for is not known
			continue
		}
		root.eachText(func(text string) {
			if value := standIn(name, field.Type().Elem(), text); value.IsValid() {
				field.SetMapIndex(reflect.ValueOf(text), value)
			}
		})
	}
	root.eachBudget(func(name string) {
		if r.Budgets == nil {
			r.Budgets = map[string]policy.Budget{}
		}
		r.Budgets[name] = &standInBudget{}
	})
	return r
}

func (n *node) eachText(f func(string)) {
	if n == nil {
		return
	}
	if n.kind == text {
		f(n.text)
	}
	for _, m := range n.members {
		m.value.eachText(f)
	}
	for _, item := range n.items {
		item.eachText(f)
	}
}

// eachBudget calls f for the budgets that the configuration refers to and does not have.
func (n *node) eachBudget(f func(string)) {
	own := n.get("budgets")
	var visit func(n *node)
	visit = func(n *node) {
		if n == nil {
			return
		}
		if b := n.get("withBudget"); b != nil && b.kind == text && own.get(b.text) == nil {
			f(b.text)
		}
		for _, m := range n.members {
			visit(m.value)
		}
		for _, item := range n.items {
			visit(item)
		}
	}
	visit(n)
}

// writer writes Go source.
type writer struct {
	body    bytes.Buffer
	imports map[string]bool
	names   map[string]string // the variables of shared policies and budgets
	taken   map[string]bool
	used    map[string]bool // variables that were referred to
	code    bool            // refers to the registry
}

const module = "github.com/go-resilience/resilience"

func (w *writer) file(f *file) ([]byte, error) {
	w.imports[module] = true
	for _, b := range f.budgets {
		w.names["budget "+b.name] = w.variable("budget " + b.name)
	}
	used := make(map[string]bool)
	for _, p := range f.pipelines {
		for _, l := range p.layers {
			if l.use != "" && l.enabled {
				used[l.use] = true
			}
		}
	}
	policies := make(map[string]*layer)
	for _, l := range f.policies {
		name := l.id[len("policies/"):]
		policies[name] = l
		if !used[name] || !l.enabled {
			continue
		}
		w.names["policy "+name] = w.variable(name)
		fmt.Fprintf(&w.body, "%s := %s\n", w.names["policy "+name], w.layer(l))
	}
	w.body.WriteString("return map[string]*resilience.Pipeline{\n")
	for _, p := range f.pipelines {
		fmt.Fprintf(&w.body, "%s: resilience.Compose(\n", strconv.Quote(p.key))
		w.pipeline(p, policies)
		w.body.WriteString("),\n")
	}
	w.body.WriteString("}\n")

	// A variable that nothing uses would not compile.
	var budgets strings.Builder
	for _, b := range f.budgets {
		name := w.names["budget "+b.name]
		if !w.used[name] {
			continue
		}
		w.imports[module+"/retry"] = true
		args := make([]string, len(b.args))
		for i, arg := range b.args {
			args[i] = w.value(arg)
		}
		fmt.Fprintf(&budgets, "%s := retry.New%s(%s)\n", name, strings.ToUpper(b.kind.key[:1])+b.kind.key[1:], strings.Join(args, ", "))
	}
	body := budgets.String() + w.body.String()
	var out bytes.Buffer
	out.WriteString("// Package pipelines was written by policyconfig.Go.\npackage pipelines\n\nimport (\n")
	if w.code {
		w.imports[module+"/policyconfig"] = true
	}
	paths := slices.Sorted(maps.Keys(w.imports))
	for _, standard := range []bool{true, false} {
		for _, path := range paths {
			if !strings.Contains(path, ".") == standard {
				fmt.Fprintf(&out, "%q\n", path)
			}
		}
		out.WriteString("\n")
	}
	parameter := ""
	if w.code {
		parameter = "registry policyconfig.Registry"
	}
	fmt.Fprintf(&out, ")\n\n// Pipelines returns the pipelines by name. Call it once.\nfunc Pipelines(%s) map[string]*resilience.Pipeline {\n%s}\n", parameter, body)
	source, err := format.Source(out.Bytes())
	if err != nil {
		return nil, errors.Join(errors.New("policyconfig: the generated source is not valid"), err)
	}
	return source, nil
}

func (w *writer) pipeline(p *pipeline, policies map[string]*layer) {
	if p.name != "" {
		fmt.Fprintf(&w.body, "resilience.Name(%s),\n", strconv.Quote(p.name))
	}
	if p.classify != nil {
		fmt.Fprintf(&w.body, "resilience.Classify(%s),\n", w.registered(p.classify, 0))
	}
	if p.observe != nil {
		for i := range p.observe.names {
			fmt.Fprintf(&w.body, "resilience.Observe(%s),\n", w.registered(p.observe, i))
		}
	}
	var composed []string
	for _, l := range p.layers {
		if !l.enabled {
			continue
		}
		source, spec := "", l
		if l.use == "" {
			source = w.layer(l)
		} else {
			if spec = policies[l.use]; !spec.enabled {
				continue
			}
			source = w.names["policy "+l.use]
		}
		if l.stage != 0 {
			w.imports[module+"/policy"] = true
			source = fmt.Sprintf("policy.At(%s, %s)", w.stage(l.stage), source)
		}
		w.body.WriteString(source + ",\n")
		for _, g := range spec.given {
			if g.option.code != "Budgets" {
				continue
			}
			name := w.names["budget "+g.names[0]]
			if _, isLayer := g.resolved[0].(policy.Layer); isLayer && name != "" && !slices.Contains(composed, name) {
				composed = append(composed, name)
				w.body.WriteString(name + ",\n")
			}
		}
	}
}

func (w *writer) stage(stage policy.Stage) string {
	for name, s := range stages {
		if s == stage {
			return "policy.Stage" + strings.ToUpper(name[:1]) + name[1:]
		}
	}
	return strconv.Itoa(int(stage))
}

// layer returns the call that makes a layer.
func (w *writer) layer(l *layer) string {
	if l.kind == nil {
		return w.registered(l.given[0], 0)
	}
	w.imports[module+"/"+l.kind.name] = true
	call := w.call(l)
	if l.perKey == nil || l.perKey.room() != nil {
		return call
	}
	w.imports[module+"/keyed"] = true
	typ := map[*kind]string{
		breakerKind: "*breaker.Breaker", ratelimitKind: "*ratelimit.Limiter", bulkheadKind: "*bulkhead.Bulkhead",
		throttleKind: "*throttle.Throttle", timeoutKind: "*timeout.Timeout",
	}[l.kind]
	options := ""
	for _, g := range l.perKey.given {
		options += ", " + w.option("keyed", g)
	}
	w.code = true
	return fmt.Sprintf("keyed.By(registry.Keys[%q], keyed.New(func(string) %s {\nreturn %s\n}%s))", l.perKey.name, typ, call, options)
}

func (w *writer) call(l *layer) string {
	name := l.kind.name + "." + l.constructor.name()
	var args []string
	room := l.perKey.room()
	if room != nil {
		name = "ratelimit.NewPerKey"
		perSecond, burst := l.rate()
		args = []string{w.value(perSecond), w.value(burst), fmt.Sprintf("registry.Keys[%q]", l.perKey.name)}
		w.code = true
	} else if l.constructor.key == "adaptive" {
		algorithm := map[string]string{"aimd": "AIMD", "gradient2": "Gradient2", "vegas": "Vegas"}[l.args[0].(string)]
		target := ""
		if l.args[1] != nil {
			target = w.value(l.args[1])
		}
		args = []string{fmt.Sprintf("bulkhead.%s(%s)", algorithm, target), w.value(l.args[2]), w.value(l.args[3])}
	} else {
		for _, arg := range l.args {
			args = append(args, w.value(arg))
		}
	}
	for _, g := range l.given {
		switch {
		case g.option == modeOption:
			args = append(args, l.kind.name+".Shadow()")
		case g.option.key == "onChange":
			for i := range g.names {
				args = append(args, fmt.Sprintf("%s.OnChange(%s)", l.kind.name, w.registered(g, i)))
			}
		default:
			args = append(args, w.option(l.kind.name, g))
		}
	}
	if room != nil {
		args = append(args, w.option("ratelimit", room))
	}
	return name + "(" + strings.Join(args, ", ") + ")"
}

func (w *writer) option(pkg string, g *given) string {
	var args []string
	for _, arg := range g.args {
		args = append(args, w.value(arg))
	}
	for i := range g.names {
		args = append(args, w.registered(g, i))
	}
	return pkg + "." + g.option.name() + "(" + strings.Join(args, ", ") + ")"
}

// sentinels are the names in Go of the reasons that a file can name.
var sentinels = map[string]string{
	"breaker.open": "breaker.ErrOpen", "throttle.throttled": "throttle.ErrThrottled", "retry.budget": "retry.ErrBudget",
	"timeout.max_running": "timeout.ErrMaxRunning",
	"ratelimit.limited":   "ratelimit.ErrLimited", "ratelimit.deadline": "ratelimit.ErrDeadline", "ratelimit.full": "ratelimit.ErrQueueFull",
	"ratelimit.cost": "ratelimit.ErrCost", "ratelimit.exhausted": "ratelimit.ErrExhausted",
	"bulkhead.full": "bulkhead.ErrFull", "bulkhead.queue_full": "bulkhead.ErrQueueFull", "bulkhead.queue_timeout": "bulkhead.ErrQueueTimeout",
	"bulkhead.weight": "bulkhead.ErrTooHeavy", "bulkhead.deadline": "bulkhead.ErrDeadline", "bulkhead.draining": "bulkhead.ErrDraining",
}

// registered returns the expression for code.
func (w *writer) registered(g *given, i int) string {
	name := g.names[i]
	switch g.option.code {
	case "Budgets":
		if variable := w.names["budget "+name]; variable != "" {
			w.used[variable] = true
			return variable
		}
	case "Rejection":
		if sentinel := sentinels[name]; sentinel != "" {
			pkg, _, _ := strings.Cut(sentinel, ".")
			w.imports[module+"/"+pkg] = true
			return sentinel
		}
	}
	w.code = true
	expression := fmt.Sprintf("registry.%s[%s]", g.option.code, strconv.Quote(name))
	if g.option.code == "Rand" {
		expression += "()"
	}
	return expression
}

func (w *writer) value(value any) string {
	switch v := value.(type) {
	case time.Duration:
		source := durationSource(v)
		if strings.Contains(source, "time.") {
			w.imports["time"] = true
		}
		return source
	case float64:
		if math.IsInf(v, 1) {
			w.imports["math"] = true
			return "math.Inf(1)"
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		return strconv.Quote(v)
	}
	return fmt.Sprint(value)
}

func durationSource(d time.Duration) string {
	for _, unit := range []struct {
		d    time.Duration
		name string
	}{{time.Hour, "Hour"}, {time.Minute, "Minute"}, {time.Second, "Second"}, {time.Millisecond, "Millisecond"}, {time.Microsecond, "Microsecond"}} {
		switch {
		case d == unit.d:
			return "time." + unit.name
		case d != 0 && d%unit.d == 0:
			return fmt.Sprintf("%d*time.%s", d/unit.d, unit.name)
		}
	}
	return strconv.FormatInt(int64(d), 10)
}

// variable returns a name that is not taken.
func (w *writer) variable(name string) string {
	var b strings.Builder
	upper := false
	for _, r := range name {
		switch {
		case !unicode.IsLetter(r) && !(unicode.IsDigit(r) && b.Len() > 0):
			upper = b.Len() > 0
			continue
		case upper:
			r = unicode.ToUpper(r)
		case b.Len() == 0:
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
		upper = false
	}
	base := b.String()
	if base == "" || token.IsKeyword(base) || !token.IsIdentifier(base) {
		base = "shared" + strings.ToUpper(base[:min(1, len(base))]) + base[min(1, len(base)):]
	}
	for i, name := 2, base; ; i++ {
		if !w.taken[name] && !predeclared[name] {
			w.taken[name] = true
			return name
		}
		name = base + strconv.Itoa(i)
	}
}

var predeclared = map[string]bool{"true": true, "false": true, "iota": true, "len": true, "cap": true, "new": true, "make": true, "error": true, "any": true, "_": true, "init": true, "main": true}
