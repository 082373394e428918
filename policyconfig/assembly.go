package policyconfig

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// assembly is a configuration at work.
type assembly struct {
	file      *file
	registry  *Registry
	budgets   map[string]*sharedBudget
	instances map[string]*instance // by the id of their layer
	pipelines map[string]*composed
}

// sharedBudget is a retry budget at work.
type sharedBudget struct {
	spec   *budget
	budget policy.Budget
}

// instance is a layer at work.
type instance struct {
	spec  *layer
	layer policy.Layer
	fleet fleet // of a layer that stands for one per key
}

// composed is a pipeline at work.
type composed struct {
	spec     *pipeline
	stands   []standing
	pipeline *resilience.Pipeline
}

// standing is a layer where it stands in a pipeline.
type standing struct {
	instance *instance
	budget   policy.Budget // a budget that is a layer, in place of instance
	stage    policy.Stage  // 0 for its own
	spec     *layer
}

func newAssembly(f *file, registry *Registry) *assembly {
	return &assembly{
		file: f, registry: registry,
		budgets:   make(map[string]*sharedBudget),
		instances: make(map[string]*instance),
		pipelines: make(map[string]*composed),
	}
}

// layers returns every layer of the file that is an instance, shared policies first.
func (f *file) layers() (layers []*layer) {
	layers = slices.Clone(f.policies)
	for _, p := range f.pipelines {
		for _, l := range p.layers {
			if l.use == "" {
				layers = append(layers, l)
			}
		}
	}
	return layers
}

// rehearse makes everything that a file describes, and notes what is wrong with it. What it makes is not used.
func rehearse(f *file, registry *Registry, found *problems) *assembly {
	a := newAssembly(f, registry)
	for _, b := range f.budgets {
		a.budgets[b.name] = b.make()
	}
	for _, l := range f.layers() {
		a.resolve(l)
		if l.kind != nil {
			if err := l.kind.room.validate(l); err != nil {
				l.blame(err, found)
				continue
			}
		}
		a.instances[l.id] = l.make()
	}
	if found.count() > 0 {
		return a
	}
	for _, p := range f.pipelines {
		stands := a.stand(p)
		err := resilience.Validate(p.arguments(stands)...)
		if check, ok := registry.Check[p.key]; ok && err == nil {
			err = ask(check, resilience.Compose(p.arguments(stands)...))
		}
		if err != nil {
			p.blame(err, stands, found)
		}
	}
	return a
}

// ask returns what the program says of a pipeline.
func ask(check func(*resilience.Pipeline) error, p *resilience.Pipeline) error {
	if check == nil {
		return errors.New("the function in Registry.Check is nil")
	}
	return check(p)
}

func (b *budget) make() *sharedBudget {
	return &sharedBudget{b, b.kind.apply(actual{args: b.args}).(policy.Budget)}
}

// make returns a new instance.
func (l *layer) make() *instance {
	switch {
	case l.kind == nil:
		return &instance{spec: l, layer: l.given[0].resolved[0].(policy.Layer)}
	case l.perKey != nil:
		built, fleet := l.kind.room.buildKeyed(l)
		return &instance{l, built, fleet}
	}
	return &instance{spec: l, layer: l.kind.room.build(l)}
}

// resolve finds the budgets that a layer pays from.
func (a *assembly) resolve(l *layer) {
	for _, g := range l.given {
		if g.option.code == "Budgets" {
			g.resolved = []any{a.budget(g.names[0])}
		}
	}
}

func (a *assembly) budget(name string) policy.Budget {
	if b := a.budgets[name]; b != nil {
		return b.budget
	}
	budget, _ := a.registry.lookup("Budgets", name).(policy.Budget)
	return budget
}

// stand returns the layers of a pipeline where they stand, with the budgets that are layers.
func (a *assembly) stand(p *pipeline) (stands []standing) {
	var budgets []policy.Budget
	for _, l := range p.layers {
		if !l.enabled {
			continue
		}
		id := l.id
		if l.use != "" {
			id = "policies/" + l.use
		}
		i := a.instances[id]
		if !i.spec.enabled {
			continue
		}
		stands = append(stands, standing{instance: i, stage: l.stage, spec: l})
		for _, g := range i.spec.given {
			if g.option.code != "Budgets" {
				continue
			}
			if budget, ok := g.resolved[0].(*retry.ConcurrencyBudget); ok && !slices.Contains(budgets, policy.Budget(budget)) {
				budgets = append(budgets, budget)
				stands = append(stands, standing{budget: budget, spec: l})
			}
		}
	}
	return stands
}

func (s standing) layer() policy.Layer {
	layer := policy.Layer(nil)
	if s.budget != nil {
		layer = s.budget.(policy.Layer)
	} else {
		layer = s.instance.layer
	}
	if s.stage != 0 {
		layer = policy.At(s.stage, layer)
	}
	return layer
}

// arguments returns what a pipeline is composed of.
func (p *pipeline) arguments(stands []standing) (layers []policy.Layer) {
	if p.name != "" {
		layers = append(layers, resilience.Name(p.name))
	}
	if p.classify != nil {
		layers = append(layers, resilience.Classify(p.classify.resolved[0].(classifier)))
	}
	if p.observe != nil {
		for _, observer := range p.observe.resolved {
			layers = append(layers, resilience.Observe(observer.(policy.Observer)))
		}
	}
	for _, s := range stands {
		layers = append(layers, s.layer())
	}
	return layers
}

// blame notes what a policy says of its options, at the option that it is about.
func (l *layer) blame(err error, found *problems) {
	for _, problem := range problemsOf(err) {
		n := l.node
		for _, g := range l.given {
			if strings.HasPrefix(problem, g.option.name()) && g.node != nil {
				n = g.node
				break
			}
		}
		found.at(n, "%s", problem)
	}
}

// blame notes what composing says of the layers, at the layer that it is about.
func (p *pipeline) blame(err error, stands []standing, found *problems) {
	for _, problem := range problemsOf(err) {
		n := p.node
		for _, s := range stands {
			if text, ok := s.layer().(fmt.Stringer); ok && strings.HasPrefix(problem, text.String()+": ") {
				n = s.spec.node
				break
			}
			if s.instance != nil {
				if text, ok := s.instance.layer.(fmt.Stringer); ok && strings.HasPrefix(problem, text.String()+": ") {
					n = s.spec.node
					break
				}
			}
		}
		found.at(n, "%s", problem)
	}
}

func problemsOf(err error) []string {
	if config, ok := errors.AsType[*policy.ConfigError](err); ok {
		return config.Problems
	}
	return []string{err.Error()}
}
