package engine

import (
	"context"
	"fmt"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/policy"
)

// held is the guards of one node that have admitted and are not settled yet. It lives on the stack of guard, which passes
// the node along: a pointer to it in here would force it onto the heap.
type held struct {
	outer      context.Context // the context that the first guard was given
	admissions [guardsPerNode]admission
	count      int
	inside     bool // what is inside the guards was begun
}

// admission is what a guard returned, and gets back.
type admission struct {
	ctx    context.Context
	ticket policy.Ticket
}

// succeed is settle for a success, of which nothing has to be said but that.
func (h *held) succeed(n *node) {
	for i := min(h.count, guardsPerNode) - 1; i >= 0; i-- {
		h.count = i // before Settle, which may panic: no guard is settled twice
		n.guards[i].Settle(h.admissions[i].ctx, h.admissions[i].ticket, policy.Outcome{Kind: policy.Returned})
	}
}

// settle settles all guards, innermost first, and returns err as the caller should see it.
func (h *held) settle(n *node, kind policy.Kind, err error) error {
	for h.count > 0 {
		err = h.settleLast(n, kind, err)
	}
	return err
}

func (h *held) settleLast(n *node, kind policy.Kind, err error) error {
	last := h.count - 1
	ctx := h.admissions[last].ctx
	if err != nil {
		outer := h.outer
		if last > 0 {
			outer = h.admissions[last-1].ctx
		}
		err = nameCause(outer, ctx, err)
	}
	h.count = last // before Settle, as in succeed
	n.guards[h.count].Settle(ctx, h.admissions[h.count].ticket, policy.Outcome{Kind: kind, Err: err})
	return err
}

// unwind settles all guards while a panic, or runtime.Goexit if recovered is nil, is on its way to the caller.
// It panics again with the same value, on top of the stack of the first panic, which a crash prints therefore.
func (h *held) unwind(n *node, recovered any) {
	kind := policy.Exited
	switch {
	case !h.inside:
		kind = policy.NotCalled // a guard panicked in Admit
	case recovered != nil:
		kind = policy.Panicked
	}
	h.settleRest(n, kind)
	if recovered != nil {
		panic(recovered)
	}
}

// settleRest is settle for a Settle that may panic: the guards further out are settled all the same.
func (h *held) settleRest(n *node, kind policy.Kind) {
	if h.count == 0 {
		return
	}
	defer h.settleRest(n, kind)
	_ = h.settleLast(n, kind, nil)
}

// nameCause returns err so that it says why it happened. When a guard derived a context (inner, from outer) and that
// has ended by itself, the error matches its cause and still unwraps to err: this is how a timeout names itself. The
// end of outer, which the guard had nothing to do with, is left as it is.
func nameCause(outer, inner context.Context, err error) error {
	if inner.Err() == nil || same(outer, inner) {
		return err
	}
	cause := context.Cause(inner)
	if match.Is(err, cause) || match.Is(context.Cause(outer), cause) {
		return err
	}
	return &causedError{cause: cause, err: err}
}

// same reports whether inner is outer, or ends just as it. Done alone does not tell: all contexts that ended before
// anybody asked them for it may have one in common.
func same(outer, inner context.Context) bool {
	a, bounded := outer.Deadline()
	b, ok := inner.Deadline()
	return bounded == ok && a.Equal(b) && outer.Done() == inner.Done()
}

// causedError is an error of an operation whose context a guard had ended.
type causedError struct{ cause, err error }

func (e *causedError) Error() string   { return fmt.Sprintf("%v: %v", e.cause, e.err) }
func (e *causedError) Unwrap() []error { return []error{e.cause, e.err} }
