package engine

import (
	"context"
	"fmt"
	"sync"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/policy"
)

// wrapped lets the wrapper of n run what is inside.
func wrapped[T any](ctx context.Context, n *node, op policy.Func[T], t *trace) (value T, end ending) {
	r := &race[T]{next: n.next, trace: t}
	r.discarder, _ = n.wrapper.(policy.Discarder)
	r.op = func(ctx context.Context) (T, error) {
		if !r.enter() {
			return *new(T), errLeft
		}
		value, err := op(ctx)
		if err == errLeft { // a wrapper outside has returned
			r.exit()
		}
		return value, err
	}
	returned := false
	defer func() {
		if !returned { // a panic or runtime.Goexit passes through: the result has no owner
			final := r.finish()
			r.drop(&final.best)
		}
	}()
	r.judging = judging{ctx, r}
	err := r.run(&r.judging, n.wrapper)
	returned = true
	final := r.finish()
	if final.entered > 0 {
		n.deposit()
	}
	best := &final.best
	if t.opens() && best.end.entered { // else an answer of an attempt before may still have to be read
		lost := best.open.outer.Err() != nil && ctx.Err() == nil // the wrapper has ended the context
		switch {
		case !lost || !best.end.succeeded():
			t.open.adopt(best.open)
			t.open.live = t.open.live && !lost
			if best.end.succeeded() {
				t.open.lift()
			}
		case err == nil:
			r.drop(best)
			err = fmt.Errorf("resilience: the result of %T cannot stay open: its context has ended although the call's has not", n.wrapper)
			return *new(T), ending{entered: true, class: policy.Permanent, err: err}
		default: // an error decided the call in the very moment in which an attempt succeeded
			r.drop(best)
			best = new(result[T])
		}
	}
	if best.end.succeeded() {
		// Also when the wrapper has left before it knew of the success, which would have no owner.
		return best.value, best.end
	}
	if err == nil {
		// A wrapper that swallows a failure would hand out a value that no call has made.
		err = fmt.Errorf("resilience: %T returned nil although no call succeeded", n.wrapper)
		if best.end.err != nil {
			err = &causedError{cause: err, err: best.end.err}
		}
	}
	end = ending{entered: final.entered > 0, class: r.class(err, final.class), err: err, ended: endOf(ctx)}
	switch {
	case !end.entered:
		end.class = policy.Ignored
	case end.ended.timedOut():
		end.class = policy.Transient
	case end.class == policy.Unclassified: // no call has ended: the error is the wrapper's own, and no classifier is asked
		end.class = ownClass(err)
	}
	return best.value, end
}

// errLeft is what a call gets that comes to the operation when the wrapper has returned: the operation was reported as
// never entered, or the result is known. For the guards inside, the operation was not called.
var errLeft error = &policy.Rejection{Kind: "wrapper", Reason: policy.NewReason("hedge.lost", "the call has ended")}

// errLost is what a call gets whose success came after that of another, or after the end: exactly one call returns nil.
var errLost error = &policy.Rejection{Kind: "wrapper", Reason: policy.NewReason("hedge.lost", "another call has won")}

// race collects the results of the calls of a wrapper, which may be concurrent. The first success wins.
type race[T any] struct {
	next      *node
	op        policy.Func[T]
	trace     *trace
	discarder policy.Discarder // nil when the results that lost are not wanted
	judging   judging          // the wrapper's context: here it saves an allocation

	mu     sync.Mutex
	so     standing[T] // so far
	judged []judged    // the errors that calls have ended with
	over   bool        // the wrapper has returned: no call enters the operation any more, what ends later is dropped
}

// standing is what the calls of a wrapper have come to.
type standing[T any] struct {
	best    result[T]    // of the winner, or of the latest failure as long as there is none
	class   policy.Class // the gravest of the calls that entered the operation and failed
	entered int          // calls that have entered the operation
}

// result is what one call came to.
type result[T any] struct {
	value T
	end   ending
	open  *opening // nil unless results are to stay open
}

// run lets wrapper run the calls.
func (r *race[T]) run(ctx context.Context, wrapper policy.Wrapper) error {
	opener, ok := wrapper.(policy.Opener)
	switch {
	case !r.trace.opens():
		return wrapper.Run(ctx, func(ctx context.Context) error { return r.call(ctx, nil) })
	case ok:
		return opener.Open(ctx, func(ctx context.Context, end context.CancelFunc) error {
			return r.call(ctx, &opening{plan: r.trace.plan, outer: ctx, ctx: ctx, leave: end})
		})
	}
	return wrapper.Run(ctx, func(ctx context.Context) error {
		return r.call(ctx, &opening{plan: r.trace.plan, outer: ctx, ctx: ctx})
	})
}

