package policyconfig

import (
	"cmp"
	"os"
	"slices"
	"strings"
	"unicode"
)

// variable is an environment variable that overrides a value of the file.
type variable struct {
	name, value string
	path        []string // what is between the double underscores, without the prefix
	about       string   // the pointer of what it is about, "" as long as nothing was found
}

// claim says that the variable is about what stands at a pointer. It notes when it is about something else as well.
func (v *variable) claim(d *decoder, pointer string) bool {
	if v.about != "" {
		d.found.add(place{variable: v.name}, pointer, "it is about %s as well: rename one of them", v.about)
		return false
	}
	v.about = pointer
	return true
}

// overrides are the variables of a prefix.
type overrides struct{ variables []*variable }

// maxVariable bounds a variable's value, in bytes.
const maxVariable = 4096

// environment returns the variables that override the file.
func environment(r *Registry) *overrides {
	o := &overrides{}
	if r.Environment == "" {
		return o
	}
	environ := os.Environ
	if r.Environ != nil {
		environ = r.Environ
	}
	byName := make(map[string]*variable)
	for _, entry := range environ() {
		name, value, _ := strings.Cut(entry, "=")
		rest, ok := strings.CutPrefix(name, r.Environment+"__")
		if !ok {
			continue
		}
		byName[name] = &variable{name: name, value: value, path: strings.Split(rest, "__")} // the last one counts
	}
	for _, name := range sortedKeys(byName) {
		o.variables = append(o.variables, byName[name])
	}
	return o
}

// environmentName returns how a name is written in a variable: OPEN_FOR for openFor, USERS_DB for users-db.
func environmentName(name string) string {
	var b strings.Builder
	lower := false
	for _, r := range name {
		switch {
		case unicode.IsUpper(r):
			if lower {
				b.WriteByte('_')
			}
			b.WriteRune(r)
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			b.WriteRune(unicode.ToUpper(r))
		default:
			b.WriteByte('_')
		}
		lower = unicode.IsLower(r) || unicode.IsDigit(r)
	}
	return b.String()
}

// keys are the members that an object can have, each with those of its own.
type keys map[string]keys

var (
	budgetKeys = keysOf(budgetKinds, nil)
	perKeyKeys = keys{"key": nil, "max": nil, "idle": nil, "maxKeyLength": nil, "keys": nil}
)

// keysOf returns the arguments of constructors and the options.
func keysOf(constructors, options []*option) keys {
	k := keys{"kind": nil}
	arguments := func(args []argument) keys {
		nested := keys{}
		for _, a := range args {
			nested[a.name] = nil
		}
		return nested
	}
	for _, o := range append(slices.Clone(constructors), options...) {
		switch {
		case o.key != "" && len(o.args) < 2:
			k[o.key] = nil
		case o.key != "" && o.apply == nil || slices.Contains(options, o):
			k[o.key] = arguments(o.args)
		default: // stand in the object itself
			for name := range arguments(o.args) {
				k[name] = nil
			}
		}
	}
	return k
}

// layerKeys returns the members that a layer can have.
func layerKeys(n *node) keys {
	kind := n.get("kind")
	switch {
	case n.get("use") != nil:
		return keys{"use": nil, "stage": nil, "enabled": nil}
	case kind == nil || kindNamed(kind.text) == nil:
		return keys{"kind": nil, "layer": nil, "stage": nil, "enabled": nil}
	}
	k := kindNamed(kind.text)
	all := keysOf(k.constructors, k.options)
	all["stage"], all["enabled"] = nil, nil
	if k.named {
		all["name"] = nil
	}
	if k.shadowing {
		all["mode"] = nil
	}
	if k.keyed {
		all["perKey"] = perKeyKeys
	}
	return all
}

// object returns a budget or a policy with what the variables say. The node is not changed.
func (o *overrides) object(d *decoder, section string, m member, known keys) *node {
	n := m.value
	for _, v := range o.variables {
		if len(v.path) > 2 && v.path[0] == environmentName(section) && v.path[1] == environmentName(m.name) && v.claim(d, n.pointer) {
			n = v.set(d, n, v.path[2:], known)
		}
	}
	return n
}

