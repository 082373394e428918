package engine

import (
	"context"
	"fmt"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/internal/oneline"
	"github.com/go-resilience/resilience/policy"
)

// guarded admits the guards of n, runs op inside them, and settles them.
func guarded[T any](ctx context.Context, n *node, op policy.Func[T], t *trace) (value T, end ending) {
	var h held
	h.outer = ctx
	defer func() {
		if h.count > 0 { // not settled below: a panic or runtime.Goexit passes through
			h.unwind(n, recover(), t)
		}
	}()
	for i := 0; i < n.count && i < guardsPerNode; i++ { // the second condition spares the checks of bounds
		var admitted context.Context
		var ticket policy.Ticket
		var err error
		if t.opens() {
			admitted, ticket, err = t.open.admit(ctx, n.guards[i])
		} else {
			admitted, ticket, err = n.guards[i].Admit(ctx)
		}
		if err != nil {
			return value, h.refused(ctx, n, n.guards[i], err, t)
		}
		a := &h.admissions[i]
		a.ctx, a.ticket = admitted, ticket // field by field: as a whole it would go through memory twice
		h.count = i + 1
		if admitted == nil {
			panic(fmt.Sprintf("resilience: %T admitted with a nil context", n.guards[i]))
		}
		ctx = admitted
	}
	h.inside = true
	value, end = run(ctx, n.next, op, t)
	if !end.succeeded() {
		return value, h.settle(n, end, t)
	}
	if t.opens() {
		t.open.keep(n, &h)
	} else {
		h.succeed(n)
	}
	return value, end
}

// held is the guards of one node that have admitted and are not settled yet. It lives on the stack of guarded, which
// passes the node along: a pointer to it in here would force it onto the heap.
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

// around returns the context that guard i was given.
func (h *held) around(i int) context.Context {
	if i == 0 {
		return h.outer
	}
	return h.admissions[i-1].ctx
}

// refused settles the guards that have admitted an attempt which guard has refused.
func (h *held) refused(ctx context.Context, n *node, guard policy.Guard, err error, t *trace) ending {
	end := refusal(ctx, err)
	t.rejected(ctx, guard, &end)
	return h.settle(n, end, t)
}

// succeed is settle for a success, of which nothing has to be said but that.
func (h *held) succeed(n *node) {
	for i := min(h.count, guardsPerNode) - 1; i >= 0; i-- {
		h.count = i // before Settle, which may panic: no guard is settled twice
		n.guards[i].Settle(h.admissions[i].ctx, h.admissions[i].ticket, policy.Outcome{Kind: policy.Returned})
	}
}

// settle settles all guards, innermost first, and returns the ending as the layers outside see it.
func (h *held) settle(n *node, end ending, t *trace) ending {
	for h.count > 0 {
		last := h.count - 1
		a := &h.admissions[last]
		end.err = nameCause(h.around(last), a.ctx, &end)
		if t.opens() {
			t.open.spare(&a.ticket, &end)
		}
		h.count = last // before Settle, as in succeed
		n.guards[last].Settle(a.ctx, a.ticket, end.outcome(a.ctx))
	}
	return end
}

// unwind settles all guards while a panic, or runtime.Goexit if recovered is nil, is on its way to the caller.
// It panics again with the same value, on top of the stack of the first panic, which a crash prints therefore.
func (h *held) unwind(n *node, recovered any, t *trace) {
	end := policy.Outcome{Kind: policy.Exited}
	switch {
	case !h.inside:
		end.Kind = policy.NotCalled // a guard panicked in Admit
	case recovered != nil:
		end.Kind = policy.Panicked
	case t.knows():
		end = t.known.ending.outcome(h.outer) // an observer has called runtime.Goexit, not the operation
	}
	h.settleAfter(n, end, t)
	if recovered != nil {
		panic(recovered)
	}
}

// settleAfter settles all guards after those inside that stayed open for a result that will have no owner now.
func (h *held) settleAfter(n *node, outcome policy.Outcome, t *trace) {
	defer h.settleRest(n, outcome)
	if t.opens() {
		t.open.settleKept(ending{entered: true}, policy.Outcome{Kind: policy.Returned})
	}
}

// settleRest settles all guards although a Settle may panic.
func (h *held) settleRest(n *node, outcome policy.Outcome) {
	if h.count == 0 {
		return
	}
	defer h.settleRest(n, outcome)
	h.count--
	n.guards[h.count].Settle(h.admissions[h.count].ctx, h.admissions[h.count].ticket, outcome)
}

// nameCause returns the error of end so that it says why it happened. When a guard derived a context (inner, from outer)
// and that had ended by itself, the error matches its cause and still unwraps to the operation's error: this is how a
// timeout names itself. The end of outer, which the guard had nothing to do with, is left as it is.
func nameCause(outer, inner context.Context, end *ending) error {
	if end.err == nil || !end.ended.included(inner) || outer.Done() == inner.Done() {
		return end.err
	}
	cause := context.Cause(inner)
	if match.Is(end.err, cause) || outer.Err() != nil && match.Is(context.Cause(outer), cause) {
		return end.err
	}
	return &causedError{cause: cause, err: end.err}
}

// causedError is an error of an operation, and what a layer around it has made of it. It is one line.
type causedError struct{ cause, err error }

func (e *causedError) Error() string {
	return fmt.Sprintf("%s: %s", oneline.Of(e.cause), oneline.Of(e.err))
}
func (e *causedError) Unwrap() []error { return []error{e.cause, e.err} }
