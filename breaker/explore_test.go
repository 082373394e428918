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

	"github.com/go-resilience/resilience/internal/decimal"
	"github.com/go-resilience/resilience/internal/testsize"
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
	pause    = 2 * tick // how long a throttled probe keeps its slot
	explored = 3        // callers
)

// scene is a core, those who call it, and what the model knows.
type scene struct {
	core    *core
	now     time.Duration
	callers [explored]caller

	other    bool // of the model: the other rules are in force
	state    State
	shadow   bool
	passed   int // probes of this episode that succeeded
	failed   int // and that failed
	slots    []modelSlot
	calls    []bool        // since the breaker closed, as far back as a row can go: whether each failed
	window   []bool        // the calls in the window
	openedAt time.Duration // the last opening
}

// caller makes one attempt at a time. One that stays busy is an operation that hangs, or a result that stays open.
type caller struct {
	busy       bool
	number     int64
	generation uint64
	counts     bool // what becomes of the attempt counts, as the model sees it
}

// modelSlot is a slot for a probe that was given away.
type modelSlot struct {
	number int64
	until  time.Duration
	over   bool // its probe has ended, throttled
}

// hooks are the events of the core. Wrong variants of the core replace some.
type hooks struct {
	admit   func(c *core, now time.Duration, luck float64) (int64, bool)
	settle  func(c *core, now time.Duration, r settlement) bool
	force   func(c *core, to State, reason Reason, cause policy.Cause, now time.Duration)
	trip    func(c *core, now time.Duration)
	stateAt func(c *core, now time.Duration) State
	change  func(c *core, r *rules, shadow bool, now time.Duration)
}

func realHooks() hooks {
	trip := func(c *core, now time.Duration) { c.open(ReasonTripped, policy.Cause{}, now, openFor) }
	return hooks{
		admit: (*core).admit, settle: (*core).settle, force: (*core).force, trip: trip, change: (*core).reconfigure,
		stateAt: func(c *core, now time.Duration) State { return c.stateAt(now) },
	}
}

// scenario is what is explored: the rules, and what else can happen.
type scenario struct {
	name      string
	rules     rules
	other     *rules // what Reconfigure changes the rules to, and back
	operator  bool   // the state is changed by hand
	shadow    bool   // so is the mode
	open      bool   // results stay open
	throttled bool   // probes are throttled
	long      bool   // only whole runs explore it
}

var scenarios = []scenario{
	{name: "1 probe, 1 success, 2 failures in a row, operator", operator: true, long: true,
		rules: rules{consecutive: 2, probes: 1, successes: 1, lease: 3 * tick}},
	{name: "2 probes, 2 successes, 2 failures in a row, operator", operator: true, long: true,
		rules: rules{consecutive: 2, probes: 2, successes: 2, lease: 2 * tick}},
	{name: "2 probes, 3 successes, lease of one tick",
		rules: rules{consecutive: 1, probes: 2, successes: 3, lease: tick}},
	{name: "1 probe, window of 3 calls, half of at least 2",
		rules: rules{failureRate: rateRule{0.5, 2, decimal.Of(0.5)}, lastCalls: 3, probes: 1, successes: 1, lease: 3 * tick}},
	{name: "2 probes, 2 successes, ramp of 2 ticks",
		rules: rules{consecutive: 2, probes: 2, successes: 2, lease: 3 * tick, ramp: 2 * tick}},
	{name: "3 probes, 3 successes, 1 may fail, lease of one tick",
		rules: rules{consecutive: 1, probes: 3, successes: 3, failedProbes: 1, lease: tick}},
	{name: "2 probes, 2 successes, throttled", throttled: true,
		rules: rules{consecutive: 1, probes: 2, successes: 2, lease: tick}},
	{name: "2 probes, 2 successes, results stay open", open: true,
		rules: rules{consecutive: 2, probes: 2, successes: 2, failedProbes: 1, lease: 2 * tick}},
	{name: "1 probe, shadow, operator", shadow: true, operator: true, long: true,
		rules: rules{consecutive: 2, probes: 1, successes: 1, lease: tick}},
	{name: "several probes to 1, 2 successes to 1, and back", shadow: testsize.Whole(),
		rules: rules{consecutive: 2, probes: testsize.Pick(2, 3), successes: 2, lease: 2 * tick},
		other: &rules{consecutive: 1, probes: 1, successes: 1, failedProbes: 1, lease: tick}},
	{name: "window of 4 calls to one of 2, and back", long: true,
		rules: rules{failureCount: 3, lastCalls: 4, probes: 1, successes: 1, lease: tick},
		other: &rules{failureRate: rateRule{0.5, 2, decimal.Of(0.5)}, lastCalls: 2, probes: 1, successes: 1, lease: tick}},
}

