//go:build !race

// There is nothing concurrent in here for the race detector to find.

package breaker

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// The explorer tries every sequence of events that a few callers, the clock and an operator can produce on the core, and
// checks after every step that the invariants hold and that the core did what a model of a few lines says.
//
// Neither the number of steps nor that of attempts is bounded. The state space is finite all the same, because states
// that differ only in the age of what is over, or in the names of generations and probes, are the same state: see
// normal. The bounds are the callers, the rules, and time in whole ticks.

const (
	tick     = time.Second
	openFor  = 2 * tick
	explored = 3 // callers
)

// scene is a core, those who call it, and what the model knows.
type scene struct {
	core    *core
	now     time.Duration
	callers [explored]caller

	state    State         // of the model
	shadow   bool          // of the model
	passed   int           // successful probes of this episode
	calls    []bool        // since the breaker closed, as far back as a rule looks: whether each failed
	openedAt time.Duration // the last opening
}

// caller makes one attempt at a time. One that stays busy is an operation that hangs.
type caller struct {
	busy       bool
	slot       int64
	generation uint64
	granted    time.Duration
	episode    bool // admitted in the current generation, as the model sees it
}

// hooks are the events of the core. Wrong variants of the core replace some.
type hooks struct {
	admit   func(c *core, now time.Duration, luck float64) (int64, bool)
	settle  func(c *core, now time.Duration, r report)
	force   func(c *core, to State, reason Reason, now time.Duration)
	trip    func(c *core, now, openFor time.Duration)
	stateAt func(c *core, now time.Duration) State
}

func realHooks() hooks {
	return hooks{admit: (*core).admit, settle: (*core).settle, force: (*core).force, trip: (*core).trip, stateAt: (*core).stateAt}
}

// setting is what is explored: the rules, and whether an operator does more than trip the breaker.
type setting struct {
	name     string
	rules    rules
	operator bool
}

var settings = []setting{
	{"1 probe, 1 success, 2 failures in a row, operator", rules{consecutive: 2, probes: 1, successes: 1, lease: 3 * tick}, true},
	{"2 probes, 2 successes, 2 failures in a row, operator", rules{consecutive: 2, probes: 2, successes: 2, lease: 2 * tick}, true},
	{"2 probes, 3 successes, lease of one tick", rules{consecutive: 1, probes: 2, successes: 3, lease: tick}, false},
	{"1 probe, window of 3 calls, half of at least 2", rules{failureRate: rateRule{ratio{1, 2}, 2}, lastCalls: 3, probes: 1, successes: 1, lease: 3 * tick}, false},
	{"2 probes, 2 successes, ramp of 2 ticks", rules{consecutive: 2, probes: 2, successes: 2, lease: 3 * tick, ramp: 2 * tick}, false},
}

func TestExploreTheCore(t *testing.T) {
	for _, s := range settings {
		t.Run(s.name, func(t *testing.T) {
			if testing.Short() && s.operator {
				t.Skip("long")
			}
			e := searchAll(s, realHooks())
			if e.violation != nil {
				t.Fatal(e.violation)
			}
			t.Logf("%d states, %d steps: the invariants hold in all of them", len(e.seen), e.steps)
			if len(e.seen) < 1000 {
				t.Fatalf("only %d states: the explorer does not get anywhere", len(e.seen))
			}
			for state := range Disabled {
				manual := state == ForcedOpen || state == ForcedClosed
				if !e.visited[state] && (s.operator || !manual) {
					t.Errorf("the state %v was never reached", state)
				}
			}
		})
	}
}

// The core calls no function of a user and holds no lock: it has none.
func TestExploreTheCoreHasNoFunctionsAndNoLocks(t *testing.T) {
	var look func(at string, typ reflect.Type)
	look = func(at string, typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Func, reflect.Chan, reflect.UnsafePointer:
			t.Errorf("%s is a %v", at, typ)
		case reflect.Struct:
			if pkg := typ.PkgPath(); pkg == "sync" || pkg == "sync/atomic" {
				t.Errorf("%s is a %v", at, typ)
			}
			for field := range typ.Fields() {
				look(at+"."+field.Name, field.Type)
			}
		case reflect.Pointer, reflect.Slice, reflect.Array:
			look(at, typ.Elem())
		}
	}
	look("core", reflect.TypeFor[core]())
	look("countWindow", reflect.TypeFor[countWindow]())
	look("timeWindow", reflect.TypeFor[timeWindow]())
}

