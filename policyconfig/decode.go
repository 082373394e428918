package policyconfig

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
)

// file is a configuration as it is written, checked one value at a time.
type file struct {
	budgets   []*budget
	policies  []*layer
	pipelines []*pipeline
}

// budget is a retry budget that policies share.
type budget struct {
	name string
	kind *option
	args []any
	node *node
}

// pipeline is a pipeline of the file.
type pipeline struct {
	key       string // in the file
	name      string // in events and reports; "" for none
	classify  *given
	observe   *given
	layers    []*layer
	node      *node
	shownName bool // the name is not the key
}

// layer is a layer of a pipeline, or a policy that pipelines share.
type layer struct {
	id          string // what it is recognised by when a file is reloaded
	use         string // the shared policy that stands here; then the rest is empty, but for stage and enabled
	kind        *kind  // nil for a layer of the program
	constructor *option
	args        []any
	given       []*given
	enabled     bool
	stage       policy.Stage // 0 for its own
	perKey      *perKey
	node        *node
}

// given is an option that was given.
type given struct {
	option   *option
	args     []any
	names    []string // of code
	resolved []any    // what is registered under the names
	node     *node
}

// perKey says that a layer stands for one per key.
type perKey struct {
	name  string
	key   func(context.Context) string
	given []*given
	node  *node
}

// What all kinds that have them share.
var (
	nameOption = &option{key: "name", args: []argument{{name: "name", typ: isText}}, doc: "The name, in errors, events and reports."}
	modeOption = &option{
		key: "mode", args: []argument{{name: "mode", typ: isText, choices: []string{"enforce", "shadow"}}}, otherwise: "enforce",
		doc: "\"shadow\" lets the policy refuse nothing and count as if it did.",
	}
	classifyOption = &option{key: "classify", code: "Classify", doc: "Says what the errors of the operation mean, to every policy of the pipeline."}
	observeOption  = &option{key: "observe", code: "Observers", list: true, doc: "Observers of the pipeline."}
	layerOption    = &option{key: "layer", code: "Layers", doc: "A layer of the program."}
	keyOption      = &option{key: "key", code: "Keys", doc: "The function that returns the key of a call."}
)

// room returns for how many keys there are buckets in a single limiter, nil where each key has a policy of its own.
func (p *perKey) room() *given {
	if p != nil {
		for _, g := range p.given {
			if g.option == roomOption {
				return g
			}
		}
	}
	return nil
}

func (p *perKey) options() (options []keyed.Option) {
	for _, g := range p.given {
		options = append(options, g.option.apply(actual{args: g.args}).(keyed.Option))
	}
	return options
}

// find returns what was given for an option, nil if it was not.
func (l *layer) find(o *option) *given {
	for _, g := range l.given {
		if g.option == o {
			return g
		}
	}
	return nil
}

func (l *layer) shadow() bool {
	g := l.find(modeOption)
	return g != nil && g.args[0] == "shadow"
}

func (l *layer) name() string {
	if g := l.find(nameOption); g != nil {
		return g.args[0].(string)
	}
	return ""
}

// gave reports whether l gave an option the same value.
func (l *layer) gave(g *given) bool {
	other := l.find(g.option)
	return other != nil && slices.Equal(other.args, g.args) && slices.Equal(other.names, g.names)
}

// decoder makes a file of nodes and notes everything that is wrong.
type decoder struct {
	registry *Registry
	found    *problems
	policies map[string]string // the kinds of the shared policies
	shared   []string          // their names
	budgets  []string
	window   int // calls and buckets of the windows so far
}

// decode returns the configuration in data; it means something only if found is empty afterwards.
func decode(data []byte, registry *Registry, found *problems) *file {
	root := parse(data, found)
	if root == nil {
		return nil
	}
	d := &decoder{registry: registry, found: found, policies: make(map[string]string)}
	return d.file(root)
}

