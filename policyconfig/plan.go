package policyconfig

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

func (t *transition) note(c Change) { t.changes.List = append(t.changes.List, c) }

// budgets finds what becomes of the retry budgets.
func (t *transition) budgets(now *assembly) {
	for _, b := range t.next.file.budgets {
		where := "budget " + b.name
		old := now.budgets[b.name]
		if old == nil || old.spec.kind != b.kind {
			t.next.budgets[b.name] = b.make()
			change := Change{Kind: Added, Where: where, What: inWords(b.kind.key), Pointer: b.node.pointer}
			if old != nil {
				change.Kind, change.Lost = Replaced, stateInWords(old.budget)
			}
			t.news[where] = true // also when it was the program's before
			t.note(change)
			continue
		}
		t.next.budgets[b.name] = &sharedBudget{b, old.budget}
		if slices.Equal(old.spec.args, b.args) {
			continue
		}
		t.steps = append(t.steps, step{
			budget: b,
			do:     func() error { return reconfigureBudget(old.budget, b.args) },
			undo:   func() error { return reconfigureBudget(old.budget, old.spec.args) },
		})
		t.note(Change{
			Kind: Reconfigured, Where: where, Pointer: b.node.pointer, Kept: stateInWords(old.budget),
			Options: argumentChanges(b.kind.args, "", old.spec.args, b.args),
		})
	}
	for _, b := range now.file.budgets {
		if t.next.budgets[b.name] == nil {
			t.note(Change{Kind: Removed, Where: "budget " + b.name})
			t.news["budget "+b.name] = true // who still uses the name means the program's
		}
	}
}

func reconfigureBudget(budget policy.Budget, args []any) error {
	a := actual{args: args}
	switch budget := budget.(type) {
	case *retry.Budget:
		return budget.Reconfigure(a.number(0), a.number(1))
	case *retry.TokenBudget:
		return budget.Reconfigure(a.integer(0), a.number(1))
	case *retry.ConcurrencyBudget:
		return budget.Reconfigure(a.number(0), a.integer(1))
	}
	panic(fmt.Sprintf("policyconfig: budget of type %T", budget))
}

// layers finds what becomes of the layers.
func (t *transition) layers(now *assembly) {
	f := t.next.file
	for _, l := range f.policies {
		where := "policy " + l.id[len("policies/"):]
		t.layer(now, l, where, l.words())
		if old := now.instances[l.id]; old != nil && old.spec.enabled != l.enabled {
			t.note(Change{Kind: Moved, Where: where, What: l.words(), Why: l.enabledWord(), Pointer: l.node.pointer})
		}
	}
	for _, p := range f.pipelines {
		for _, l := range p.layers {
			if l.use == "" {
				t.layer(now, l, p.key, p.label(l))
			}
		}
	}
	for _, l := range now.file.policies {
		if t.next.instances[l.id] == nil {
			t.note(Change{Kind: Removed, Where: "policy " + l.id[len("policies/"):], What: l.words(), Lost: stateInWords(now.instances[l.id].layer)})
		}
	}
	for _, p := range now.file.pipelines {
		if !slices.ContainsFunc(f.pipelines, func(q *pipeline) bool { return q.key == p.key }) {
			continue // said of the whole pipeline
		}
		for _, l := range p.layers {
			if l.use == "" && t.next.instances[l.id] == nil {
				t.note(Change{Kind: Removed, Where: p.key, What: p.label(l), Lost: stateInWords(now.instances[l.id].layer)})
			}
		}
	}
}

func (l *layer) enabledWord() string {
	if l.enabled {
		return "is enabled"
	}
	return "is disabled"
}

// words returns the kind of layer in words.
func (l *layer) words() string {
	switch {
	case l.use != "":
		return "policy " + l.use
	case l.kind == nil:
		return "layer " + l.given[0].names[0]
	case l.kind == ratelimitKind:
		return "rate limiter"
	case l.kind == timeoutKind && l.constructor.key == "total":
		return "total timeout"
	case l.kind == timeoutKind && l.constructor.key == "abandon":
		return "abandoning timeout"
	case l.kind == timeoutKind:
		return "attempt timeout"
	}
	return l.kind.name
}

