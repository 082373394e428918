package sim

import (
	"context"
	"slices"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

// Compose is [resilience.Compose] for a world. It adds a turnstile after each stage, so that nothing that happens in one
// policy reaches the next one out of turn: not when two timers fire at the same instant, and not when a slot that one
// attempt gives back wakes another. The policies themselves are unchanged. A pipeline that was composed without it runs
// as well, and repeats itself as long as its attempts do not wake each other.
func Compose(layers ...policy.Layer) *resilience.Pipeline {
	all := resilience.Compose(layers...) // says what is wrong with the layers, and not with the turnstiles
	stiles := map[policy.Stage]*turnstile{}
	var stages []policy.Stage
	for _, layer := range all.Layers() {
		stage := layer.Stage()
		stile := stiles[stage]
		if stile == nil {
			stile = &turnstile{stage: stage}
			stiles[stage] = stile
			stages = append(stages, stage)
		}
		if placed, ok := layer.(policy.Placed); ok {
			layer = placed.Layer
		}
		_, wraps := layer.(policy.Wrapper)
		_, bounds := layer.(*timeout.Timeout)
		stile.forks, stile.bounds = stile.forks || wraps, stile.bounds || bounds
	}
	layers = slices.Clone(layers)
	for _, stage := range stages {
		layers = append(layers, stiles[stage])
	}
	return resilience.Compose(layers...)
}

// turnstile is a guard that admits one at a time, in turn.
type turnstile struct {
	stage  policy.Stage
	forks  bool // a layer of its stage runs several attempts at a time: each becomes an actor
	bounds bool // a layer of its stage sets a timer that those further in look at together with their own
}

// Stage implements [policy.Layer].
func (s *turnstile) Stage() policy.Stage { return s.stage }

// Admit implements [policy.Guard].
func (s *turnstile) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	a, ok := ctx.Value(actorKey{}).(*Actor)
	if !ok {
		return ctx, policy.Ticket{}, nil // not in a world
	}
	if s.forks {
		a = a.root.attempt(ctx)
		a.forked = true
		ctx = a
	}
	a.Turn()
	if s.stage >= policy.StageRetry && s.stage <= policy.StageHedge {
		a.goBack()
	}
	if s.bounds && a.root.apart != 0 {
		a.hold(1) // no later timer of this call ends with the timeout's
	}
	return ctx, policy.Ticket{}, nil
}

// Settle implements [policy.Guard].
func (s *turnstile) Settle(ctx context.Context, _ policy.Ticket, _ policy.Outcome) {
	a, ok := ctx.Value(actorKey{}).(*Actor)
	switch {
	case !ok:
	case !s.forks:
		a.Turn()
	default:
		if a.root.others() {
			a.hold(0) // whoever this attempt has woken looks at its context before the winner's call ends it
		}
		a.Turn()
		a.goBack()
		a.root.done(a)
	}
}

// String implements fmt.Stringer.
func (*turnstile) String() string { return "turn" }

// gridStep is the grid, in nanoseconds, on which a model is taken to have its times if a call comes exactly at a point
// of it. Such calls are set apart by a few nanoseconds each, so that their timers never fall on the same instant.
const (
	gridStep = 100_000
	gridRoom = 40_000 // calls that are set apart from each other
)

// setApart lets a call that comes at a point of the grid wait for some nanoseconds, fewer than a step, which no other
// call nearby has. Those that came earlier have fewer: departures come before arrivals.
func (a *Actor) setApart() {
	w := a.world
	if w.Now()%gridStep != 0 {
		return
	}
	w.apart = w.apart%gridRoom + 1
	a.apart = 2 * w.apart
	a.sleep(nil, a.apart)
}

// goBack lets a call that was set apart, and was woken by another one since, wait until it is apart from that again.
func (a *Actor) goBack() {
	if apart := a.root.apart; apart != 0 {
		if away := a.Now() % gridStep; away != apart && away != apart+1 {
			a.hold((apart - away + gridStep) % gridStep)
		}
	}
}

// work notes how long something takes. A call that does not keep to the grid needs not be set apart.
func (a *Actor) work(d time.Duration) {
	if d%gridStep != 0 {
		a.root.apart = 0
	}
}
