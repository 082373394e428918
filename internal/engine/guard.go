package engine

import (
	"context"
	"fmt"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/internal/oneline"
	"github.com/go-resilience/resilience/policy"
)

// guarded admits the guards of n, runs op inside them, and settles them. It sets allAdmitted when all guards of the run have
// admitted: the nodes of a run that is split share it, so that their guards are told the same of a panic in Admit.
func guarded[T any](outer context.Context, n *node, op policy.Func[T], t *trace, allAdmitted *bool) (value T, end ending) {
	var h held
	defer func() {
		if h.count > 0 { // not settled below: a panic or runtime.Goexit passes through
			h.unwind(n, recover(), t, *allAdmitted)
		}
	}()
	ctx := outer
	for i := 0; i < n.count && i < guardsPerNode; i++ { // the second condition saves bounds checks
		var admitted context.Context
		var ticket policy.Ticket
		var err error
		if t.staysOpen() {
			admitted, ticket, err = t.open.admitGuard(ctx, n.guards[i])
		} else {
			admitted, ticket, err = n.guards[i].Admit(ctx)
		}
		if err != nil {
			return value, h.refused(outer, ctx, n, n.guards[i], err, t)
		}
		a := &h.admissions[i]
		a.ctx, a.ticket = admitted, ticket // field by field: as a whole it would go through memory twice
		h.count = i + 1
		if admitted == nil {
			a.ctx = ctx // what it has taken comes back
			panic(fmt.Sprintf("resilience: %T admitted with a nil context", n.guards[i]))
		}
		ctx = admitted
	}
	if n.split {
		value, end = guarded(ctx, n.next, op, t, allAdmitted)
	} else {
		*allAdmitted = true
		value, end = run(ctx, n.next, op, t)
	}
	if !end.succeeded() {
		return value, h.settle(outer, n, end, t)
	}
	if t.staysOpen() {
		t.open.keep(outer, n, &h)
	} else {
		h.succeed(n)
	}
	return value, end
}

// held is the guards of one node that have admitted and are not settled yet. It lives on the stack of guarded, which
// passes the node along: a pointer to it in here would force it onto the heap.
type held struct {
	admissions [guardsPerNode]admission
	count      int
}

// admission is what a guard returned when it admitted, and gets back when it is settled.
type admission struct {
	ctx    context.Context
	ticket policy.Ticket
}

// around returns the context that guard i was given. outer is that of the first one.
func (h *held) around(outer context.Context, i int) context.Context {
	if i == 0 {
		return outer
	}
	return h.admissions[i-1].ctx
}

// refused settles the guards that have admitted an attempt which then guard, given ctx, has refused with err.
func (h *held) refused(outer, ctx context.Context, n *node, guard policy.Guard, err error, t *trace) ending {
	end := refusal(ctx, err)
	t.rejected(ctx, guard, &end)
	return h.settle(outer, n, end, t)
}

// succeed is settle for a success, without what only errors need.
func (h *held) succeed(n *node) {
	for i := min(h.count, guardsPerNode) - 1; i >= 0; i-- {
		h.count = i // before Settle, which may panic: no guard is settled twice
		n.guards[i].Settle(h.admissions[i].ctx, h.admissions[i].ticket, policy.Outcome{Kind: policy.Returned})
	}
}

// settle settles all guards, innermost first, and returns the ending as the layers outside see it: its error names the
// timeouts among the guards that have expired.
func (h *held) settle(outer context.Context, n *node, end ending, t *trace) ending {
	for h.count > 0 {
		last := h.count - 1
		a := &h.admissions[last]
		end.err = nameCause(h.around(outer, last), a.ctx, &end)
		if t.staysOpen() {
			t.open.keepContext(&a.ticket, &end)
		}
		h.count = last // before Settle, as in succeed
		n.guards[last].Settle(a.ctx, a.ticket, end.outcome(a.ctx))
	}
	return end
}

// unwind settles all guards while a panic, or runtime.Goexit if recovered is nil, is on its way to the caller. It panics
// again with the same value, on top of the stack of the first panic, which a crash prints therefore.
func (h *held) unwind(n *node, recovered any, t *trace, allAdmitted bool) {
	var end ending
	switch {
	case !allAdmitted:
		end = ending{kind: policy.NotCalled} // a guard was asked, or has refused and the others were being settled
	case recovered != nil:
		end = panicked
	default:
		end = t.exitEnding()
	}
	h.abort(n, end, t)
	if recovered != nil {
		panic(recovered)
	}
}

// abort settles all guards when the attempt does not return. Those inside them that were kept admitted for an open result come
// first: it has no owner now.
func (h *held) abort(n *node, end ending, t *trace) {
	defer h.settleEach(n, end)
	if t.staysOpen() {
		t.open.settleKept(success)
	}
}

// settleEach settles all guards, although a Settle may panic.
func (h *held) settleEach(n *node, end ending) {
	defer func() {
		if h.count > 0 { // a Settle has panicked, or called runtime.Goexit
			h.settleEach(n, end)
		}
	}()
	for h.count > 0 {
		h.count-- // before Settle, as in succeed
		a := &h.admissions[h.count]
		n.guards[h.count].Settle(a.ctx, a.ticket, end.outcome(a.ctx))
	}
}

// nameCause returns the error of end, made to say why it happened: this is how a timeout names itself. A guard was given
// the context outer and derived inner from it. If inner has ended by itself, and not because outer has, the error matches the
// cause of inner, and still unwraps to the operation's error.
func nameCause(outer, inner context.Context, end *ending) error {
	switch {
	case end.err == nil || !end.contextEnd.alsoEnded(inner):
		return end.err // inner had not ended
	case outer.Done() == inner.Done():
		return end.err // the guard has derived nothing that ends
	}
	cause := context.Cause(inner)
	switch {
	case match.Is(end.err, cause):
		return end.err // a guard inside, or the operation, has named it
	case outer.Err() != nil && match.Is(context.Cause(outer), cause):
		return end.err // inner has ended because outer has
	}
	return CausedBy(cause, end.err)
}

// CausedBy returns the error of an operation, made to match the cause that a layer around it names.
func CausedBy(cause, err error) error { return &causedError{cause: cause, err: err} }

// causedError is an error of an operation, and the cause that a layer around it names. Its text is one line.
type causedError struct{ cause, err error }

func (e *causedError) Error() string {
	return fmt.Sprintf("%s: %s", oneline.Of(e.cause), oneline.Of(e.err))
}
func (e *causedError) Unwrap() []error { return []error{e.cause, e.err} }
