//go:build !race

// There is nothing concurrent in here for the race detector to find.

package breaker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policy"
)

// world is a core, the attempts in flight, and the time: everything that can make a difference to what happens next.
type world struct {
	core     core
	now      time.Duration
	inFlight []report // tickets
}

func (w *world) clone() *world {
	next := *w
	next.core.probes = slices.Clone(w.core.probes)
	next.inFlight = slices.Clone(w.inFlight)
	return &next
}

// key tells two worlds apart that can behave differently: only the age of things matters, and only up to the point
// where nothing follows from it any more.
func (w *world) key() string {
	c := &w.core
	age := func(t, end time.Duration) time.Duration { return min(w.now-t, end) }
	key := fmt.Sprint(c.state, c.shadow, c.ramp, c.passed, c.ramping, c.bad.length, c.bad.good == c.good)
	if c.state == Open || c.ramp {
		key += fmt.Sprint(" since ", age(c.since, c.until-c.since))
	}
	for _, p := range c.probes {
		key += fmt.Sprint(" probe ", age(p.granted, c.rules.lease))
	}
	for _, r := range w.inFlight {
		place := slices.IndexFunc(c.probes, func(p probe) bool { return p.id == r.slot })
		key += fmt.Sprint(" ticket ", min(r.slot, 1), r.generation == c.generation, place)
	}
	return key
}

// explore visits every world that can be reached from w, by every event in every order, and calls step for every step.
func explore(w *world, openFor time.Duration, step func(event string, before, after *world)) (worlds int) {
	seen := map[string]bool{w.key(): true}
	for queue := []*world{w}; len(queue) > 0; queue = queue[1:] {
		for event, act := range events(queue[0], openFor) {
			next := queue[0].clone()
			act(next)
			step(event, queue[0], next)
			if key := next.key(); !seen[key] {
				seen[key] = true
				queue = append(queue, next)
			}
		}
	}
	return len(seen)
}

// events returns everything that can happen in a world.
func events(w *world, openFor time.Duration) map[string]func(*world) {
	all := map[string]func(*world){
		"tick":         func(w *world) { w.now += time.Second },
		"trip":         func(w *world) { w.core.trip(w.now, openFor) },
		"reset":        func(w *world) { w.core.force(Closed, ReasonReset, w.now) },
		"force open":   func(w *world) { w.core.force(ForcedOpen, ReasonForced, w.now) },
		"force closed": func(w *world) { w.core.force(ForcedClosed, ReasonForced, w.now) },
		"disable":      func(w *world) { w.core.force(Disabled, ReasonDisabled, w.now) },
	}
	if len(w.inFlight) < 3 {
		for _, luck := range []float64{0, 0.99} {
			all[fmt.Sprint("admit ", luck)] = func(w *world) {
				slot, admitted := w.core.admit(w.now, luck)
				if !admitted && w.core.shadow {
					slot, admitted = slotShadow, true
				}
				if admitted {
					w.inFlight = append(w.inFlight, report{generation: w.core.generation, slot: slot})
				}
			}
		}
	}
	for i := range w.inFlight {
		for _, verdict := range []policy.Verdict{policy.Success, policy.Failure, policy.Neutral} {
			all[fmt.Sprint("settle ", i, verdict)] = func(w *world) {
				r := w.inFlight[i]
				w.inFlight = slices.Delete(w.inFlight, i, i+1)
				r.verdict, r.openFor = verdict, openFor
				w.core.settle(w.now, r)
			}
		}
		// Twice with the same ticket, as for an attempt that somebody settles and the engine settles again.
		all[fmt.Sprint("settle twice ", i)] = func(w *world) {
			r := w.inFlight[i]
			w.inFlight = slices.Delete(w.inFlight, i, i+1)
			r.verdict, r.openFor = policy.Neutral, openFor
			w.core.settle(w.now, r)
			if r.slot > 0 {
				between := *w.clone()
				r.verdict = policy.Success
				w.core.settle(w.now, r)
				if w.key() != between.key() || w.core.ledger != between.core.ledger {
					panic("a second settlement changed something")
				}
			}
		}
	}
	return all
}

