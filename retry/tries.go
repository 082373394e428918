package retry

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/policy"
)

// ErrNotDone is the error of a loop over [Tries] that was left by a pass that did not call [Try.Done].
var ErrNotDone = policy.NewReason("retry.not_done", "a pass of the loop has ended without Done")

// Tries is one call whose operation is the body of a loop. See [Retrier.Tries]. It belongs to one goroutine.
type Tries struct {
	ctx    context.Context
	layers []policy.Layer // in order
	plan   *engine.Plan
	last   *Try // nil before the first pass
	left   bool // the last pass has left the loop: by break, return, a panic, or without Done
	err    error
}

// Tries returns a call to loop over, where a function does not fit:
//
//	tries := again.Tries(ctx, db)
//	for try := range tries.All() {
//		user, err = fetchUser(try.Context())
//		try.Done(err)
//	}
//	err = tries.Err()
//
// It is the same call that a pipeline of the Retrier and the guards would make, run by the same code and in the same
// order: each pass is an attempt that the guards admit and are told the end of. A pass that is done with nil is a success
// and ends the loop; one that is done with an error is followed by a wait and another pass, or ends the loop.
//
// Leaving the loop by break or return ends it, whatever the error of the pass. Every pass must call [Try.Done]. One that
// does not ends the loop with [ErrNotDone]; the guards are told that the attempt exited, or panicked.
//
// guards may be any guards, also pipelines of guards, and guards moved by [policy.At]. The Classify of a
// pipeline counts too; of several, the last one. Its name and its observers do not, since a loop is no call of that
// pipeline. Tries panics when ctx or a guard is nil, and when one is something else, such as a retry or a hedge. It does not
// ask the guards whether they fit each other: Compose does, once, so hand over a pipeline of them.
func (r *Retrier) Tries(ctx context.Context, guards ...policy.Layer) *Tries {
	if ctx == nil {
		panic("retry: Tries with a nil context")
	}
	var config engine.Config
	layers := flatten(guards, &config)
	slices.SortStableFunc(layers, func(a, b policy.Layer) int { return int(a.Stage()) - int(b.Stage()) })
	place := slices.IndexFunc(layers, func(layer policy.Layer) bool { return layer.Stage() > policy.StageRetry })
	if place < 0 {
		place = len(layers)
	}
	for i, layer := range layers { // they stand where they were moved to
		if placed, ok := layer.(policy.Placed); ok {
			layers[i] = placed.Layer
		}
	}
	if err := r.Check(layers[:place], layers[place:]); err != nil {
		panic(err)
	}
	t := &Tries{ctx: ctx}
	for i, layer := range layers {
		layers[i] = newLoopGuard(layer.(policy.Guard), t)
	}
	t.layers = slices.Insert(layers, place, policy.Layer(&loopRetrier{r, t}))
	t.plan = engine.NewPlan(t.layers, config)
	return t
}

// String returns the retry and the guards in order, as in "retry 3 > breaker".
func (t *Tries) String() string {
	parts := make([]string, len(t.layers))
	for i, layer := range t.layers {
		if guard, ok := layer.(*loopGuard); ok {
			layer = guard.Guard
		}
		if s, ok := layer.(fmt.Stringer); ok {
			parts[i] = s.String()
		} else {
			parts[i] = fmt.Sprintf("%T", layer)
		}
	}
	return strings.Join(parts, " > ")
}

// flatten takes pipelines apart, and notes in config how the last that says so judges errors. It panics when a layer is no
// guard.
func flatten(layers []policy.Layer, config *engine.Config) (flat []policy.Layer) {
	for _, layer := range layers {
		inner, moved := layer, false
		if placed, ok := layer.(policy.Placed); ok {
			inner, moved = placed.Layer, true
		}
		if option.IsNil(inner) {
			panic("retry: Tries with a nil guard")
		}
		switch inner := inner.(type) {
		case policy.Composite:
			if moved {
				panic(fmt.Sprintf("retry: Tries with a %T that was moved: move its layers instead", inner))
			}
			if pipeline, ok := inner.(interface {
				Config(engine.Caller) engine.Config
			}); ok {
				if classify := pipeline.Config(engine.Caller{}).Classify; classify != nil {
					config.Classify = classify
				}
			}
			flat = append(flat, flatten(inner.Layers(), config)...)
		case policy.Guard:
			flat = append(flat, layer)
		default:
			panic(fmt.Sprintf("retry: Tries with %v (%T), which is no guard", inner, inner))
		}
	}
	return flat
}

