package policyconfig

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

// Set holds the pipelines of a configuration that can change while they are in use. Make it with [Load] or [LoadFile].
// It is safe for concurrent use.
type Set struct {
	registry   Registry
	handles    atomic.Pointer[map[string]*Handle]
	generation atomic.Uint64

	mu   sync.Mutex // held while a configuration is planned or applied
	path string     // of the file
	data []byte     // of the configuration in force
	now  *assembly
}

// Load returns the pipelines that data describes, as JSON; see the page on configuration for the form. registry holds the
// code that data refers to by name.
//
// If anything is wrong, the error is an [*Error] that lists every problem.
func Load(data []byte, registry Registry) (*Set, error) { return load(data, "", registry) }

// LoadFile is [Load] for a file. Errors name its path.
func LoadFile(path string, registry Registry) (*Set, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return load(data, path, registry)
}

func load(data []byte, path string, registry Registry) (*Set, error) {
	s := &Set{registry: registry.clone(), path: path}
	s.handles.Store(&map[string]*Handle{})
	s.now = newAssembly(&file{}, &s.registry)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.apply(data, path); err != nil {
		return nil, err
	}
	return s, nil
}

// readFile reads a regular file, but never more of it than a configuration may be.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, &Error{File: path, Problems: []Problem{{Message: fmt.Sprintf("cannot be read: %v", unwrapPath(err))}}}
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait
		return nil, &Error{File: path, Problems: []Problem{{Message: "is not a regular file"}}}
	}
	f, err := os.Open(path)
	if err == nil {
		defer func() { _ = f.Close() }()
		var data []byte
		if data, err = io.ReadAll(io.LimitReader(f, MaxSize+1)); err == nil {
			return data, nil
		}
	}
	return nil, &Error{File: path, Problems: []Problem{{Message: fmt.Sprintf("cannot be read: %v", unwrapPath(err))}}}
}

// unwrapPath returns the error without the path, which is named anyway.
func unwrapPath(err error) error {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err
	}
	return err
}

// Names returns the names of the pipelines in the configuration in force, sorted.
func (s *Set) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sortedKeys(s.now.pipelines)
}

// Generation returns how many configurations have been in force, including the current one. It is 1 after [Load], and
// each [Set.Apply] that succeeds adds 1.
func (s *Set) Generation() uint64 { return s.generation.Load() }

// Pipeline returns the handle of a pipeline. For one name it is always the same handle, which follows every change.
// Pipeline panics with a [*policy.ConfigError] if no configuration so far had such a pipeline. List the pipelines that
// the program needs in Registry.Require, and Load returns an error instead.
func (s *Set) Pipeline(name string) *Handle {
	handle, ok := s.Lookup(name)
	if !ok {
		problems := policy.ConfigError{Policy: "policyconfig"}
		problems.Add("%q: no pipeline of this name%s", clip(name), nearest(name, s.Names()))
		panic(problems.Err())
	}
	return handle
}

// Lookup is [Set.Pipeline] for a name that may not be there.
func (s *Set) Lookup(name string) (*Handle, bool) {
	handle, ok := (*s.handles.Load())[name]
	return handle, ok
}

// Plan returns what [Set.Apply] would change now, and changes nothing.
func (s *Set) Plan(data []byte) (Changes, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := s.prepare(data, s.path)
	if err != nil {
		return Changes{}, err
	}
	return next.changes, nil
}

// Apply puts another configuration in force: as a whole, or not at all if it returns an error. It returns what has
// changed.
//
// Apply recognises a layer by its kind and its name. A layer that has not changed stays the very same instance. A layer
// whose options have changed is reconfigured in place and keeps its state: an open breaker stays open until its old
// end, and tokens, slots, probes and waiting calls stay. A layer that cannot be reconfigured is replaced, and [Changes]
// says so. A mode that was set by hand (Shadow, Enforce) and a forced state stay, and [Changes] reports that they
// differ from the configuration.
//
// Calls in flight finish on the pipeline that they began with. A pipeline that is no longer in the configuration stays
// as it is for holders of its handle.
//
// After an error, which is an [*Error], the previous configuration stays in force. The next Apply is independent of it.
func (s *Set) Apply(data []byte) (Changes, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.apply(data, s.path)
}