// label returns what a layer is called in its pipeline: with its name where there are several of a kind.
func (p *pipeline) label(l *layer) string {
	same := 0
	for _, other := range p.layers {
		if other.words() == l.words() {
			same++
		}
	}
	if name := l.name(); same > 1 && name != "" {
		return l.words() + " " + strconv.Quote(name)
	}
	return l.words()
}

// layer finds what becomes of a layer.
func (t *transition) layer(now *assembly, l *layer, where, what string) {
	t.next.resolve(l)
	change := Change{Where: where, What: what, Pointer: l.node.pointer}
	old := now.instances[l.id]
	if old == nil {
		t.next.instances[l.id] = l.make()
		change.Kind = Added
		if strings.HasPrefix(l.id, "policies/") || now.pipelines[where] != nil { // a new pipeline says it for its layers
			t.note(change)
		}
		return
	}
	if why := t.irreconcilable(old.spec, l); why != "" {
		t.next.instances[l.id] = l.make()
		change.Kind, change.Why, change.Lost = Replaced, why, stateInWords(old.layer)
		t.note(change)
		return
	}
	kept := &instance{l, old.layer, old.fleet}
	t.next.instances[l.id] = kept
	if change.Options = optionChanges(old.spec, l); len(change.Options) > 0 {
		change.Kind, change.Kept = Reconfigured, stateInWords(old.layer)
		t.note(change)
		t.steps = append(t.steps, kept.step(old.spec))
	}
	t.differences(old.spec, kept, change)
}

// step returns the change of an instance from one description to another.
func (i *instance) step(before *layer) step {
	if i.fleet != nil {
		change := func(before, l *layer) error {
			if err := i.fleet.registry().Reconfigure(l.perKey.options()...); err != nil {
				return err
			}
			return i.fleet.reconfigure(before, l)
		}
		return step{
			layer: i.spec,
			do:    func() error { return change(before, i.spec) },
			undo:  func() error { return change(i.spec, before) },
		}
	}
	was := false
	return step{
		layer: i.spec,
		do: func() error {
			was = mode(i.layer)
			return i.spec.kind.room.reconfigure(i.layer, before, i.spec, keptMode(i.layer, before, i.spec))
		},
		undo: func() error { return i.spec.kind.room.reconfigure(i.layer, i.spec, before, was) },
	}
}

// mode returns whether a layer is in shadow.
func mode(layer policy.Layer) bool {
	reporter, ok := layer.(policy.Reporter)
	return ok && reporter.Report().Shadow
}

// differences notes what was set by hand.
func (t *transition) differences(before *layer, i *instance, change Change) {
	if i.spec.kind == nil {
		return
	}
	differs := func(layer policy.Layer) string {
		reporter, ok := layer.(policy.Reporter)
		if !ok {
			return ""
		}
		report := reporter.Report()
		switch shadow := keptMode(layer, before, i.spec); {
		case !i.spec.kind.shadowing:
		case shadow && !i.spec.shadow():
			return "is in shadow by hand, the configuration says enforce"
		case !shadow && i.spec.shadow():
			return "is enforced by hand, the configuration says shadow"
		}
		switch state := report.State.Name; state {
		case "forced open", "forced closed":
			return "is " + state + " by hand"
		case "draining":
			return "drains"
		}
		return ""
	}
	note := func(why string) {
		t.note(Change{Kind: Differs, Where: change.Where, What: change.What, Pointer: change.Pointer, Why: why})
	}
	if i.fleet == nil {
		if why := differs(i.layer); why != "" {
			note(why)
		}
		return
	}
	count := make(map[string]int)
	i.fleet.each(func(layer policy.Layer) {
		if why := differs(layer); why != "" {
			count[why]++
		}
	})
	for _, why := range sortedKeys(count) {
		note(fmt.Sprintf("%s, for %d keys", why, count[why]))
	}
}