// call is one call of the wrapper. Its result stays open in o unless that is nil.
func (r *race[T]) call(ctx context.Context, o *opening) error {
	found := result[T]{open: o}
	ended := false
	defer func() {
		if !ended { // a panic or runtime.Goexit passes through
			r.drop(&result[T]{open: o})
		}
	}()
	found.value, found.end = run(ctx, r.next, r.op, r.trace.fork(o))
	err := found.end.err
	if o != nil && err != nil && !o.live {
		o.close() // there is nothing to be read
	}
	dropped, taken := r.take(found)
	ended = true
	if !taken && err == nil {
		err = errLost
	}
	r.drop(&dropped)
	return err
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

// take keeps the result of a call if it may still become the result of the whole. It returns the result that cannot any
// more, found itself if it was not taken.
func (r *race[T]) take(found result[T]) (dropped result[T], taken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return found, false
	}
	if err := found.end.err; err != nil {
		r.judged = append(r.judged, judged{err, found.end.class, found.end.entered})
		if found.end.entered {
			r.so.class = r.so.class.Graver(found.end.class)
		}
	}
	if r.so.best.end.succeeded() || r.so.best.end.outlasts(&found.end) {
		return found, false
	}
	dropped, r.so.best = r.so.best, found
	return dropped, true
}

// finish returns what the calls have come to. What comes later is dropped.
func (r *race[T]) finish() standing[T] {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	return r.so
}

// enter says that a call is about to enter the operation, at once: the wrapper may leave before the operation returns.
func (r *race[T]) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		r.so.entered++
	}
	return !r.over
}

// exit says that a call has not entered the operation after all. A wrapper that returns between enter and exit reports it
// as entered: a token is spent that could have gone back, which is the safer mistake.
func (r *race[T]) exit() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.so.entered--
}

// judged is an error that a call has ended with, and what it means.
type judged struct {
	err     error
	class   policy.Class
	entered bool // the call has entered the operation
}

// judging is a context in which [ClassOf] finds a judge.
type judging struct {
	context.Context
	judge judge
}

type judgeKey struct{}

func (j *judging) Value(key any) any {
	if key == (judgeKey{}) {
		return j.judge
	}
	return j.Context.Value(key)
}

// judge knows what the errors of the calls of a wrapper mean.
type judge interface {
	classOf(err error) policy.Class
	entered(err error) bool
}

func (r *race[T]) classOf(err error) policy.Class {
	if j, ok := r.find(err); ok {
		return j.class
	}
	return ownClass(err)
}

func (r *race[T]) entered(err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range r.judged {
		if !j.entered && match.Same(j.err, err) {
			return false
		}
	}
	return true
}

// class returns the class of the whole, which has ended with err: that of the call whose error it is, otherwise the gravest
// one. A refusal does not speak for calls that entered the operation and failed.
func (r *race[T]) class(err error, gravest policy.Class) policy.Class {
	if j, ok := r.find(err); ok && j.entered {
		return j.class
	}
	return gravest
}

// find returns what is known of the call that has ended with err.
func (r *race[T]) find(err error) (_ judged, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range r.judged {
		if match.Same(j.err, err) {
			return j, true
		}
	}
	return judged{}, false
}

// Wrapped reports whether ctx belongs to a call of a wrapper: one that may go on after the caller has left.
func Wrapped(ctx context.Context) bool { return ctx.Value(judgeKey{}) != nil }

// ClassOf returns what err means, with which a call of a wrapper has ended: the answer that the engine has got already.
// ctx is the context that the wrapper was given.
func ClassOf(ctx context.Context, err error) policy.Class {
	if judge, ok := ctx.Value(judgeKey{}).(judge); ok {
		return judge.classOf(err)
	}
	return ownClass(err)
}

// Entered reports whether the call of a wrapper that has ended with err had entered the operation, true if that is not
// known. Of several calls with this error, one that was refused counts. ctx is the context that the wrapper was given.
func Entered(ctx context.Context, err error) bool {
	judge, ok := ctx.Value(judgeKey{}).(judge)
	return !ok || judge.entered(err)
}
