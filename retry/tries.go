package retry

import (
	"context"
	"iter"

	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/policy"
)

// Tries is one call whose operation is the body of a loop. See [Retrier.Tries].
type Tries struct {
	ctx  context.Context
	plan *engine.Plan
	err  error
}

// Try is one attempt of a loop over [Tries].
type Try struct {
	ctx context.Context
	err error
}

// Tries returns a call to loop over, where a function does not fit:
//
//	tries := again.Tries(ctx)
//	for try := range tries.All() {
//		if user, err = fetchUser(try.Context()); err != nil {
//			try.Failed(err)
//		}
//	}
//	if err := tries.Err(); err != nil { … }
//
// It is the same call that a pipeline of the Retrier would make, run by the same code: a pass through the body that
// does not call [Try.Failed] is a success and ends the loop, a failed one is followed by a wait and another pass, or
// ends the loop. The gates are asked before every pass, before every wait and after it; when one refuses, the loop ends.
//
// Tries panics when ctx or a gate is nil.
func (r *Retrier) Tries(ctx context.Context, gates ...policy.Gate) *Tries {
	if ctx == nil {
		panic("retry: Tries with a nil context")
	}
	layers := []policy.Layer{r}
	for _, gate := range gates {
		if gate == nil {
			panic("retry: Tries with a nil gate")
		}
		layers = append(layers, door{gate})
	}
	return &Tries{ctx: ctx, plan: engine.NewPlan(layers, engine.Config{})}
}

// All returns the attempts. Each loop over it is a new call. A panic in the body goes on to the caller.
func (t *Tries) All() iter.Seq[*Try] {
	return func(yield func(*Try) bool) {
		t.err = nil
		var broken *Try // the attempt that left the loop, by break or return
		_, err := engine.Do(t.ctx, t.plan, func(ctx context.Context) (struct{}, error) {
			try := &Try{ctx: ctx}
			if !yield(try) {
				broken = try
				return struct{}{}, Permanent(try.err)
			}
			return struct{}{}, try.err
		})
		if t.err = err; broken != nil {
			t.err = broken.err
		}
	}
}

// Err says, after the loop, why it has ended: nil after a success, otherwise what a pipeline would have
// returned, for example a [*Error], or a rejection when the body was never entered. After break or return it is the
// error of the last attempt, nil if that had not failed.
func (t *Tries) Err() error { return t.err }

// Context returns the context that the attempt must run under. [Attempt] tells its number.
func (t *Try) Context() context.Context { return t.ctx }

// Failed says that the attempt has failed. Of several errors the last one counts; nil means that it has not failed.
// After the attempt it has no effect.
func (t *Try) Failed(err error) { t.err = err }

// door lets a gate take part in a call as a guard: it refuses what the gate refuses, and has nothing to settle.
type door struct{ policy.Gate }

func (door) Stage() policy.Stage { return policy.StageBreaker }

func (d door) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, d.Ready(ctx)
}

func (door) Settle(context.Context, policy.Ticket, policy.Outcome) {}

// Changed passes on that the gate can tell of a change. A gate that cannot has a channel that is never closed.
func (d door) Changed(ctx context.Context) <-chan struct{} {
	if notifier, ok := d.Gate.(policy.Notifier); ok {
		return notifier.Changed(ctx)
	}
	return nil
}