// transition is the way from one configuration to the next.
type transition struct {
	next    *assembly
	changes Changes
	steps   []step
	news    map[string]bool // budgets that are others than before, though their names are the same
}

// step is a change of something that is in use.
type step struct {
	do, undo func() error
	layer    *layer // nil for a budget
	budget   *budget
}

// apply prepares a configuration and puts it in force.
func (s *Set) apply(data []byte, path string) (Changes, error) {
	t, err := s.prepare(data, path)
	if err != nil {
		return Changes{}, err
	}
	if found := run(t.steps); found.count() > 0 {
		return Changes{}, found.err(path)
	}
	t.compose(s.now)
	s.now, s.path, s.data = t.next, path, slices.Clone(data)
	s.hand(t.next)
	s.generation.Add(1)
	return t.changes, nil
}

// run does all steps, or none: if one fails, those before it are undone. After the rehearsal none should.
func run(steps []step) *problems {
	found := &problems{}
	for i, step := range steps {
		err := step.do()
		if err == nil {
			continue
		}
		for _, done := range slices.Backward(steps[:i]) {
			err = errors.Join(err, done.undo())
		}
		if step.layer != nil {
			step.layer.blame(err, found)
		} else {
			found.at(step.budget.node, "%v", err)
		}
		break
	}
	return found
}

// hand gives the handles their pipelines.
func (s *Set) hand(a *assembly) {
	handles := *s.handles.Load()
	fresh := make(map[string]*Handle, len(handles))
	for name, handle := range handles {
		fresh[name] = handle
	}
	for name, c := range a.pipelines {
		if fresh[name] == nil {
			fresh[name] = &Handle{key: name}
		}
		fresh[name].pipeline.Store(c.pipeline)
		fresh[name].file.Store(a.file)
	}
	s.handles.Store(&fresh)
}

// prepare reads a configuration, checks all of it, and finds the way to it. It changes nothing.
func (s *Set) prepare(data []byte, path string) (*transition, error) {
	found := &problems{}
	f := decode(data, &s.registry, found)
	if found.count() == 0 {
		rehearse(f, &s.registry, found)
	}
	if err := found.err(path); err != nil {
		return nil, err
	}
	t := &transition{next: newAssembly(f, &s.registry), news: make(map[string]bool)}
	t.changes.Generation = s.generation.Load() + 1
	t.budgets(s.now)
	t.layers(s.now)
	t.pipelines(s.now)
	return t, nil
}

// compose makes the pipelines whose layers are no longer the same.
func (t *transition) compose(now *assembly) {
	for _, p := range t.next.file.pipelines {
		stands := t.next.stand(p)
		c := &composed{spec: p, stands: stands}
		if old := now.pipelines[p.key]; old != nil && old.same(c) {
			c.pipeline = old.pipeline
		} else {
			c.pipeline = resilience.Compose(p.arguments(stands)...)
		}
		t.next.pipelines[p.key] = c
	}
}

// same reports whether two pipelines are composed of the same things.
func (c *composed) same(other *composed) bool {
	a, b := c.spec, other.spec
	return a.name == b.name && a.classify.same(b.classify) && a.observe.same(b.observe) &&
		slices.EqualFunc(c.stands, other.stands, func(a, b standing) bool {
			return a.stage == b.stage && a.budget == b.budget &&
				(a.instance == b.instance || a.instance != nil && b.instance != nil && a.instance.is(b.instance))
		})
}

// is reports whether two instances are the same layer, though what is said about it may differ.
func (i *instance) is(other *instance) bool {
	return i.spec.id == other.spec.id && i.token() == other.token()
}

// token tells layers apart that cannot be compared.
func (i *instance) token() any {
	if i.spec.kind == nil {
		return i.spec.given[0].names[0]
	}
	return i.layer
}

func (g *given) same(other *given) bool {
	if g == nil || other == nil {
		return g == other
	}
	return slices.Equal(g.args, other.args) && slices.Equal(g.names, other.names)
}
