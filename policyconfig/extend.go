package policyconfig

import (
	"slices"
	"strings"
)

// maxLayers bounds the layers of all pipelines of a file, inherited ones included.
const maxLayers = 20_000

// extension resolves what pipelines inherit.
type extension struct {
	*decoder
	raw    map[string]member
	names  []string
	done   map[string]*node
	chain  []string
	layers int
}

// extend returns the pipelines with what they inherit.
func (d *decoder) extend(n *node) []member {
	pipelines := d.named(n, "pipeline")
	e := &extension{decoder: d, raw: make(map[string]member), done: make(map[string]*node)}
	for _, m := range pipelines {
		e.raw[m.name] = m
	}
	e.names = sortedKeys(e.raw)
	extended := make([]member, 0, len(pipelines))
	for _, m := range pipelines {
		extended = append(extended, member{m.name, m.at, e.resolve(m.name)})
	}
	return extended
}

// resolve returns a pipeline with what it inherits.
func (e *extension) resolve(name string) *node {
	if n, ok := e.done[name]; ok {
		return n
	}
	n := e.raw[name].value
	extends := n.get("extends")
	if extends == nil {
		e.done[name] = n
		return n
	}
	e.done[name] = n // also when what follows is wrong
	base := e.text(extends)
	if extends.kind != text {
		return n
	}
	if slices.Contains(e.chain, base) || base == name {
		e.found.at(extends, "%s: extends itself: %s", extends.shown(), strings.Join(append(slices.Clone(e.chain), name, base), " extends "))
		return n
	}
	if _, ok := e.raw[base]; !ok {
		e.found.at(extends, "%s: no pipeline of this name%s", extends.shown(), e.found.nearest(base, e.names))
		return n
	}
	if len(e.chain) == maxDepth {
		e.found.at(extends, "more than %d pipelines that extend each other", maxDepth)
		return n
	}
	e.chain = append(e.chain, name)
	inherited := e.resolve(base)
	e.chain = e.chain[:len(e.chain)-1]
	e.done[name] = e.merge(inherited, n)
	return e.done[name]
}

// merge returns a pipeline with what it takes from another one. Neither is changed.
func (e *extension) merge(base, n *node) *node {
	merged := *n
	merged.members = slices.Clip(slices.DeleteFunc(slices.Clone(n.members), func(m member) bool {
		return (m.name == "classify" || m.name == "observe") && m.takesAway(base)
	}))
	for _, m := range base.members {
		switch m.name {
		case "$comment", "name", "extends":
			continue
		}
		own := n.get(m.name)
		switch {
		case own == nil:
			merged.members = append(merged.members, m)
		case m.name == "layers" && own.kind == array && m.value.kind == array:
			layers := *own
			layers.items = e.mergeLayers(m.value.items, own.items)
			for i := range merged.members {
				if merged.members[i].name == "layers" {
					merged.members[i].value = &layers
				}
			}
		}
	}
	return &merged
}

// takesAway reports whether a member is null in place of one that is inherited. Other nulls stay, and are refused later.
func (m member) takesAway(base *node) bool { return m.value.kind == null && base.get(m.name) != nil }

// mergeLayers overrides the layers of a base, each once. A layer overrides that of its kind; where there are several of the
// kind, in the base or beside it, that of its name; and otherwise it is one more.
func (e *extension) mergeLayers(base, own []*node) []*node {
	if len(own) == 0 {
		return base
	}
	if e.layers += len(base) + len(own); e.layers > maxLayers || len(base)+len(own) > 2*maxList {
		e.found.at(own[0], "too many layers: at most %d in a pipeline, and %d in all, inherited ones included", maxList, maxLayers)
		return nil
	}
	merged := slices.Clone(base)
	left := make(map[string][]int) // the layers of the base that nothing overrides yet, by kind
	for i, n := range base {
		if kind := e.kindOf(n); kind != "" {
			left[kind] = append(left[kind], i)
		}
	}
	byName := make(map[string]bool) // kinds of which there are several
	count := make(map[string]int)
	for _, n := range own {
		kind := e.kindOf(n)
		count[kind]++
		byName[kind] = count[kind] > 1 || len(left[kind]) > 1
	}
	for _, n := range own {
		kind := e.kindOf(n)
		same := slices.DeleteFunc(slices.Clone(left[kind]), func(i int) bool { return byName[kind] && nameOf(base[i]) != nameOf(n) })
		if len(same) != 1 {
			merged = append(merged, n)
			continue
		}
		merged[same[0]] = mergeLayer(base[same[0]], n)
		left[kind] = slices.DeleteFunc(left[kind], func(i int) bool { return i == same[0] })
	}
	return merged
}

// kindOf returns what layers must have in common to override each other, "" if they do not.
func (e *extension) kindOf(n *node) string {
	kind := ""
	if use := n.get("use"); use != nil {
		return e.policies[use.text]
	}
	if k := n.get("kind"); k != nil {
		kind = k.text
	}
	if kind == "timeout" {
		if n.get("total") != nil {
			return "timeout total"
		}
		return "timeout attempt"
	}
	if layer := n.get("layer"); kind == "layer" && layer != nil {
		return "layer " + layer.text
	}
	return kind
}

func nameOf(n *node) string {
	for _, key := range []string{"use", "name"} {
		if name := n.get(key); name != nil {
			return name.text
		}
	}
	return ""
}

// mergeLayer returns a layer with the options of a base that it does not give itself. null takes an option away.
func mergeLayer(base, own *node) *node {
	if base.get("use") != nil || own.get("use") != nil {
		return own
	}
	merged := *own
	merged.members = nil
	taken := constructorsOf(own)
	for _, m := range base.members {
		if n := own.get(m.name); n != nil || m.name == "$comment" || taken != nil && isOtherConstructor(own, m.name, taken) {
			continue
		}
		merged.members = append(merged.members, m)
	}
	for _, m := range own.members {
		if m.name == "$comment" || !m.takesAway(base) {
			merged.members = append(merged.members, m)
		}
	}
	return &merged
}

// constructorsOf returns the constructors that a layer names.
func constructorsOf(n *node) (used []*option) {
	k := kindNamed(n.get("kind").text)
	if k == nil {
		return nil
	}
	for _, c := range k.constructors {
		if slices.ContainsFunc(memberNames(c), func(name string) bool { return n.get(name) != nil && n.get(name).kind != null }) {
			used = append(used, c)
		}
	}
	return used
}

func memberNames(c *option) (names []string) {
	if c.key != "" {
		return []string{c.key}
	}
	for _, a := range c.args {
		names = append(names, a.name)
	}
	return names
}

// isOtherConstructor reports whether a member belongs to a constructor that is not among those taken.
func isOtherConstructor(n *node, name string, taken []*option) bool {
	for _, c := range kindNamed(n.get("kind").text).constructors {
		if slices.Contains(memberNames(c), name) {
			return !slices.Contains(taken, c)
		}
	}
	return false
}