// exploration is a search through all states, breadth first, so that a violation comes with a shortest history.
type exploration struct {
	setting   setting
	hooks     hooks
	seen      map[string]struct{}
	visited   map[State]bool
	steps     int
	violation error
}

// visit is a state together with how it was reached.
type visit struct {
	scene scene
	event string
	from  *visit
}

func (v *visit) history() string {
	var events []string
	for ; v != nil && v.event != ""; v = v.from {
		events = append(events, v.event)
	}
	slices.Reverse(events)
	return strings.Join(events, ", ")
}

func searchAll(s setting, h hooks) *exploration {
	e := &exploration{setting: s, hooks: h, seen: map[string]struct{}{}, visited: map[State]bool{}}
	first := scene{core: newCore(&e.setting.rules, 0), state: Closed}
	first.normal()
	queue := []*visit{{scene: first}}
	e.seen[first.key()] = struct{}{}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		e.visited[v.scene.core.state] = true
		if err := e.check(v.scene); err != nil {
			e.violation = fmt.Errorf("%w\nafter: %s", err, v.history())
			return e
		}
		for _, event := range e.events(&v.scene) {
			next := v.scene.clone()
			e.steps++
			err := event.apply(&next)
			if err == nil {
				err = balanced(next.core)
			}
			if err != nil {
				e.violation = fmt.Errorf("%w\nin: %s\nafter: %s", err, event.name, v.history())
				return e
			}
			next.normal()
			key := next.key()
			if _, ok := e.seen[key]; ok {
				continue
			}
			e.seen[key] = struct{}{}
			queue = append(queue, &visit{scene: next, event: event.name, from: v})
		}
	}
	return e
}

type event struct {
	name  string
	apply func(*scene) error
}

// events returns everything that can happen next. Callers that are equal are the same: one of them is enough.
func (e *exploration) events(w *scene) (all []event) {
	all = append(all, event{"tick", func(w *scene) error { w.now += tick; return nil }})
	lucks := []float64{0}
	if w.core.ramp {
		lucks = []float64{0, 0.999}
	}
	for i, c := range w.callers {
		if slices.Contains(w.callers[:i], c) {
			continue
		}
		if !c.busy {
			for _, luck := range lucks {
				all = append(all, event{fmt.Sprintf("admit (luck %v)", luck), func(w *scene) error { return e.admit(w, i, luck) }})
			}
			continue
		}
		for verdict := range policy.Neutral + 1 {
			name := fmt.Sprintf("%v of slot %d, generation %d, admitted at %v", verdict, c.slot, c.generation, c.granted)
			all = append(all, event{name, func(w *scene) error { return e.settle(w, i, verdict, false) }})
		}
		if c.slot > 0 {
			all = append(all, event{"a probe is settled twice", func(w *scene) error {
				if err := e.settle(w, i, policy.Neutral, false); err != nil {
					return err
				}
				w.callers[i] = c
				return e.settle(w, i, policy.Failure, true)
			}})
		}
	}
	all = append(all, event{"trip", e.trip})
	if !e.setting.operator {
		return all
	}
	force := func(name string, to State, reason Reason) {
		all = append(all, event{name, func(w *scene) error { return e.force(w, to, reason) }})
	}
	force("reset", Closed, ReasonReset)
	force("force open", ForcedOpen, ReasonForced)
	force("force closed", ForcedClosed, ReasonForced)
	force("disable", Disabled, ReasonDisabled)
	return all
}

// live reports whether a caller holds the slot of a probe, as the model sees it.
func (w *scene) live(c caller, lease time.Duration) bool {
	return c.busy && c.slot > 0 && c.episode && w.now-c.granted < lease
}

func (w *scene) probes(lease time.Duration) (n int) {
	for _, c := range w.callers {
		if w.live(c, lease) {
			n++
		}
	}
	return n
}

// enter is a change of state in the model.
func (w *scene) enter(state State, shadow bool) {
	w.state, w.shadow, w.passed, w.calls = state, shadow, 0, nil
	for i := range w.callers {
		w.callers[i].episode = false
	}
	if state == Open {
		w.openedAt = w.now
	}
}