// Every reachable state of small breakers, and every step between them, keeps the rules that make a breaker a breaker.
func TestEveryReachableState(t *testing.T) {
	const openFor, lease = 2 * time.Second, 3 * time.Second
	for _, r := range []rules{
		{consecutive: 1, probes: 1, successes: 1, lease: lease},
		{consecutive: 2, probes: 1, successes: 2, lease: lease},
		{consecutive: 2, probes: 2, successes: 1, lease: lease},
		{consecutive: 2, probes: 2, successes: 3, lease: lease, ramp: 2 * time.Second},
	} {
		start := &world{core: *newCore(&r, 0)}
		steps := 0
		worlds := explore(start, openFor, func(event string, before, after *world) {
			steps++
			check := func(ok bool, rule string) {
				if !ok {
					t.Fatalf("%s, after %q:\nbefore %+v\nafter  %+v", rule, event, before, after)
				}
			}
			b, a := &before.core, &after.core
			manual := slices.Contains([]string{"trip", "reset", "force open", "force closed", "disable"}, event)
			moved := a.state != b.state || a.shadow != b.shadow
			admitted := len(after.inFlight) > len(before.inFlight)
			settled := len(after.inFlight) < len(before.inFlight)

			check(a.inFlight(after.now) <= r.probes, "I1: too many probes")
			check(!moved || a.generation > b.generation, "a change of state without a new generation")
			check(a.changes == b.changes || moved && a.changes == b.changes+1, "I7: changes are counted")
			check(!moved || a.changes > b.changes, "I7: a change is missing")
			if event == "tick" {
				check(!moved && a.generation == b.generation, "time alone moves nothing")
			}
			if b.state == Open && within(before.now, b.since, b.until) && !manual {
				check(!admitted || a.shadow, "I4: admitted while open")
				check(!moved && a.until == b.until, "I4: left the open state before its time")
			}
			if b.state == ForcedOpen || b.state == ForcedClosed {
				check(!moved || manual, "left a forced state")
			}
			if moved && !manual {
				switch {
				case b.state == Closed:
					check(a.state == Open && b.seen(before.now).streak+1 == r.consecutive, "I6: opened without a reason")
				case b.state == Open:
					check(a.state == HalfOpen && admitted, "I6: left open otherwise than by a probe")
				case b.state == HalfOpen:
					check(settled && (a.state == Open || b.passed+1 == r.successes), "I6: left half-open without a probe's outcome")
				}
			}
			if settled && !manual {
				i := 0
				for i < len(after.inFlight) && before.inFlight[i] == after.inFlight[i] {
					i++
				}
				ticket := before.inFlight[i]
				valid := ticket.generation == b.generation
				for _, p := range b.probes {
					if p.id == ticket.slot && !b.leased(p, before.now) {
						valid = false
					}
				}
				if ticket.slot > 0 {
					valid = valid && slices.ContainsFunc(b.probes, func(p probe) bool { return p.id == ticket.slot })
				}
				if !valid {
					same := a.state == b.state && a.generation == b.generation && a.passed == b.passed && a.bad == b.bad &&
						a.good == b.good && a.inFlight(after.now) == b.inFlight(before.now)
					check(same, "I3: a stale settlement changed something")
				}
			}
			l := a.ledger
			check(l.requests == l.successes+l.failures+l.neutral+l.stale+uint64(len(a.probes)), "I8: requests do not add up")

			if a.state != ForcedOpen && !a.shadow { // I5: with healthy traffic it closes
				w := after.clone()
				w.now += openFor + lease
				for range r.successes {
					slot, admitted := w.core.admit(w.now, 0)
					check(admitted, "I5: stuck")
					w.core.settle(w.now, report{generation: w.core.generation, slot: slot, verdict: policy.Success})
				}
				check(w.core.state == Closed || w.core.state == ForcedClosed, "I5: healthy traffic does not close it")
			}
		})
		t.Logf("%+v: %d states, %d steps", r, worlds, steps)
		require.Greater(t, worlds, 50)
	}
}