// pipeline returns a pipeline with what the variables say. The node is not changed.
func (o *overrides) pipeline(d *decoder, m member) *node {
	n := m.value
	for _, v := range o.variables {
		if len(v.path) < 2 || v.path[0] != environmentName(m.name) || !v.claim(d, n.pointer) {
			continue
		}
		if len(v.path) == 2 {
			n = v.set(d, n, v.path[1:], keys{"name": nil, "classify": nil, "observe": nil})
			continue
		}
		if layers := n.get("layers"); layers != nil {
			if i, ok := v.layer(d, n, layers); ok {
				list := *layers
				list.items = slices.Clone(list.items)
				list.items[i] = v.set(d, list.items[i], v.path[2:], layerKeys(list.items[i]))
				n = n.with("layers", &list)
			}
		}
	}
	return n
}

// layer returns the index of the layer that a variable is about: by its name, or its kind; of several of a kind, the one
// that has the value already.
func (v *variable) layer(d *decoder, n, layers *node) (int, bool) {
	var found, having []int
	var known []string
	for i, item := range layers.items {
		named := ""
		for _, key := range []string{"use", "name", "layer"} {
			named = cmp.Or(named, item.get(key).textOf())
		}
		kind := item.get("kind").textOf()
		known = append(known, environmentName(cmp.Or(kind, named)))
		if v.path[1] != environmentName(kind) && (named == "" || v.path[1] != environmentName(named)) {
			continue
		}
		found = append(found, i)
		if slices.ContainsFunc(item.members, func(m member) bool { return environmentName(m.name) == v.path[2] }) {
			having = append(having, i)
		}
	}
	if len(having) > 0 {
		found = having
	}
	if len(found) == 1 {
		return found[0], true
	}
	at := place{variable: v.name}
	if len(found) == 0 {
		d.found.add(at, n.pointer, "%q: no layer of this kind or name%s", v.path[1], d.found.nearest(v.path[1], known))
	} else {
		d.found.add(at, n.pointer, "%q: there are %d such layers: give them names", v.path[1], len(found))
	}
	return 0, false
}

func (n *node) isSetting() bool { return n != nil && n.kind == setting }

func (n *node) textOf() string {
	if n == nil {
		return ""
	}
	return n.text
}

// with returns the object with another value for a member.
func (n *node) with(name string, value *node) *node {
	changed := *n
	changed.members = slices.Clone(n.members)
	for i := range changed.members {
		if changed.members[i].name == name {
			changed.members[i].value = value
			return &changed
		}
	}
	changed.members = append(changed.members, member{name, value.at, value})
	return &changed
}

// set returns the object with the value of the variable. The object is not changed.
func (v *variable) set(d *decoder, n *node, path []string, known keys) *node {
	at := place{variable: v.name}
	for _, key := range sortedKeys(known) {
		if environmentName(key) != path[0] {
			continue
		}
		pointer := pointerTo(n.pointer, key)
		switch {
		case len(v.value) > maxVariable:
			d.found.add(at, pointer, "the value has %d bytes: must be at most %d", len(v.value), maxVariable)
			return n
		case n.get(key).isSetting(): // by its kind and by its name, or as a whole and in part
			d.found.add(at, pointer, "%s sets it as well: take one of them away", n.get(key).at.variable)
			return n
		case len(path) == 1:
			return n.with(key, &node{kind: setting, text: v.value, at: at, pointer: pointer})
		case known[key] == nil:
			d.found.add(at, pointer, "%q is a single value: the name of the variable ends with it", key)
			return n
		}
		nested := n.get(key)
		if nested == nil || nested.kind != object {
			nested = &node{kind: object, at: at, pointer: pointer}
		}
		return n.with(key, v.set(d, nested, path[1:], known[key]))
	}
	var names []string
	for key := range known {
		names = append(names, environmentName(key))
	}
	if shared := n.get("use").textOf(); shared != "" {
		d.found.add(at, n.pointer, "%q is not known here: what the policy %q has is set by %s__POLICIES__%s__%s",
			path[0], clip(shared), d.registry.Environment, environmentName(shared), path[0])
		return n
	}
	d.found.add(at, n.pointer, "%q is not known here%s", path[0], d.found.nearest(path[0], names))
	return n
}

// unused notes the variables that are about nothing in the file: most likely they are mistyped.
func (o *overrides) unused(d *decoder) {
	for _, v := range o.variables {
		if v.about == "" {
			d.found.add(place{variable: v.name}, "", "no pipeline, policy or budget of the file has this name")
		}
	}
}