// admit lets a caller ask for an attempt.
func (e *exploration) admit(w *scene, i int, luck float64) error {
	before := total(w.core)
	over := w.state == Open && w.now >= w.openedAt+openFor
	ramp := w.state == Closed && w.core.ramp && w.now < w.core.since+e.setting.rules.ramp
	ramping := w.core.ramping
	share := float64(w.now-w.core.since) / float64(max(1, e.setting.rules.ramp))
	changes := w.core.changes
	slot, admitted := e.hooks.admit(w.core, w.now, luck)

	was := w.state
	if over {
		w.enter(HalfOpen, w.shadow)
	}
	if err := e.agree(w, changes, was, w.shadow); err != nil {
		return err
	}
	var want bool
	switch w.state {
	case Closed:
		want = !ramp || ramping < e.setting.rules.probes || luck < share
	case ForcedClosed:
		want = true
	case HalfOpen:
		want = w.probes(e.setting.rules.lease) < e.setting.rules.probes
	}
	if admitted != want {
		return fmt.Errorf("I1, I4: admitted: %v, want %v in state %v", admitted, want, w.state)
	}
	if admitted && (slot > 0) != (w.state == HalfOpen) {
		return fmt.Errorf("admitted to slot %d in state %v", slot, w.state)
	}
	counted := ledger{}
	if admitted && slot > 0 {
		counted.requests = 1
	}
	if err := added(before, total(w.core), counted); err != nil {
		return err
	}
	if !admitted && w.shadow {
		slot, admitted = slotShadow, true // what the shell does
	}
	if admitted {
		w.callers[i] = caller{busy: true, slot: slot, generation: w.core.generation, granted: w.now, episode: true}
	}
	return nil
}

// settle ends the attempt of a caller.
func (e *exploration) settle(w *scene, i int, verdict policy.Verdict, again bool) error {
	c := w.callers[i]
	before, frozen, changes := total(w.core), w.core.clone(), w.core.changes
	e.hooks.settle(w.core, w.now, report{
		generation: c.generation, slot: c.slot, verdict: verdict, cause: errExplored, openFor: openFor,
	})
	valid := c.episode && !again
	if c.slot > 0 {
		valid = w.live(c, e.setting.rules.lease) && !again
	}
	w.callers[i] = caller{}
	was, wasShadow := w.state, w.shadow
	counted := ledger{}
	if c.slot <= 0 {
		counted.requests = 1
		if c.slot == slotShadow {
			verdict = policy.Neutral
		}
	}
	switch {
	case !valid:
	case verdict == policy.Neutral:
		counted.neutral = 1
	case verdict == policy.Failure:
		counted.failures = 1
	default:
		counted.successes = 1
	}
	if err := added(before, total(w.core), counted); err != nil {
		return fmt.Errorf("I2, I8: %w", err)
	}
	if !valid {
		if err := onlyStale(frozen, w.core, w.now); err != nil {
			return fmt.Errorf("I3: %w", err)
		}
		return e.agree(w, changes, was, wasShadow)
	}
	e.count(w, c, verdict)
	return e.agree(w, changes, was, wasShadow)
}

// count is what the model makes of a valid outcome.
func (e *exploration) count(w *scene, c caller, verdict policy.Verdict) {
	failed := verdict == policy.Failure
	switch {
	case verdict == policy.Neutral:
	case c.slot > 0 && failed:
		w.enter(Open, w.shadow)
	case c.slot > 0:
		if w.passed++; w.passed == e.setting.rules.successes {
			w.enter(Closed, w.shadow)
		}
	case w.state == Closed:
		w.calls = append(w.calls, failed)
		if failed && e.trips(w.calls) {
			w.enter(Open, w.shadow)
			return
		}
		w.calls = w.calls[max(0, len(w.calls)-max(e.setting.rules.consecutive, e.setting.rules.lastCalls)):]
	}
}

// trips is the rules, written so that they can be read.
func (e *exploration) trips(calls []bool) bool {
	r := e.setting.rules
	if n := r.consecutive; n > 0 && len(calls) >= n && !slices.Contains(calls[len(calls)-n:], false) {
		return true
	}
	if r.lastCalls == 0 {
		return false
	}
	calls = calls[max(0, len(calls)-r.lastCalls):]
	failures := 0
	for _, failed := range calls {
		if failed {
			failures++
		}
	}
	return len(calls) >= int(r.failureRate.minimumCalls) && 2*failures >= len(calls)
}