func (d *decoder) file(root *node) *file {
	f := &file{}
	if !d.members(root, "$schema", "$comment", "budgets", "policies", "pipelines") {
		return f
	}
	if schema := root.get("$schema"); schema != nil {
		d.text(schema)
	}
	if root.get("pipelines") == nil {
		d.found.at(root, "\"pipelines\" is missing")
	}
	override := environment(d.registry)
	for _, m := range d.named(root.get("budgets"), "budget") {
		f.budgets = append(f.budgets, d.budget(m.name, override.object(d, "budgets", m, budgetKeys)))
		d.budgets = append(d.budgets, m.name)
	}
	d.budgets = append(d.budgets, d.registry.names("Budgets")...)
	policies := d.named(root.get("policies"), "policy")
	for _, m := range policies {
		kind := m.value.get("kind")
		if kind != nil {
			d.policies[m.name] = kind.text
		} else {
			d.policies[m.name] = ""
		}
	}
	d.shared = sortedKeys(d.policies)
	for _, m := range policies {
		if l := d.policy(m.name, override.object(d, "policies", m, layerKeys(m.value))); l != nil {
			f.policies = append(f.policies, l)
		}
	}
	for _, m := range d.extend(root.get("pipelines")) {
		f.pipelines = append(f.pipelines, d.pipeline(m.name, override.pipeline(d, m)))
	}
	override.unused(d)
	for _, name := range d.needed() {
		if !slices.ContainsFunc(f.pipelines, func(p *pipeline) bool { return p.key == name }) {
			d.found.at(root, "the pipeline %q is missing, which the program needs", name)
		}
	}
	return f
}