// irreconcilable returns why a layer cannot become another one while it runs, "" if it can.
func (t *transition) irreconcilable(before, l *layer) string {
	switch {
	case before.kind != l.kind:
		return fmt.Sprintf("%s to %s", before.words(), l.words())
	case l.kind == nil:
		return ""
	case before.constructor != l.constructor && l.kind != ratelimitKind:
		return fmt.Sprintf("%s to %s", before.shape(), l.shape())
	case before.name() != l.name():
		return fmt.Sprintf("name %q to %q", before.name(), l.name())
	case (before.perKey == nil) != (l.perKey == nil):
		if l.perKey == nil {
			return "one for all keys"
		}
		return "one for each key"
	case l.perKey != nil && before.perKey.name != l.perKey.name:
		return fmt.Sprintf("per key %q to %q", before.perKey.name, l.perKey.name)
	case l.perKey.room() != nil && before.perKey.room() == nil:
		return "a bucket for each key in place of a limiter"
	case l.perKey.room() == nil && before.perKey.room() != nil:
		return "a limiter for each key in place of a bucket"
	}
	for _, o := range l.kind.options {
		old, now := before.find(o), l.find(o)
		switch {
		case o.replaces && !old.same(now):
			return fmt.Sprintf("%s %s to %s", o.say(), old.shown(), now.shown())
		case o.code == "Budgets" && now != nil && t.news["budget "+now.names[0]]:
			return fmt.Sprintf("budget %q is a new one", now.names[0])
		case o.code != "" && old != nil && now == nil && !l.displaces(o):
			return fmt.Sprintf("%s %s taken away", o.say(), old.shown())
		}
	}
	return ""
}

// displaces reports whether another source of delays takes the place of one that is code.
func (l *layer) displaces(o *option) bool {
	given := func(keys ...string) bool {
		return slices.ContainsFunc(l.given, func(g *given) bool { return slices.Contains(keys, g.option.key) })
	}
	return l.kind == retryKind && (o.key == "backOff" && given("exponential", "constant", "delay") || o.key == "delay" && given("constant", "backOff"))
}

// shape returns what a layer is made by.
func (l *layer) shape() string {
	if l.constructor.key == "" {
		return "fixed"
	}
	return inWords(l.constructor.key)
}

// optionChanges returns the options that get another value.
func optionChanges(before, l *layer) (changes []OptionChange) {
	if l.kind == nil {
		return nil
	}
	if before.constructor == l.constructor {
		changes = argumentChanges(l.constructor.args, "", before.args, l.args)
	} else { // ways to write a rate
		oldRate, oldBurst := before.rate()
		rate, burst := l.rate()
		changes = argumentChanges(ratelimitKind.constructors[0].args, "", []any{oldRate, oldBurst}, []any{rate, burst})
	}
	options := l.kind.options
	if l.kind.shadowing {
		options = append(slices.Clip(options), modeOption)
	}
	for _, o := range options {
		changes = append(changes, optionChange(o, before.find(o), l.find(o))...)
	}
	if l.perKey != nil {
		find := func(p *perKey, o *option) *given {
			for _, g := range p.given {
				if g.option == o {
					return g
				}
			}
			return nil
		}
		for _, o := range perKeyOptions {
			changes = append(changes, optionChange(o, find(before.perKey, o), find(l.perKey, o))...)
		}
	}
	return changes
}

func optionChange(o *option, old, now *given) []OptionChange {
	switch {
	case old.same(now):
		return nil
	case old != nil && now != nil && len(o.args) > 1:
		return argumentChanges(o.args, o.key, old.args, now.args)
	}
	change := OptionChange{Option: o.key, Words: o.say(), From: old.shown(), To: now.shown()}
	if o.otherwise != "" && old == nil {
		change.From = o.otherwise
	}
	if o.otherwise != "" && now == nil {
		change.To = o.otherwise
	}
	if o.otherwise != "" && change.From == change.To { // the default was written out, or left out
		return nil
	}
	return []OptionChange{change}
}