func (e *exploration) force(w *scene, to State, reason Reason) error {
	before, changes, was, wasShadow := total(w.core), w.core.changes, w.state, w.shadow
	e.hooks.force(w.core, to, reason, w.now)
	if to == Disabled {
		w.enter(Closed, true)
	} else {
		w.enter(to, false)
	}
	if err := added(before, total(w.core), ledger{}); err != nil {
		return err
	}
	if w.core.ramp {
		return errors.New("a ramp after a manual change")
	}
	return e.agree(w, changes, was, wasShadow)
}

func (e *exploration) trip(w *scene) error {
	before, changes, was, wasShadow := total(w.core), w.core.changes, w.state, w.shadow
	e.hooks.trip(w.core, w.now, openFor)
	w.enter(Open, false)
	if err := added(before, total(w.core), ledger{}); err != nil {
		return err
	}
	return e.agree(w, changes, was, wasShadow)
}

var errExplored = errors.New("down")

// agree compares the core with the model after an event.
func (e *exploration) agree(w *scene, changes uint64, was State, wasShadow bool) error {
	if w.core.state != w.state || w.core.shadow != w.shadow {
		return fmt.Errorf("I6: the core is %v (shadow %v), the model %v (shadow %v)", w.core.state, w.core.shadow, w.state, w.shadow)
	}
	want := changes
	if was != w.state || wasShadow != w.shadow {
		want++
	}
	if w.core.changes != want {
		return fmt.Errorf("I7: %v to %v: %d changes were counted, want %d", was, w.state, w.core.changes-changes, want-changes)
	}
	if w.state == Open && (w.core.since != w.openedAt || w.core.until != w.openedAt+openFor) {
		return fmt.Errorf("I4: open from %v to %v, want from %v for %v", w.core.since, w.core.until, w.openedAt, openFor)
	}
	return nil
}

// check is the invariants that can be seen in a single state.
func (e *exploration) check(w scene) error {
	r := e.setting.rules
	held, before := w.core.inFlight(w.now), w.core.clone()
	if held > r.probes {
		return fmt.Errorf("I1: %d probes in flight", held)
	}
	if want := w.probes(r.lease); held != want {
		return fmt.Errorf("I1: %d probes hold a slot, want %d", held, want)
	}
	ramping := 0
	for _, c := range w.callers {
		if c.busy && c.episode && c.slot == slotRamp {
			ramping++
		}
	}
	if w.core.ramping != ramping {
		return fmt.Errorf("%d attempts of the ramp in flight, want %d", w.core.ramping, ramping)
	}

	// I9: questions change nothing, and answer what an attempt would find.
	state := e.hooks.stateAt(w.core, w.now)
	refuses := w.core.refuses(w.now)
	w.core.seen(w.now)
	w.core.openOver(w.now)
	if !same(before, w.core) {
		return errors.New("I9: a question has changed the core")
	}
	if want := w.state; want == Open && w.now >= w.openedAt+openFor && state != HalfOpen || want != Open && state != want {
		return fmt.Errorf("I9: the state is said to be %v, the model is %v", state, want)
	}
	trial := w.clone()
	if _, admitted := e.hooks.admit(trial.core, w.now, 0); admitted && refuses || !admitted && !refuses && !w.core.ramp {
		return fmt.Errorf("I1, I9: refuses: %v, but admitted: %v", refuses, admitted)
	}

	if state == HalfOpen && refuses && held < r.probes {
		return fmt.Errorf("I5: half-open, %d of %d slots are taken, and nobody is admitted", held, r.probes)
	}
	return e.recovers(w)
}

// recovers checks that the breaker closes soon when the dependency is healthy, whatever happened before, and although
// none of those who are in flight ever returns.
func (e *exploration) recovers(w scene) error {
	if w.shadow || w.state == ForcedOpen || w.state == ForcedClosed {
		return nil
	}
	w = w.clone()
	for end := w.now + openFor + e.setting.rules.lease; ; w.now += tick {
		for range e.setting.rules.successes {
			if slot, admitted := e.hooks.admit(w.core, w.now, 0); admitted {
				e.hooks.settle(w.core, w.now, report{generation: w.core.generation, slot: slot, verdict: policy.Success})
			}
		}
		if w.core.state == Closed {
			return nil
		}
		if w.now >= end {
			return fmt.Errorf("I5: under healthy traffic still %v after the open time and a lease", w.core.state)
		}
	}
}

// total is the ledger with the successes that the shell counts.
func total(c *core) ledger {
	l := c.ledger
	l.requests += uint64(c.good)
	l.successes += uint64(c.good)
	return l
}