// needed returns the names of the pipelines that the file must have.
func (d *decoder) needed() []string {
	names := slices.Clone(d.registry.Require)
	for _, name := range sortedKeys(d.registry.Check) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// members notes members of an object that are not known, and reports whether it is an object.
func (d *decoder) members(n *node, known ...string) bool {
	if n.kind != object {
		d.found.at(n, "%s: must be an object", n.shown())
		return false
	}
	for _, m := range n.members {
		if !slices.Contains(known, m.name) {
			d.unknown(m, known)
		}
	}
	if comment := n.get("$comment"); comment != nil {
		d.text(comment)
	}
	return true
}

func (d *decoder) unknown(m member, known []string) {
	known = slices.DeleteFunc(slices.Clone(known), func(name string) bool { return name[0] == '$' })
	d.found.add(m.at, m.value.pointer, "%q is not known here%s", clip(m.name), d.found.nearest(m.name, known))
}

// named returns the members of an object of things by name.
func (d *decoder) named(n *node, what string) []member {
	if n == nil {
		return nil
	}
	if n.kind != object {
		d.found.at(n, "%s: must be an object, with a member for each %s", n.shown(), what)
		return nil
	}
	var sound []member
	for _, m := range n.members {
		switch {
		case m.name == "$comment":
			d.text(m.value)
		case !isName(m.name):
			d.found.add(m.at, m.value.pointer, "%q: no name: must be 1 to %d printable characters", clip(m.name), maxName)
		case m.value.kind != object:
			d.found.at(m.value, "%s: must be an object that says what the %s %q is", m.value.shown(), what, clip(m.name))
		case len(sound) == maxNames:
			d.found.add(m.at, m.value.pointer, "more than %d of a kind", maxNames)
			return sound
		default:
			sound = append(sound, m)
		}
	}
	return sound
}

func isName(name string) bool {
	return name != "" && len(name) <= maxName && utf8.ValidString(name) && strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

func (d *decoder) text(n *node) string {
	if n.kind != text && n.kind != setting {
		d.found.at(n, "%s: must be a text", n.shown())
		return ""
	}
	return n.text
}

func (d *decoder) boolean(n *node) bool {
	switch {
	case n.kind == boolean:
		return n.yes
	case n.kind == setting && (n.text == "true" || n.text == "false"):
		return n.text == "true"
	}
	d.found.at(n, "%s: must be true or false", n.shown())
	return false
}

func (d *decoder) budget(name string, n *node) *budget {
	b := &budget{name: name, node: n}
	kinds := make([]string, len(budgetKinds))
	for i, o := range budgetKinds {
		kinds[i] = o.key
	}
	kind := n.get("kind")
	if kind == nil {
		d.found.at(n, "\"kind\" is missing%s", d.found.nearest("", kinds))
		return b
	}
	i := slices.Index(kinds, d.text(kind))
	if i < 0 {
		d.found.at(kind, "%s: no kind of budget%s", kind.shown(), d.found.nearest(kind.text, kinds))
		return b
	}
	b.kind = budgetKinds[i]
	b.args = d.arguments(n, b.kind.args, "kind")
	if b.args != nil && b.args[0] == 0.0 && (b.args[1] == 0.0 || b.args[1] == 0) {
		d.found.at(n, "%s and %s are both 0: must not be, since no extra attempt would ever be made", b.kind.args[0].name, b.kind.args[1].name)
	}
	return b
}

// arguments returns the arguments that the members of an object are, nil if one is wrong or missing.
func (d *decoder) arguments(n *node, args []argument, besides ...string) []any {
	known := append(besides, "$comment")
	for _, a := range args {
		known = append(known, a.name)
	}
	if !d.members(n, known...) {
		return nil
	}
	return d.argumentsOf(n, args)
}

func (d *decoder) argumentsOf(n *node, args []argument) []any {
	values, sound := make([]any, len(args)), true
	for i, a := range args {
		v := n.get(a.name)
		if v == nil {
			if !a.optional {
				d.found.at(n, "%q is missing: %s", a.name, a.allowed())
				sound = false
			}
			continue
		}
		value, ok := a.read(v, d.found)
		values[i] = value
		sound = sound && ok
	}
	if !sound {
		return nil
	}
	return values
}

// value returns what an option was given, nil if it is not given or wrong.
func (d *decoder) value(o *option, n *node) *given {
	g := &given{option: o, node: n}
	switch {
	case n.kind == null:
		d.found.at(n, "null: leave the option out; null only takes away what is inherited")
		return nil
	case o.code != "":
		g.names = d.names(o, n)
		for i, name := range g.names {
			g.resolved = append(g.resolved, d.code(o, name, n, i))
		}
		if g.names == nil || slices.Contains(g.resolved, nil) && o.code != "Budgets" {
			return nil
		}
	case len(o.args) == 0:
		if !d.boolean(n) {
			return nil
		}
	case len(o.args) == 1:
		value, ok := o.args[0].read(n, d.found)
		if !ok {
			return nil
		}
		g.args = []any{value}
	default:
		if g.args = d.arguments(n, o.args); g.args == nil {
			return nil
		}
	}
	return g
}

// names returns the names of code.
func (d *decoder) names(o *option, n *node) []string {
	if !o.list || n.kind == text {
		name := d.text(n)
		if name == "" {
			return nil
		}
		return []string{name}
	}
	if n.kind == setting {
		return strings.Split(n.text, ",")
	}
	if n.kind != array || len(n.items) == 0 {
		d.found.at(n, "%s: must be a name, or a list of names", n.shown())
		return nil
	}
	if len(n.items) > maxList {
		d.found.at(n, "%d names: must be at most %d", len(n.items), maxList)
		return nil
	}
	var names []string
	for _, item := range n.items {
		name := d.text(item)
		if slices.Contains(names, name) {
			d.found.at(item, "%s stands here twice", item.shown())
		}
		names = append(names, name)
	}
	return names
}

// code returns what is registered under a name.
func (d *decoder) code(o *option, name string, n *node, i int) any {
	if n.kind == array {
		n = n.items[i]
	}
	switch o.code {
	case "Budgets":
		if slices.Contains(d.budgets, name) {
			return nil // see assembly.resolve
		}
		d.found.at(n, "%s: no budget of this name%s", n.shown(), d.found.nearest(name, d.budgets))
		return nil
	case "Rejection":
		if reason, ok := rejections[name]; ok {
			return reason
		}
	}
	code := d.registry.lookup(o.code, name)
	if code == nil {
		known := d.registry.names(o.code)
		if o.code == "Rejection" {
			known = append(known, sortedKeys(rejections)...)
		}
		d.found.at(n, "%q: nothing is registered in Registry.%s under this name%s", clip(name), o.code, d.found.nearest(name, known))
	}
	return code
}

func (d *decoder) policy(name string, n *node) *layer {
	l := d.layer(n, name)
	if l == nil {
		return nil
	}
	l.id = "policies/" + name
	return l
}

func (d *decoder) pipeline(key string, n *node) *pipeline {
	p := &pipeline{key: key, name: key, node: n}
	d.members(n, "$comment", "extends", "name", "classify", "observe", "layers")
	if name := n.get("name"); name != nil {
		if g := d.value(nameOption, name); g != nil {
			p.name, p.shownName = g.args[0].(string), true
		}
	}
	if classify := n.get("classify"); classify != nil {
		p.classify = d.value(classifyOption, classify)
	}
	if observe := n.get("observe"); observe != nil {
		p.observe = d.value(observeOption, observe)
	}
	layers := n.get("layers")
	if layers == nil {
		if n.get("extends") == nil { // otherwise it was said of what it extends
			d.found.at(n, "\"layers\" is missing: must be a list, in any order")
		}
		return p
	}
	if layers.kind != array {
		d.found.at(layers, "%s: must be a list of layers", layers.shown())
		return p
	}
	if len(layers.items) > maxList {
		d.found.at(layers, "%d layers: a pipeline can have at most %d", len(layers.items), maxList)
		return p
	}
	count := make(map[string]int)
	for _, item := range layers.items {
		l := d.layer(item, "")
		if l == nil {
			continue
		}
		id := "pipelines/" + key + "/" + l.identity()
		count[id]++
		l.id = id + "#" + strconv.Itoa(count[id])
		p.layers = append(p.layers, l)
	}
	return p
}

// identity is what a layer of a pipeline is recognised by: its kind and its name.
func (l *layer) identity() string {
	switch {
	case l.use != "":
		return "use/" + l.use
	case l.kind == nil:
		return "layer/" + l.given[0].names[0]
	case l.kind == timeoutKind && l.constructor.key != "total":
		return "timeout/attempt"
	}
	return l.kind.name + "/" + l.name()
}

// layer returns a layer, nil if it is wrong. shared is the name of a policy that pipelines share, "" for a layer of one.
func (d *decoder) layer(n *node, shared string) *layer {
	if n.kind != object {
		d.found.at(n, "%s: must be an object with a \"kind\"", n.shown())
		return nil
	}
	before := d.found.count()
	l := &layer{node: n, enabled: true}
	kind, use := n.get("kind"), n.get("use")
	switch {
	case use != nil && shared == "":
		d.use(l, use)
	case kind == nil:
		for _, m := range n.members {
			if strings.EqualFold(m.name, "kind") || strings.EqualFold(m.name, "use") {
				d.unknown(m, []string{"kind", "use"})
				return nil
			}
		}
		d.found.at(n, "\"kind\" is missing%s", d.found.nearest("", kindNames()))
		return nil
	case d.text(kind) == "layer":
		d.members(n, "$comment", "kind", "layer", "stage", "enabled")
		if name := n.get("layer"); name == nil {
			d.found.at(n, "\"layer\" is missing: must be a name in Registry.Layers")
		} else if g := d.value(layerOption, name); g != nil {
			l.given = append(l.given, g)
		}
	case kindNamed(kind.text) == nil:
		if kind.kind == text || kind.kind == setting {
			d.found.at(kind, "%s: no kind of layer%s", kind.shown(), d.found.nearest(kind.text, kindNames()))
		}
		return nil
	default:
		l.kind = kindNamed(kind.text)
		d.options(l, shared)
	}
	d.standing(l, shared)
	d.windows(l)
	if d.found.count() > before {
		return nil
	}
	return l
}

// windows bounds the memory that all windows take.
func (d *decoder) windows(l *layer) {
	for _, g := range l.given {
		n := 0
		switch g.option.key {
		case "countWindow":
			n = g.args[0].(int)
		case "timeWindow", "window":
			n = g.args[1].(int)
		}
		if d.window > maxWindow {
			return // it was said
		}
		if d.window += n; d.window > maxWindow {
			d.found.at(g.node, "the windows of the file hold more than %d calls and buckets", int(maxWindow))
		}
	}
}

func kindNames() []string {
	names := []string{"layer"}
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

func (d *decoder) use(l *layer, n *node) {
	d.members(l.node, "$comment", "use", "stage", "enabled")
	l.use = d.text(n)
	if _, ok := d.policies[l.use]; !ok && (n.kind == text || n.kind == setting) {
		d.found.at(n, "%s: no policy of this name%s", n.shown(), d.found.nearest(l.use, d.shared))
	}
}

// standing reads where a layer stands, and whether it does.
func (d *decoder) standing(l *layer, shared string) {
	if enabled := l.node.get("enabled"); enabled != nil {
		l.enabled = d.boolean(enabled)
	}
	stage := l.node.get("stage")
	switch {
	case stage == nil:
	case shared != "":
		d.found.at(stage, "the stage belongs to the layer that uses the policy")
	case stage.kind == number || stage.kind == setting && stages[stage.text] == 0:
		if i, ok := (integer("stage", 1, 1e6)).read(stage, d.found); ok {
			l.stage = policy.Stage(i.(int))
		}
	case stages[d.text(stage)] == 0:
		if stage.kind == text {
			d.found.at(stage, "%s: no stage%s", stage.shown(), d.found.nearest(stage.text, sortedKeys(stages)))
		}
	default:
		l.stage = stages[stage.text]
	}
}

// options reads the constructor and the options of a layer.
func (d *decoder) options(l *layer, shared string) {
	k := l.kind
	known := []string{"$comment", "kind", "enabled"}
	byKey := make(map[string]*option)
	add := func(key string, o *option) {
		known = append(known, key)
		byKey[key] = o
	}
	if shared == "" {
		add("stage", nil)
	}
	if k.named {
		add("name", nameOption)
	}
	if k.shadowing {
		add("mode", modeOption)
	}
	if k.keyed {
		add("perKey", nil)
	}
	constructors := make(map[*option]bool)
	for _, c := range k.constructors {
		if c.key != "" {
			add(c.key, c)
			if l.node.get(c.key) != nil {
				constructors[c] = true
			}
			continue
		}
		for _, a := range c.args {
			add(a.name, nil)
			if l.node.get(a.name) != nil {
				constructors[c] = true
			}
		}
	}
	for _, o := range k.options {
		add(o.key, o)
	}
	d.members(l.node, known...)
	d.constructor(l, constructors)
	if shared != "" && k.named && l.node.get("name") == nil {
		l.given = append(l.given, &given{option: nameOption, args: []any{shared}, node: l.node})
	}
	for _, m := range l.node.members {
		o := byKey[m.name]
		if o == nil || slices.Contains(k.constructors, o) {
			continue
		}
		if !o.goesWith(l.constructor) {
			d.found.add(m.at, m.value.pointer, "%q goes only with %q", m.name, o.only)
			continue
		}
		if g := d.value(o, m.value); g != nil && !(o == nameOption && g.args[0] == "") && !(o == modeOption && g.args[0] == "enforce") {
			l.given = append(l.given, g)
		}
	}
	if n := l.node.get("perKey"); n != nil && k.keyed {
		d.perKey(l, n)
	}
}

// constructor reads which constructor makes a layer, and its arguments.
func (d *decoder) constructor(l *layer, used map[*option]bool) {
	all := l.kind.constructors
	if len(all) == 1 {
		used[all[0]] = true
	}
	var ways []string
	for _, c := range all {
		if c.key != "" {
			ways = append(ways, c.key)
		}
		for _, a := range c.args {
			if c.key == "" {
				ways = append(ways, a.name)
			}
		}
		if used[c] {
			l.constructor = c
		}
	}
	switch n := l.node; {
	case len(used) == 0:
		d.found.at(n, "what the %s bounds is missing: must be one of %q", l.kind.name, ways)
		return
	case len(used) > 1:
		d.found.at(n, "more than one of %q: they contradict each other", ways)
		return
	case l.constructor.key == "":
		l.args = d.argumentsOf(n, l.constructor.args)
	default:
		g := d.value(l.constructor, n.get(l.constructor.key))
		if g != nil {
			l.args = g.args
		}
	}
	if l.constructor.key == "adaptive" && l.args != nil {
		aimd, target := l.args[0] == "aimd", l.args[1] != nil
		if aimd != target {
			d.found.at(l.node.get("adaptive"), "\"target\" is for the algorithm \"aimd\", which needs it")
		}
	}
}

func (d *decoder) perKey(l *layer, n *node) {
	p := &perKey{node: n}
	options := keyedOptions
	if l.kind == ratelimitKind {
		options = perKeyOptions
	}
	known := []string{"$comment", "key"}
	for _, o := range options {
		known = append(known, o.key)
	}
	if !d.members(n, known...) {
		return
	}
	if l.constructor != nil && l.constructor.key == "abandon" {
		d.found.at(n, "an abandoning timeout cannot stand per key")
		return
	}
	key := n.get("key")
	if key == nil {
		d.found.at(n, "\"key\" is missing: must be a name in Registry.Keys")
		return
	}
	if g := d.value(keyOption, key); g != nil {
		p.name, p.key = g.names[0], g.resolved[0].(func(context.Context) string)
	}
	for _, m := range n.members {
		for _, o := range options {
			if o.key != m.name {
				continue
			}
			if g := d.value(o, m.value); g != nil {
				p.given = append(p.given, g)
			}
		}
	}
	if room := p.room(); room != nil && len(p.given) > 1 {
		d.found.at(room.node, "\"keys\" makes a bucket for each key, and has nothing to do with \"max\", \"idle\" and \"maxKeyLength\"")
	}
	l.perKey = p
}