// argumentChanges returns the arguments that get another value.
func argumentChanges(args []argument, key string, old, now []any) (changes []OptionChange) {
	for i, a := range args {
		if old[i] == now[i] {
			continue
		}
		change := OptionChange{Option: a.name, Words: inWords(a.name), From: shownValue(old[i]), To: shownValue(now[i])}
		switch {
		case key == "" && a.name == "limit": // of what is itself a limit
			change.Words = ""
		case key != "":
			change.Option, change.Words = key+"/"+a.name, inWords(key)+" "+inWords(a.name)
		}
		changes = append(changes, change)
	}
	return changes
}

// shown returns what was given in words.
func (g *given) shown() string {
	switch {
	case g == nil:
		return "none"
	case g.names != nil:
		return strings.Join(g.names, ", ")
	case len(g.args) == 0:
		return "on"
	case len(g.args) == 1:
		return shownValue(g.args[0])
	}
	parts := make([]string, len(g.args))
	for i, arg := range g.args {
		parts[i] = inWords(g.option.args[i].name) + " " + shownValue(arg)
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

func shownValue(value any) string {
	switch v := value.(type) {
	case nil:
		return "none"
	case float64:
		if math.IsInf(v, 1) {
			return "no limit"
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	case time.Duration:
		return v.String()
	}
	return fmt.Sprint(value)
}

// pipelines finds what becomes of the pipelines as a whole.
func (t *transition) pipelines(now *assembly) {
	for _, p := range t.next.file.pipelines {
		old := now.pipelines[p.key]
		if old == nil {
			t.note(Change{Kind: Added, Where: p.key, Pointer: p.node.pointer})
			continue
		}
		t.pipeline(old.spec, p)
	}
	for _, p := range now.file.pipelines {
		if !slices.ContainsFunc(t.next.file.pipelines, func(q *pipeline) bool { return q.key == p.key }) {
			t.note(Change{Kind: Removed, Where: p.key, Why: "those who hold it keep what it was"})
		}
	}
}

// pipeline notes what changes of a pipeline besides the options of its layers.
func (t *transition) pipeline(old, p *pipeline) {
	moved := func(what, why string) {
		t.note(Change{Kind: Moved, Where: p.key, What: what, Why: why, Pointer: p.node.pointer})
	}
	if old.name != p.name {
		moved("", fmt.Sprintf("name %q to %q", old.name, p.name))
	}
	if !old.classify.same(p.classify) {
		moved("", fmt.Sprintf("classify %s to %s", old.classify.shown(), p.classify.shown()))
	}
	if !old.observe.same(p.observe) {
		moved("", fmt.Sprintf("observe %s to %s", old.observe.shown(), p.observe.shown()))
	}
	byID := make(map[string]*layer)
	for _, l := range old.layers {
		byID[l.id] = l
	}
	var order []string
	for _, l := range p.layers {
		before := byID[l.id]
		if before == nil {
			if l.use != "" {
				t.note(Change{Kind: Added, Where: p.key, What: l.words(), Pointer: l.node.pointer})
			}
			continue
		}
		order = append(order, l.id)
		if before.enabled != l.enabled {
			t.note(Change{Kind: Moved, Where: p.key, What: p.label(l), Why: l.enabledWord(), Pointer: l.node.pointer})
		}
		if before.stage != l.stage {
			t.note(Change{
				Kind: Moved, Where: p.key, What: p.label(l), Pointer: l.node.pointer,
				Why: fmt.Sprintf("stage %s to %s", stageWord(before.stage), stageWord(l.stage)),
			})
		}
	}
	var before []string
	for _, l := range old.layers {
		if slices.Contains(order, l.id) {
			before = append(before, l.id)
		} else if l.use != "" {
			t.note(Change{Kind: Removed, Where: p.key, What: l.words()})
		}
	}
	if !slices.Equal(before, order) {
		moved("", "order of the layers")
	}
}

func stageWord(stage policy.Stage) string {
	if stage == 0 {
		return "its own"
	}
	return stage.String()
}