// balanced checks that every request is in exactly one of its fates.
func balanced(c *core) error {
	if l := total(c); l.requests != l.successes+l.failures+l.neutral+l.stale+uint64(len(c.probes)) {
		return fmt.Errorf("I8: %+v with %d probes", l, len(c.probes))
	}
	return nil
}

// added checks that a ledger has grown by what was counted. What is stale follows from I8.
func added(before, after, counted ledger) error {
	counted.requests += before.requests
	counted.successes += before.successes
	counted.failures += before.failures
	counted.neutral += before.neutral
	counted.stale = after.stale
	if after != counted || after.stale < before.stale {
		return fmt.Errorf("the ledger went from %+v to %+v, want %+v", before, after, counted)
	}
	return nil
}

// onlyStale checks that a late settlement has changed nothing but the ledger. That slots of leases that are over are
// swept meanwhile is no change.
func onlyStale(before, after *core, now time.Duration) error {
	before, after = before.clone(), after.clone()
	before.expire(now)
	after.expire(now)
	before.ledger, after.ledger = ledger{}, ledger{}
	if !same(before, after) {
		return fmt.Errorf("a late settlement changed the core from\n%+v to\n%+v", *before, *after)
	}
	return nil
}

func same(a, b *core) bool {
	x, y := *a, *b
	if !slices.Equal(x.probes, y.probes) || !reflect.DeepEqual(x.window, y.window) {
		return false
	}
	x.probes, y.probes, x.window, y.window = nil, nil, nil, nil
	return reflect.DeepEqual(x, y)
}

func (c *core) clone() *core {
	clone := *c
	clone.probes = slices.Clone(c.probes)
	if w, ok := c.window.(*countWindow); ok {
		window := *w
		window.marks = slices.Clone(w.marks)
		clone.window = &window
	}
	return &clone
}

func (w *scene) clone() scene {
	clone := *w
	clone.core = w.core.clone()
	clone.calls = slices.Clone(w.calls)
	return clone
}

// normal gives states that nothing can tell apart the same form: the time is always the same, what is long over is
// equally long over, generations and probes are numbered by rank, callers are sorted, and only that of the counts is
// kept which the rules look at.
func (w *scene) normal() {
	const present, longest = 100 * tick, 4 * tick // longer than every period
	shift := present - w.now
	move := func(t *time.Duration) { *t = max(*t+shift, present-longest) }
	c := w.core
	w.now = present
	length := c.until - c.since
	move(&c.since)
	move(&w.openedAt)
	if c.until != 0 {
		c.until = c.since + length
	}
	if c.state == Closed && !c.ramp || c.state == ForcedClosed || c.state == ForcedOpen {
		c.since = present - longest
	}
	if w.state != Open {
		w.openedAt = present - longest
	}
	for i := range c.probes {
		move(&c.probes[i].granted)
	}
	for i := range w.callers {
		if w.callers[i].busy {
			move(&w.callers[i].granted)
		}
	}
	w.rank()
	slices.SortFunc(w.callers[:], func(a, b caller) int { return strings.Compare(string(a.append(nil)), string(b.append(nil))) })
	w.forget()
}

func (w *scene) rank() {
	c := w.core
	generations, probes := []uint64{c.generation}, []int64{0, c.lastProbe}
	for _, p := range c.probes {
		probes = append(probes, p.id)
	}
	for _, caller := range w.callers {
		if caller.busy {
			generations, probes = append(generations, caller.generation), append(probes, max(0, caller.slot))
		}
	}
	slices.Sort(generations)
	slices.Sort(probes)
	generations, probes = slices.Compact(generations), slices.Compact(probes)
	generation := func(g uint64) uint64 { i, _ := slices.BinarySearch(generations, g); return uint64(i) + 1 }
	id := func(p int64) int64 { i, _ := slices.BinarySearch(probes, p); return int64(i) }
	c.generation, c.lastProbe = generation(c.generation), id(c.lastProbe)
	for i := range c.probes {
		c.probes[i].id = id(c.probes[i].id)
	}
	for i := range w.callers {
		if caller := &w.callers[i]; caller.busy {
			caller.generation = generation(caller.generation)
			if caller.slot > 0 {
				caller.slot = id(caller.slot)
			}
		}
	}
}