// rules returns the rules that are in force.
func (e *exploration) rules(w *scene) *rules {
	if w.other {
		return e.scenario.other
	}
	return &e.scenario.rules
}

func TestExploreTheCore(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			if s.long && !testsize.Whole() {
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
			for state := range ForcedClosed + 1 {
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
	scenario  scenario
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

func searchAll(s scenario, h hooks) *exploration {
	e := &exploration{scenario: s, hooks: h, seen: map[string]struct{}{}, visited: map[State]bool{}}
	first := scene{core: newCore(&e.scenario.rules, false, 0), state: Closed}
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
	if w.core.until != 0 && w.core.state == Closed {
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
			name := fmt.Sprintf("%v of slot %d, generation %d", verdict, c.number, c.generation)
			all = append(all, event{name, func(w *scene) error { return e.settle(w, i, settlement{verdict: verdict}) }})
		}
		if c.number > 0 {
			all = append(all, event{"a probe is settled twice", func(w *scene) error {
				if err := e.settle(w, i, settlement{verdict: policy.Neutral}); err != nil {
					return err
				}
				w.callers[i] = c
				return e.settle(w, i, settlement{verdict: policy.Failure})
			}})
		}
		if c.number > 0 && e.scenario.throttled {
			throttled := settlement{verdict: policy.Neutral, throttledFor: pause}
			all = append(all, event{"a probe is throttled", func(w *scene) error { return e.settle(w, i, throttled) }})
			all = append(all, event{"a probe is throttled, and settled again", func(w *scene) error {
				if err := e.settle(w, i, throttled); err != nil {
					return err
				}
				w.callers[i] = c
				return e.settle(w, i, settlement{verdict: policy.Success})
			}})
		}
		if c.number >= ticketRamping && e.scenario.open {
			all = append(all, event{fmt.Sprintf("slot %d, generation %d stays open", c.number, c.generation), func(w *scene) error {
				return e.returned(w, i)
			}})
		}
	}
	all = append(all, event{"trip", e.trip})
	if e.scenario.operator {
		force := func(name string, to State, reason Reason) {
			all = append(all, event{name, func(w *scene) error { return e.force(w, to, reason) }})
		}
		force("reset", Closed, ReasonReset)
		force("force open", ForcedOpen, ReasonForced)
		force("force closed", ForcedClosed, ReasonForced)
	}
	if e.scenario.shadow {
		all = append(all, event{"the other mode", func(w *scene) error { return e.change(w, w.other, !w.shadow) }})
	}
	if e.scenario.other != nil {
		all = append(all, event{"the other rules", func(w *scene) error { return e.change(w, !w.other, w.shadow) }})
	}
	return all
}

// taken returns how many slots for probes are taken, as the model sees it.
func (w *scene) taken() (n int) {
	for _, s := range w.slots {
		if w.now < s.until {
			n++
		}
	}
	return n
}

// holds returns which slot the probe with a number holds and has not ended, -1 if none.
func (w *scene) holds(number int64) int {
	return slices.IndexFunc(w.slots, func(s modelSlot) bool { return s.number == number && !s.over })
}

// enter is a change of state in the model. What stays open from probes counts in the state that they bring about, too.
func (w *scene) enter(state State, byProbes bool) {
	for i := range w.callers {
		c := &w.callers[i]
		c.counts = c.counts && c.number == ticketReturnedProbe && byProbes && w.state == HalfOpen
	}
	w.state, w.passed, w.failed, w.slots, w.calls = state, 0, 0, nil, nil
	if state == Closed {
		w.window = nil
	}
	if state == Open {
		w.openedAt = w.now
	}
}

// most returns how many probes there may be.
func (e *exploration) most(w *scene) int {
	r := e.rules(w)
	return min(r.probes, max(1, r.successes-w.passed))
}

// admit lets a caller ask for an attempt.
func (e *exploration) admit(w *scene, i int, luck float64) error {
	before := w.core.total()
	r := e.rules(w)
	over := w.state == Open && w.now >= w.openedAt+openFor
	ramp := w.core.ramping(w.now)
	rampInFlight := w.core.rampInFlight
	share := float64(w.now-w.core.since) / float64(max(1, r.ramp))
	changes := w.core.changes
	slot, admitted := e.hooks.admit(w.core, w.now, luck)

	was := w.state
	if over {
		w.enter(HalfOpen, false)
	}
	if err := e.agree(w, changes, was); err != nil {
		return err
	}
	var want bool
	counted := ledger{}
	switch w.state {
	case Closed:
		want = !ramp || rampInFlight < r.probes || luck < share
	case ForcedClosed:
		want = true
	case HalfOpen:
		want = w.taken() < e.most(w)
		if want {
			counted = ledger{requests: 1, stale: w.giveSlot(slot, e.most(w), w.now+r.lease)}
		}
	}
	if admitted != want {
		return fmt.Errorf("I1, I4: admitted: %v, want %v in state %v", admitted, want, w.state)
	}
	if admitted && (slot > 0) != (w.state == HalfOpen) {
		return fmt.Errorf("admitted to slot %d in state %v", slot, w.state)
	}
	if err := added(before, w.core.total(), counted, over); err != nil {
		return err
	}
	if !admitted && w.shadow {
		slot, admitted = ticketVoid, true // what the shell does
	}
	if admitted {
		w.callers[i] = caller{busy: true, number: slot, generation: w.core.generation, counts: slot != ticketVoid}
	}
	return nil
}

// giveSlot gives a slot to a probe. It takes as many as it must from those whose time is over, the oldest first, and
// returns how many of their probes have not ended.
func (w *scene) giveSlot(number int64, most int, until time.Duration) (lost uint64) {
	for i := 0; i < len(w.slots) && len(w.slots) >= most; {
		switch {
		case w.now < w.slots[i].until:
			i++
			continue
		case !w.slots[i].over:
			lost++
		}
		w.slots = slices.Delete(w.slots, i, i+1)
	}
	w.slots = append(w.slots, modelSlot{number: number, until: until})
	return lost
}

// returned is the success of an operation whose result stays open.
func (e *exploration) returned(w *scene, i int) error {
	c := w.callers[i]
	counts := c.counts && (c.number <= 0 || w.holds(c.number) >= 0)
	w.callers[i].number = ticketReturned // before it is settled: what it brings about concerns it
	if c.number > 0 {
		w.callers[i].number = ticketReturnedProbe
	}
	open := &w.callers[i]
	if err := e.settleAs(w, i, c, settlement{verdict: policy.Success}); err != nil {
		return err
	}
	if !counts {
		*open = caller{busy: true, number: ticketVoid}
	}
	return nil
}

// settle ends the attempt of a caller.
func (e *exploration) settle(w *scene, i int, r settlement) error {
	c := w.callers[i]
	w.callers[i] = caller{}
	return e.settleAs(w, i, c, r)
}

func (e *exploration) settleAs(w *scene, i int, c caller, r settlement) error {
	open := c.number == ticketReturned || c.number == ticketReturnedProbe
	if open && r.verdict != policy.Failure {
		return nil // what the shell does
	}
	before, frozen, changes := w.core.total(), w.core.clone(), w.core.changes
	r.generation, r.number, r.err, r.openFor = c.generation, c.number, errExplored, openFor
	said := e.hooks.settle(w.core, w.now, r)
	held := -1
	valid := c.counts
	if c.number > 0 {
		held = w.holds(c.number)
		valid = valid && held >= 0
	}
	if said != valid {
		return fmt.Errorf("I2: counted: %v, want %v", said, valid)
	}
	was := w.state
	counted := ledger{}
	if c.number <= 0 && c.number != ticketVoid {
		counted.requests = 1
	}
	switch {
	case !valid:
		counted.stale = counted.requests
	case r.verdict == policy.Neutral:
		counted.neutral = 1
	case r.verdict == policy.Failure:
		counted.failures = 1
	default:
		counted.successes = 1
	}
	if valid {
		if held >= 0 && r.throttledFor > 0 {
			w.slots[held].over, w.slots[held].until = true, w.now+r.throttledFor
		} else if held >= 0 {
			w.slots = slices.Delete(w.slots, held, held+1)
		}
		e.count(w, c, r.verdict)
	}
	if err := added(before, w.core.total(), counted, w.state != was); err != nil {
		return fmt.Errorf("I2, I8: %w", err)
	}
	if !valid {
		if err := onlyStale(frozen, w.core); err != nil {
			return fmt.Errorf("I3: %w", err)
		}
	}
	return e.agree(w, changes, was)
}

// count is what the model makes of a valid outcome.
func (e *exploration) count(w *scene, c caller, verdict policy.Verdict) {
	r, failed := e.rules(w), verdict == policy.Failure
	switch {
	case verdict == policy.Neutral:
	case w.state == HalfOpen && failed:
		if w.failed++; w.failed > r.failedProbes {
			w.enter(Open, true)
		}
	case w.state == HalfOpen:
		if w.passed++; w.passed >= r.successes {
			w.enter(Closed, true)
		}
	case w.state == Closed:
		w.calls = append(w.calls, failed)
		if r.lastCalls > 0 {
			w.window = append(w.window, failed)
			w.window = w.window[max(0, len(w.window)-r.lastCalls):]
		}
		if failed && e.trips(w) {
			w.enter(Open, false)
			return
		}
		w.calls = w.calls[max(0, len(w.calls)-3):]
	}
}

// trips is the rules, written so that they can be read.
func (e *exploration) trips(w *scene) bool {
	r := e.rules(w)
	if n := r.consecutive; n > 0 && len(w.calls) >= n && !slices.Contains(w.calls[len(w.calls)-n:], false) {
		return true
	}
	failures := 0
	for _, failed := range w.window {
		if failed {
			failures++
		}
	}
	if n := r.failureCount; n > 0 && failures >= n {
		return true
	}
	return r.failureRate.exists() && len(w.window) >= int(r.failureRate.minimumCalls) && 2*failures >= len(w.window)
}

func (e *exploration) force(w *scene, to State, reason Reason) error {
	before, changes, was := w.core.total(), w.core.changes, w.state
	e.hooks.force(w.core, to, reason, policy.Cause{}, w.now)
	w.enter(to, false)
	if err := added(before, w.core.total(), ledger{}, true); err != nil {
		return err
	}
	if w.core.until != 0 {
		return errors.New("a ramp after a manual change")
	}
	return e.agree(w, changes, was)
}

func (e *exploration) trip(w *scene) error {
	before, changes, was := w.core.total(), w.core.changes, w.state
	e.hooks.trip(w.core, w.now)
	w.enter(Open, false)
	if err := added(before, w.core.total(), ledger{}, true); err != nil {
		return err
	}
	return e.agree(w, changes, was)
}

// change is another mode, or other rules. Nothing else changes, but for the calls that another window cannot hold.
func (e *exploration) change(w *scene, other, shadow bool) error {
	before, changes := w.core.clone(), w.core.changes
	old := e.rules(w)
	w.other, w.shadow = other, shadow
	r := e.rules(w)
	e.hooks.change(w.core, r, shadow, w.now)
	if old.lastCalls != r.lastCalls {
		w.window = w.window[max(0, len(w.window)-r.lastCalls):]
	}
	if w.core.rules != r || w.core.shadow != shadow {
		return errors.New("I10: the rules or the mode are not what was asked for")
	}
	before.rules, before.shadow, before.window = w.core.rules, shadow, w.core.window
	if !same(before, w.core) {
		return errors.New("I10: more has changed than the rules and the mode")
	}
	return e.agree(w, changes, w.state)
}

var errExplored = errors.New("down")

// agree checks that core and model are in the same state, after a step that began in another one.
func (e *exploration) agree(w *scene, changes uint64, was State) error {
	if w.core.state != w.state || w.core.shadow != w.shadow {
		return fmt.Errorf("I6: the core is %v (shadow %v), the model %v (shadow %v)", w.core.state, w.core.shadow, w.state, w.shadow)
	}
	want := changes
	if was != w.state {
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
	r := e.rules(&w)
	held, before := w.core.halfOpen.taken(w.now), w.core.clone()
	most := r.probes
	if e.scenario.other != nil { // probes stay when there may be fewer
		most = max(most, e.scenario.rules.probes)
	}
	if held > most {
		return fmt.Errorf("I1: %d probes in flight", held)
	}
	if want := w.taken(); held != want {
		return fmt.Errorf("I1: %d probes hold a slot, want %d", held, want)
	}
	if w.state == HalfOpen && e.scenario.other == nil && w.passed+len(w.slots) > r.successes {
		return fmt.Errorf("I1: %d probes beside %d that succeeded: more than can matter", len(w.slots), w.passed)
	}
	rampInFlight := 0
	for _, c := range w.callers {
		if c.busy && c.counts && c.number == ticketRamping {
			rampInFlight++
		}
	}
	if w.core.rampInFlight != rampInFlight {
		return fmt.Errorf("%d attempts of the ramp in flight, want %d", w.core.rampInFlight, rampInFlight)
	}
	if err := w.sees(); err != nil {
		return err
	}

	// I9: questions change nothing, and answer what an attempt would find.
	state := e.hooks.stateAt(w.core, w.now)
	refuses := w.core.refuses(w.now)
	w.core.seen(w.now)
	if !same(before, w.core) {
		return errors.New("I9: a question has changed the core")
	}
	if want := w.state; want == Open && w.now >= w.openedAt+openFor && state != HalfOpen || want != Open && state != want {
		return fmt.Errorf("I9: the state is said to be %v, the model is %v", state, want)
	}
	trial := w.clone()
	if _, admitted := e.hooks.admit(trial.core, w.now, 0); admitted && refuses || !admitted && !refuses && !w.core.ramping(w.now) {
		return fmt.Errorf("I1, I9: refuses: %v, but admitted: %v", refuses, admitted)
	}

	if state == HalfOpen && refuses && held < e.most(&w) {
		return fmt.Errorf("I5: half-open, %d of %d slots are taken, and nothing is admitted", held, e.most(&w))
	}
	return e.recovers(w)
}

// sees checks what the rules see against the lists of the model.
func (w *scene) sees() error {
	if w.state != Closed || w.core.window == nil {
		return nil
	}
	var want windowCounts
	for _, failed := range w.window {
		want.calls++
		if failed {
			want.failures++
		}
	}
	if got := w.core.seen(w.now).window; got != want {
		return fmt.Errorf("I11: the window holds %+v, want %+v", got, want)
	}
	return nil
}

// recovers checks that the breaker closes soon when the dependency is healthy, whatever happened before, and although
// none of those who are in flight ever returns.
func (e *exploration) recovers(w scene) error {
	if w.state == ForcedOpen || w.state == ForcedClosed {
		return nil
	}
	w = w.clone()
	r := e.rules(&w)
	for end := w.now + openFor + 3*tick + pause; ; w.now += tick { // no lease is longer than 3 ticks
		for range r.successes {
			if slot, admitted := e.hooks.admit(w.core, w.now, 0); admitted {
				e.hooks.settle(w.core, w.now, settlement{generation: w.core.generation, number: slot, verdict: policy.Success})
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

// balanced checks that every request is in exactly one of its fates.
func balanced(c *core) error {
	if l := c.total(); l.requests != l.successes+l.failures+l.neutral+l.stale+c.halfOpen.inFlight() {
		return fmt.Errorf("I8: %+v with %d probes", l, c.halfOpen.inFlight())
	}
	return nil
}

// added checks that a ledger has grown by what was counted. When the state changes, what becomes stale follows from I8.
func added(before, after, counted ledger, changed bool) error {
	counted.requests += before.requests
	counted.successes += before.successes
	counted.failures += before.failures
	counted.neutral += before.neutral
	counted.stale += before.stale
	if changed && after.stale >= counted.stale {
		counted.stale = after.stale
	}
	if after != counted {
		return fmt.Errorf("the ledger went from %+v to %+v, want %+v", before, after, counted)
	}
	return nil
}

// onlyStale checks that a settlement that counts nowhere has changed nothing but the ledger.
func onlyStale(before, after *core) error {
	before, after = before.clone(), after.clone()
	before.ledger, after.ledger = ledger{}, ledger{}
	if !same(before, after) {
		return fmt.Errorf("a late settlement changed the core from\n%+v to\n%+v", *before, *after)
	}
	return nil
}

func same(a, b *core) bool {
	x, y := *a, *b
	if !slices.Equal(x.halfOpen.probes, y.halfOpen.probes) || !reflect.DeepEqual(x.window, y.window) {
		return false
	}
	x.halfOpen.probes, y.halfOpen.probes, x.window, y.window = nil, nil, nil, nil
	return reflect.DeepEqual(x, y)
}

func (c *core) clone() *core {
	clone := *c
	clone.halfOpen.probes = slices.Clone(c.halfOpen.probes)
	if w, ok := c.window.(*countWindow); ok {
		window := *w
		window.badCalls = slices.Clone(w.badCalls)
		clone.window = &window
	}
	return &clone
}

func (w *scene) clone() scene {
	clone := *w
	clone.core = w.core.clone()
	clone.calls, clone.window, clone.slots = slices.Clone(w.calls), slices.Clone(w.window), slices.Clone(w.slots)
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
	if c.state == Closed && c.until == 0 || c.state == ForcedClosed || c.state == ForcedOpen {
		c.since = present - longest
	}
	if w.state != Open {
		w.openedAt = present - longest
	}
	for i := range c.halfOpen.probes {
		p := &c.halfOpen.probes[i]
		move(&p.since)
		move(&p.until)
	}
	for i := range w.slots {
		move(&w.slots[i].until)
	}
	w.rank()
	slices.SortFunc(w.callers[:], func(a, b caller) int { return strings.Compare(string(a.append(nil)), string(b.append(nil))) })
	w.forget()
}

// rank numbers generations and probes anew. Of a generation it matters only whether it is the present one, the one
// before, or older.
func (w *scene) rank() {
	const present = 3
	c := w.core
	probes := []int64{0, c.halfOpen.lastNumber}
	for _, p := range c.halfOpen.probes {
		probes = append(probes, p.number)
	}
	for _, caller := range w.callers {
		probes = append(probes, max(0, caller.number))
	}
	slices.Sort(probes)
	probes = slices.Compact(probes)
	number := func(p int64) int64 { i, _ := slices.BinarySearch(probes, p); return int64(i) }
	for i := range w.callers {
		caller := &w.callers[i]
		switch {
		case !caller.busy || caller.number == ticketVoid || caller.generation+1 < c.generation:
			caller.generation = 1
		default:
			caller.generation = present + caller.generation - c.generation
		}
		if caller.number > 0 {
			caller.number = number(caller.number)
		}
	}
	c.generation, c.halfOpen.lastNumber = present, number(c.halfOpen.lastNumber)
	for i := range c.halfOpen.probes {
		c.halfOpen.probes[i].number = number(c.halfOpen.probes[i].number)
	}
	for i := range w.slots {
		w.slots[i].number = number(w.slots[i].number)
	}
}

// forget sets counts that only grow to where the rules can tell no difference.
func (w *scene) forget() {
	c := w.core
	c.ledger, c.ledgerAtEntry = ledger{requests: c.halfOpen.inFlight()}, ledger{}
	c.changes, c.openings, c.cause, c.openedBy, c.lastSeen = 0, min(c.openings, 1), policy.Cause{}, nil, evidence{}
	c.halfOpen.lastAdmitted = 0
	if c.reason == ReasonProbeFailed || c.reason == ReasonProbeSlow {
		c.reason = ReasonProbesSucceeded
	}
	if c.reason != ReasonProbesSucceeded {
		c.reason = ReasonNone
	}
	others := int64(0)
	if c.streak.successes(c.good) > 0 {
		c.streak.failures, others = 0, 1
	}
	good := int64(0)
	if window, ok := c.window.(*countWindow); ok {
		good = shorten(window, c.good)
	}
	// The ledger must add up with what is left of the successes, which were in it.
	c.good = good
	c.streak = streak{failures: min(c.streak.failures, 3), good: good, others: others}
}

// shorten renumbers the calls in a window so that the oldest one is as old as can be told, and returns the successes.
func shorten(w *countWindow, good int64) int64 {
	last := good + w.bad
	var bad []badCall
	for i := range w.held {
		if m := w.badCalls[(w.oldest+i)%w.size]; m.number > last-w.size {
			bad = append(bad, m)
		}
	}
	end := min(last-w.forgotten, w.size)
	short := countWindow{size: w.size, badCalls: make([]badCall, w.size), held: int64(len(bad)), bad: int64(len(bad))}
	for i, m := range bad {
		m.number -= last - end
		short.badCalls[i] = m
		short.sums = short.sums.plus(m.counts())
	}
	*w = short
	return end - short.bad
}

func (c caller) append(key []byte) []byte {
	return append(key, bit(c.busy), byte(c.number), byte(c.generation), bit(c.counts))
}

// key tells states apart. All numbers in it are small.
func (w *scene) key() string {
	c := w.core
	h := &c.halfOpen
	key := make([]byte, 0, 96)
	key = append(key, byte(c.state), bit(c.shadow), byte(c.reason), byte(c.since/tick), byte(c.until/tick), byte(c.openings),
		byte(c.good), byte(c.streak.failures), byte(c.streak.others), byte(c.rampInFlight), byte(h.lastNumber), byte(h.passed), byte(h.failed),
		bit(w.other), byte(w.state), bit(w.shadow), byte(w.passed), byte(w.failed), byte(w.openedAt/tick), byte(len(h.probes)))
	for _, p := range h.probes {
		key = append(key, byte(p.number), byte(p.since/tick), byte(p.until/tick), bit(p.throttled))
	}
	for _, s := range w.slots {
		key = append(key, byte(s.number), byte(s.until/tick), bit(s.over))
	}
	for _, caller := range w.callers {
		key = caller.append(key)
	}
	if window, ok := c.window.(*countWindow); ok {
		key = append(key, byte(window.size), byte(window.bad), byte(window.held), byte(window.sums.failures))
		for _, m := range window.badCalls {
			key = append(key, byte(m.number), bit(m.failed))
		}
	}
	for _, failed := range w.calls {
		key = append(key, bit(failed))
	}
	key = append(key, 2)
	for _, failed := range w.window {
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
	type settleFunc = func(*core, time.Duration, settlement) bool
	settled := func(f func(settle settleFunc, c *core, now time.Duration, r settlement) bool) change {
		return func(h *hooks) {
			settle := h.settle
			h.settle = func(c *core, now time.Duration, r settlement) bool { return f(settle, c, now, r) }
		}
	}
	// reported changes what the core is told.
	reported := func(f func(c *core, r *settlement)) change {
		return settled(func(settle settleFunc, c *core, now time.Duration, r settlement) bool {
			f(c, &r)
			return settle(c, now, r)
		})
	}
	admitted := func(f func(c *core, now time.Duration)) change {
		return func(h *hooks) {
			admit := h.admit
			h.admit = func(c *core, now time.Duration, luck float64) (int64, bool) {
				f(c, now)
				return admit(c, now, luck)
			}
		}
	}
	for name, wrong := range map[string]struct {
		scenario string
		want     string
		change   change
	}{
		"FAULT 8, 9: outcomes of an earlier era count": {"1 probe, 1 success", "I2", reported(func(c *core, r *settlement) {
			if r.number <= 0 {
				r.generation = c.generation
			}
		})},
		"FAULT 4: a neutral probe keeps its slot": {"1 probe, 1 success", "I2", settled(func(settle settleFunc, c *core, now time.Duration, r settlement) bool {
			return r.number > 0 && r.verdict == policy.Neutral || settle(c, now, r)
		})},
		"FAULT 6: neutral is success": {"1 probe, 1 success", "I2", reported(func(_ *core, r *settlement) {
			if r.verdict == policy.Neutral {
				r.verdict = policy.Success
			}
		})},
		"FAULT 11: late failures extend the open time": {"1 probe, 1 success", "I", settled(func(settle settleFunc, c *core, now time.Duration, r settlement) bool {
			late := c.state == Open && r.generation != c.generation && r.failed()
			counted := settle(c, now, r)
			if late {
				c.until += tick
			}
			return counted
		})},
		"FAULT 12: numbers of probes are used again": {"1 probe, 1 success", "I", settled(func(settle settleFunc, c *core, now time.Duration, r settlement) bool {
			state := c.state
			counted := settle(c, now, r)
			if c.state != state {
				c.halfOpen.lastNumber = 0
			}
			return counted
		})},
		"FAULT 12: a displaced probe counts": {"1 probe, 1 success", "I", reported(func(c *core, r *settlement) {
			if r.number > 0 && c.state == HalfOpen && len(c.halfOpen.probes) > 0 {
				r.number = c.halfOpen.probes[0].number
			}
		})},
		"FAULT 240: a probe whose lease is over does not count": {"1 probe, 1 success", "I2", settled(func(settle settleFunc, c *core, now time.Duration, r settlement) bool {
			for i, p := range c.halfOpen.probes {
				if !p.leased(now) {
					c.halfOpen.probes = slices.Delete(c.halfOpen.probes, i, i+1)
					c.ledger.stale++
					break
				}
			}
			return settle(c, now, r)
		})},
		"FAULT 3: a probe holds its slot for ever": {"1 probe, 1 success", "I", admitted(func(c *core, now time.Duration) {
			for i := range c.halfOpen.probes {
				c.halfOpen.probes[i].until = now + tick
			}
		})},
		"FAULT 14: one probe too many": {"1 probe, 1 success", "I1", func(h *hooks) {
			admit := h.admit
			h.admit = func(c *core, now time.Duration, luck float64) (int64, bool) {
				slot, admitted := admit(c, now, luck)
				if admitted || c.state != HalfOpen {
					return slot, admitted
				}
				more := *c.rules
				more.probes++
				more.successes++
				c.rules = &more
				return admit(c, now, luck)
			}
		}},
		"FAULT 276: more probes than can matter": {"3 probes, 3 successes", "I1", func(h *hooks) {
			admit := h.admit
			h.admit = func(c *core, now time.Duration, luck float64) (int64, bool) {
				passed := c.halfOpen.passed
				if c.state == HalfOpen {
					c.halfOpen.passed = 0
				}
				slot, admitted := admit(c, now, luck)
				if c.state == HalfOpen {
					c.halfOpen.passed = passed
				}
				return slot, admitted
			}
		}},
		"FAULT 17: an attempt a tick too early": {"1 probe, 1 success", "I", admitted(func(c *core, _ time.Duration) {
			if c.state == Open {
				c.until -= tick
			}
		})},
		"FAULT 18: a failed probe does not begin a new open time": {"1 probe, 1 success", "I4", settled(func(settle settleFunc, c *core, now time.Duration, r settlement) bool {
			began := c.since
			counted := settle(c, now, r)
			if r.number > 0 && c.state == Open {
				c.until = began + openFor
			}
			return counted
		})},
		"FAULT 20: closing keeps the failures": {"2 probes, 2 successes, 2 failures", "I6", settled(func(settle settleFunc, c *core, now time.Duration, r settlement) bool {
			half := c.state == HalfOpen
			counted := settle(c, now, r)
			if half && c.state == Closed {
				c.streak.failures = 1
			}
			return counted
		})},
		"FAULT 22: a failure early": {"1 probe, window", "I6", settled(func(settle settleFunc, c *core, now time.Duration, r settlement) bool {
			early := *c.rules
			early.failureRate.minimumCalls--
			real := c.rules
			c.rules = &early
			defer func() { c.rules = real }()
			return settle(c, now, r)
		})},
		"FAULT 16: a change is counted twice": {"1 probe, 1 success", "I7", func(h *hooks) {
			trip := h.trip
			h.trip = func(c *core, now time.Duration) { trip(c, now); c.changes++ }
		}},
		"FAULT 34: a second settlement counts": {"2 probes, 2 successes, 2 failures", "I", settled(func(settle settleFunc, c *core, now time.Duration, r settlement) bool {
			counted := settle(c, now, r)
			if r.number > 0 && r.failed() && !counted && c.state == HalfOpen {
				c.open(ReasonProbeFailed, policy.Cause{}, now, openFor)
			}
			return counted
		})},
		"FAULT 35: asking for the state changes it": {"1 probe, 1 success", "I9", func(h *hooks) {
			h.stateAt = func(c *core, now time.Duration) State {
				if c.stateAt(now) != c.state {
					c.enter(HalfOpen, ReasonOpenTimeOver, policy.Cause{}, now)
				}
				return c.state
			}
		}},
		"FAULT 36: a reset forgets the probes in flight": {"1 probe, 1 success", "I8", func(h *hooks) {
			force := h.force
			h.force = func(c *core, to State, reason Reason, cause policy.Cause, now time.Duration) {
				c.halfOpen.probes = c.halfOpen.probes[:0]
				force(c, to, reason, cause, now)
			}
		}},
		"the ramp forgets who has left": {"2 probes, 2 successes, ramp", "of the ramp", settled(func(settle settleFunc, c *core, now time.Duration, r settlement) bool {
			rampInFlight := c.rampInFlight
			counted := settle(c, now, r)
			if r.number == ticketRamping && c.state == Closed && r.generation == c.generation {
				c.rampInFlight = rampInFlight
			}
			return counted
		})},
		"one failed probe is never tolerated": {"3 probes, 3 successes, 1 may fail", "I", settled(func(settle settleFunc, c *core, now time.Duration, r settlement) bool {
			strict := *c.rules
			strict.failedProbes = 0
			real := c.rules
			c.rules = &strict
			defer func() { c.rules = real }()
			return settle(c, now, r)
		})},
		"a throttled probe hands its slot back":     {"2 probes, 2 successes, throttled", "I", reported(func(_ *core, r *settlement) { r.throttledFor = 0 })},
		"a throttled probe keeps its slot for ever": {"2 probes, 2 successes, throttled", "I", reported(func(_ *core, r *settlement) { r.throttledFor *= 100 })},
		"the failure of a result that stayed open is lost": {"2 probes, 2 successes, results stay open", "I2", settled(func(settle settleFunc, c *core, now time.Duration, r settlement) bool {
			return r.number == ticketReturned || settle(c, now, r)
		})},
		"what stays open from a probe counts in every state": {"2 probes, 2 successes, results stay open", "I2", reported(func(c *core, r *settlement) {
			if r.number == ticketReturnedProbe {
				r.generation = c.generation
			}
		})},
		"what stays open from a probe counts in its episode only": {"2 probes, 2 successes, results stay open", "I2", reported(func(_ *core, r *settlement) {
			if r.number == ticketReturnedProbe {
				r.number = ticketReturned
			}
		})},
		"what only a shadow let through counts": {"1 probe, shadow", "I2", reported(func(c *core, r *settlement) {
			if r.number == ticketVoid {
				r.number = ticketFree
			}
		})},
		"another mode begins anew": {"1 probe, shadow", "I", func(h *hooks) {
			change := h.change
			h.change = func(c *core, r *rules, shadow bool, now time.Duration) {
				c.force(Closed, ReasonReset, policy.Cause{}, now)
				change(c, r, shadow, now)
			}
		}},
		"other rules forget the probes": {"several probes to 1", "I10", func(h *hooks) {
			change := h.change
			h.change = func(c *core, r *rules, shadow bool, now time.Duration) {
				c.ledger.stale += c.halfOpen.forget()
				change(c, r, shadow, now)
			}
		}},
		"another window begins empty": {"window of 4 calls", "I11", func(h *hooks) {
			h.change = func(c *core, r *rules, shadow bool, now time.Duration) {
				c.window, c.rules, c.shadow = r.newWindow(now, c.good), r, shadow
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := realHooks()
			wrong.change(&h)
			i := slices.IndexFunc(scenarios, func(s scenario) bool { return strings.HasPrefix(s.name, wrong.scenario) })
			e := searchAll(scenarios[i], h)
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
