package engine

import (
	"context"
	"sync"

	"github.com/go-resilience/resilience/policy"
)

// race is what a wrapper makes of its attempts, which may run at the same time: the first success wins.
type race[T any] struct {
	next      *node
	op        policy.Func[T]
	trace     *trace
	discarder policy.Discarder // nil when the results that lost are not wanted
	ctx       judgeContext     // of the wrapper: in here it saves an allocation

	mu     sync.Mutex
	soFar  standing[T]
	judged []judged // the errors that attempts have ended with
	over   bool     // the wrapper has returned: no attempt enters the operation any more, what ends later is dropped
}

// standing is what the attempts of a wrapper have come to.
type standing[T any] struct {
	best     result[T]    // of the winner, or of the latest failure as long as there is none
	readable result[T]    // of a failure before it that is an answer still to be read, where the latest one is none
	gravest  policy.Class // class of the attempts that entered the operation and failed
	entries  int          // into the operation
}

// result is what one attempt came to.
type result[T any] struct {
	value T
	end   ending
	open  *openResult // nil unless results are to stay open
}

// isReadable reports whether the result is a failure with an answer that is still to be read.
func (r *result[T]) isReadable() bool { return r.open != nil && r.open.answer.live }

// run lets wrapper run the attempts.
func (r *race[T]) run(ctx context.Context, wrapper policy.Wrapper) error {
	opener, ok := wrapper.(policy.Opener)
	switch {
	case !r.trace.staysOpen():
		return wrapper.Run(ctx, func(ctx context.Context) error { return r.attempt(ctx, nil) })
	case ok:
		return opener.Open(ctx, func(ctx context.Context, end context.CancelFunc) error {
			return r.attempt(ctx, &openResult{plan: r.trace.plan, outer: ctx, ctx: ctx, cancelOuter: end})
		})
	}
	return wrapper.Run(ctx, func(ctx context.Context) error {
		return r.attempt(ctx, &openResult{plan: r.trace.plan, outer: ctx, ctx: ctx})
	})
}

// attempt is one attempt of the wrapper. Its result stays open in o unless that is nil.
func (r *race[T]) attempt(ctx context.Context, o *openResult) error {
	found := result[T]{open: o}
	returned := false
	defer func() {
		if !returned { // a panic or runtime.Goexit passes through
			r.drop(&result[T]{open: o})
		}
	}()
	found.value, found.end = run(ctx, r.next, r.op, r.trace.fork(o))
	err := found.end.err
	if o != nil && err != nil && !o.answer.live {
		o.cancelContexts() // there is nothing to be read
	}
	dropped, taken := r.take(found)
	returned = true // before drop, which may panic
	if !taken && err == nil {
		err = errLost
	}
	r.drop(&dropped)
	return err
}

// countEntry counts an attempt that is about to enter the operation, and reports whether it may. It is counted at once, since
// the wrapper may return before the operation does.
func (r *race[T]) countEntry() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		r.soFar.entries++
	}
	return !r.over
}

// uncountEntry is for an attempt that has not entered the operation after all. A wrapper that returns before that reports it as
// entered: a token is spent that could have gone back, which is the safer mistake.
func (r *race[T]) uncountEntry() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.soFar.entries--
}

// take keeps the result that an attempt has found if it may still become the result of the whole. It returns the result that
// cannot any more, found itself if it was not taken.
func (r *race[T]) take(found result[T]) (dropped result[T], taken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return found, false
	}
	if err := found.end.err; err != nil {
		r.judged = append(r.judged, judged{err, found.end.class, found.end.entered()})
		if found.end.entered() {
			r.soFar.gravest = r.soFar.gravest.Graver(found.end.class)
		}
	}
	best := &r.soFar.best
	if !found.end.replaces(&best.end) {
		return found, false
	}
	dropped, *best = *best, found
	if dropped.isReadable() && !found.isReadable() {
		dropped, r.soFar.readable = r.soFar.readable, dropped // pick may want it
	}
	return dropped, true
}

// replaces reports whether a result that has ended like e takes the place of an earlier one that has ended like best. The
// latest failure does, but a refusal says less than a failure, and so does an attempt that was cancelled, perhaps because of
// the earlier failure.
//
//	best \ e    a success   a failure   a failure in a context that had ended   a refusal
//	nothing     yes         yes         yes                                     yes
//	a success   no          no          no                                      no
//	a failure   yes         yes         if that of best had ended too           no
//	a refusal   yes         yes         yes                                     yes
func (e *ending) replaces(best *ending) bool {
	switch {
	case best.succeeded():
		return false
	case e.succeeded() || !best.entered():
		return true
	}
	return e.entered() && (e.contextEnd == nil || best.contextEnd != nil)
}

// drop lets go of a result that is not the result of the whole: the value first, which may need what the guards hold.
func (r *race[T]) drop(dropped *result[T]) {
	if dropped.open != nil {
		defer dropped.open.abandon()
	}
	if r.discarder != nil && dropped.end.succeeded() {
		r.discarder.Discard(dropped.value)
	}
}

// finish says that the wrapper has returned, and returns what the attempts have come to.
func (r *race[T]) finish() standing[T] {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	return r.soFar
}

// pick returns the result that belongs to err, the error of the wrapper, and drops the other one. That is the best one, unless
// err says that there is an answer to be read, and only the other one is such an answer.
func (r *race[T]) pick(final *standing[T], err error) (best result[T]) {
	best, other := final.best, final.readable
	if err != nil && other.isReadable() && !best.end.succeeded() && !best.isReadable() && isLive(err) {
		best, other = other, best
	}
	r.drop(&other)
	return best
}