// forget sets counts that only grow to where the rules can tell no difference.
func (w *scene) forget() {
	c := w.core
	inRow := c.bad.good == c.good
	c.ledger = ledger{requests: uint64(len(c.probes))}
	c.changes, c.openings, c.reason, c.cause, c.evidence = 0, min(c.openings, 1), 0, nil, evidence{}
	if !inRow {
		c.bad.length = 0
	}
	c.bad.length = min(c.bad.length, 3)
	good := int64(0)
	if window, ok := c.window.(*countWindow); ok {
		good = shorten(window, c.good)
	}
	// The ledger must add up with what is left of the successes, which were in it.
	c.good = good
	c.bad.good = good
	if !inRow {
		c.bad.good = good - 1
	}
}

// shorten renumbers the calls in a window so that the oldest one is as old as can be told, and returns the successes.
func shorten(w *countWindow, good int64) int64 {
	last := good + w.total
	var bad []mark
	for i := range w.held {
		if m := w.marks[(w.first+i)%w.size]; m.number > last-w.size {
			bad = append(bad, m)
		}
	}
	end := min(last, w.size)
	short := countWindow{size: w.size, marks: make([]mark, w.size), held: int64(len(bad)), total: int64(len(bad))}
	for i, m := range bad {
		m.number -= last - end
		short.marks[i] = m
		short.sums = short.sums.plus(m.counts())
	}
	*w = short
	return end - short.total
}

func (c caller) append(key []byte) []byte {
	return append(key, bit(c.busy), byte(c.slot), byte(c.generation), byte(c.granted/tick), bit(c.episode))
}