// All returns the attempts. Each loop over it is a new call. A panic in the body goes on to the caller.
func (t *Tries) All() iter.Seq[*Try] {
	return func(yield func(*Try) bool) {
		t.last, t.left, t.err = nil, false, nil
		defer func() {
			if t.left { // maybe by a panic
				t.err = t.last.end()
			}
		}()
		_, t.err = engine.Do(t.ctx, t.plan, func(ctx context.Context) (struct{}, error) {
			t.last = &Try{ctx: ctx}
			t.left = true // stays so if the body panics
			goOn := yield(t.last)
			err := t.last.end()
			t.left = !goOn || err == ErrNotDone
			return struct{}{}, err
		})
	}
}

// Err says, after the loop, why it has ended: nil after a success, otherwise what a pipeline would have
// returned, for example a [*Error], or a rejection when the body was never entered. After break or return it is the
// error of the last pass, nil if that has succeeded. It is [ErrNotDone] when the last pass did not call [Try.Done].
func (t *Tries) Err() error { return t.err }

// Try is one pass of a loop over [Tries].
type Try struct {
	ctx   context.Context
	ended atomic.Pointer[error]
}

// Context returns the context that the attempt must run under. [Attempt] tells its number.
func (t *Try) Context() context.Context { return t.ctx }

// String returns the number of the attempt, as in "attempt 2".
func (t *Try) String() string { return fmt.Sprintf("attempt %d", Attempt(t.ctx)) }

// Done says how the attempt has ended: nil means that it has succeeded. It reports whether it counts: the first one does,
// until the pass is over. The guards are told at the end of the pass. Done is safe for concurrent use.
func (t *Try) Done(err error) bool { return t.ended.CompareAndSwap(nil, &err) }

// end returns the error that the pass is done with.
func (t *Try) end() error {
	notDone := error(ErrNotDone)
	t.ended.CompareAndSwap(nil, &notDone)
	return *t.ended.Load()
}

// loopRetrier is the Retrier of a loop. It makes no attempt after a pass that has left the loop, whatever its error. Of a
// success it is told all the same.
type loopRetrier struct {
	*Retrier
	tries *Tries
}

func (r *loopRetrier) Next(ctx context.Context, ended policy.Attempt) policy.Decision {
	if r.tries.left && !ended.Outcome.Succeeded() {
		return policy.Decision{}
	}
	return r.Retrier.Next(ctx, ended)
}

// loopGuard is a guard of a loop. It is told of a pass that has left the loop what [Try.Done] said.
type loopGuard struct {
	policy.Guard
	gate     policy.Gate     // nil if the guard is none
	notifier policy.Notifier // nil if the guard is none
	tries    *Tries
}

func newLoopGuard(guard policy.Guard, tries *Tries) *loopGuard {
	g := &loopGuard{Guard: guard, tries: tries}
	g.gate, _ = guard.(policy.Gate)
	g.notifier, _ = guard.(policy.Notifier)
	return g
}

func (g *loopGuard) Ready(ctx context.Context) error {
	if g.gate == nil {
		return nil
	}
	return g.gate.Ready(ctx)
}

// Changed returns a channel that is never closed when the guard cannot tell of a change.
func (g *loopGuard) Changed(ctx context.Context) <-chan struct{} {
	if g.notifier == nil {
		return nil
	}
	return g.notifier.Changed(ctx)
}

func (g *loopGuard) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	if g.tries.left && outcome.Kind != policy.NotCalled {
		outcome = g.tries.last.outcome(ctx, outcome)
	}
	g.Guard.Settle(ctx, ticket, outcome)
}

// outcome returns how the pass, which has left the loop, has ended. settled is what the engine made of it:
//
//	the body                Done was called with   the guards are told
//	returned                nil or an error        what the engine made of it
//	returned                nothing                that the attempt exited
//	panicked, or exited     nothing                what the engine made of it
//	panicked, or exited     nil or an error        that the attempt returned it before
func (t *Try) outcome(ctx context.Context, settled policy.Outcome) policy.Outcome {
	err := t.end()
	returned, done := settled.Kind == policy.Returned, err != ErrNotDone
	switch {
	case returned && done, !returned && !done:
		return settled
	case returned:
		return policy.Outcome{Kind: policy.Exited}
	case err == nil:
		return policy.Outcome{Kind: policy.Returned}
	}
	class := cmp.Or(policy.ClassOf(err), policy.Transient)
	return policy.Outcome{Kind: policy.Returned, Class: class, Canceled: policy.Canceled(ctx), Err: err}
}