// key tells states apart. All numbers in it are small.
func (w *scene) key() string {
	c := w.core
	key := make([]byte, 0, 64)
	key = append(key, byte(c.state), bit(c.shadow), byte(c.generation), byte(c.since/tick), byte(c.until/tick), bit(c.ramp),
		byte(c.openings), byte(c.good), byte(c.bad.length), byte(c.bad.good), byte(c.ramping), byte(c.lastProbe), byte(c.passed),
		byte(w.state), bit(w.shadow), byte(w.passed), byte(w.openedAt/tick), byte(len(c.probes)))
	for _, p := range c.probes {
		key = append(key, byte(p.id), byte(p.granted/tick))
	}
	for _, caller := range w.callers {
		key = caller.append(key)
	}
	if window, ok := c.window.(*countWindow); ok {
		key = append(key, byte(window.total), byte(window.held), byte(window.sums.failures))
		for _, m := range window.marks {
			key = append(key, byte(m.number), bit(m.failed))
		}
	}
	for _, failed := range w.calls {
		key = append(key, bit(failed))
	}
	return string(key)
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// TestExploreFindsWrongCores: the explorer is worth something only if it finds what others got wrong.
func TestExploreFindsWrongCores(t *testing.T) {
	type change = func(*hooks)
	settled := func(f func(settle func(*core, time.Duration, report), c *core, now time.Duration, r report)) change {
		return func(h *hooks) {
			settle := h.settle
			h.settle = func(c *core, now time.Duration, r report) { f(settle, c, now, r) }
		}
	}
	type settleFunc = func(*core, time.Duration, report)
	for name, wrong := range map[string]struct {
		setting int
		want    string
		change  change
	}{
		"FAULT 8, 9: outcomes of an earlier era count": {0, "I2", settled(func(settle settleFunc, c *core, now time.Duration, r report) {
			if r.slot <= 0 {
				r.generation = c.generation
			}
			settle(c, now, r)
		})},
		"FAULT 4: a neutral probe keeps its slot": {0, "I2", settled(func(settle settleFunc, c *core, now time.Duration, r report) {
			if r.slot <= 0 || r.verdict != policy.Neutral {
				settle(c, now, r)
			}
		})},
		"FAULT 6: neutral is success": {0, "I2", settled(func(settle settleFunc, c *core, now time.Duration, r report) {
			if r.verdict == policy.Neutral {
				r.verdict = policy.Success
			}
			settle(c, now, r)
		})},
		"FAULT 11: late failures extend the open time": {0, "I", settled(func(settle settleFunc, c *core, now time.Duration, r report) {
			late := c.state == Open && r.generation != c.generation && r.verdict == policy.Failure
			settle(c, now, r)
			if late {
				c.until += tick
			}
		})},
		"FAULT 12: numbers of probes are used again": {0, "I", settled(func(settle settleFunc, c *core, now time.Duration, r report) {
			state := c.state
			settle(c, now, r)
			if c.state != state {
				c.lastProbe = 0
			}
		})},
		"FAULT 12: the lease of a late probe does not matter": {0, "I", settled(func(settle settleFunc, c *core, now time.Duration, r report) {
			for i := range c.probes {
				if c.probes[i].id == r.slot {
					c.probes[i].granted = now
				}
			}
			settle(c, now, r)
		})},
		"FAULT 3: a probe holds its slot for ever": {0, "I", func(h *hooks) {
			admit := h.admit
			h.admit = func(c *core, now time.Duration, luck float64) (int64, bool) {
				for i := range c.probes {
					c.probes[i].granted = now
				}
				return admit(c, now, luck)
			}
		}},
		"FAULT 14: one probe too many": {0, "I1", func(h *hooks) {
			admit := h.admit
			h.admit = func(c *core, now time.Duration, luck float64) (int64, bool) {
				slot, admitted := admit(c, now, luck)
				if admitted || c.state != HalfOpen {
					return slot, admitted
				}
				more := *c.rules
				more.probes++
				c.rules = &more
				return admit(c, now, luck)
			}
		}},
		"FAULT 17: an attempt a tick too early": {0, "I", func(h *hooks) {
			admit := h.admit
			h.admit = func(c *core, now time.Duration, luck float64) (int64, bool) {
				if c.state == Open {
					c.until -= tick
				}
				return admit(c, now, luck)
			}
		}},
		"FAULT 18: a failed probe does not begin a new open time": {0, "I4", settled(func(settle settleFunc, c *core, now time.Duration, r report) {
			began := c.since
			settle(c, now, r)
			if r.slot > 0 && c.state == Open {
				c.until = began + openFor
			}
		})},
		"FAULT 20: closing keeps the failures": {1, "I6", settled(func(settle settleFunc, c *core, now time.Duration, r report) {
			half := c.state == HalfOpen
			settle(c, now, r)
			if half && c.state == Closed {
				c.bad.length = 1
			}
		})},
		"FAULT 22: a failure early": {3, "I6", settled(func(settle settleFunc, c *core, now time.Duration, r report) {
			early := *c.rules
			early.failureRate.minimumCalls--
			real := c.rules
			c.rules = &early
			settle(c, now, r)
			c.rules = real
		})},
		"FAULT 16: a change is counted twice": {0, "I7", func(h *hooks) {
			trip := h.trip
			h.trip = func(c *core, now, d time.Duration) { trip(c, now, d); c.changes++ }
		}},
		"FAULT 34: a second settlement counts": {1, "I", settled(func(settle settleFunc, c *core, now time.Duration, r report) {
			before := c.ledger.failures
			settle(c, now, r)
			if r.slot > 0 && r.verdict == policy.Failure && c.ledger.failures == before && c.state == HalfOpen {
				c.open(c.shadow, ReasonProbeFailed, nil, now, openFor)
			}
		})},
		"FAULT 35: asking for the state changes it": {0, "I9", func(h *hooks) {
			h.stateAt = func(c *core, now time.Duration) State {
				if c.openOver(now) {
					c.enter(HalfOpen, c.shadow, ReasonOpenTimeOver, now)
				}
				return c.state
			}
		}},
		"FAULT 36: a reset forgets the probes in flight": {0, "I8", func(h *hooks) {
			force := h.force
			h.force = func(c *core, to State, reason Reason, now time.Duration) {
				c.probes = c.probes[:0]
				force(c, to, reason, now)
			}
		}},
		"the ramp forgets who has left": {4, "of the ramp", settled(func(settle settleFunc, c *core, now time.Duration, r report) {
			ramping := c.ramping
			settle(c, now, r)
			if r.slot == slotRamp && c.state == Closed && r.generation == c.generation {
				c.ramping = ramping
			}
		})},
	} {
		t.Run(name, func(t *testing.T) {
			h := realHooks()
			wrong.change(&h)
			e := searchAll(settings[wrong.setting], h)
			if e.violation == nil {
				t.Fatalf("not found in %d states", len(e.seen))
			}
			if !strings.Contains(e.violation.Error(), wrong.want) {
				t.Fatalf("found as something else than %s: %v", wrong.want, e.violation)
			}
			t.Logf("found after %d states: %v", len(e.seen), e.violation)
		})
	}
}
