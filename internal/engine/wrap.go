package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/go-resilience/resilience/policy"
)

// wrap lets the wrapper of n run what is inside.
func wrap[T any](ctx context.Context, n *node, op policy.Func[T], t *trace) (value T, entered bool, err error) {
	r := &race[T]{next: n.next, trace: t}
	r.op = func(ctx context.Context) (T, error) {
		if !r.enter() {
			return *new(T), errLeft
		}
		value, err := op(ctx)
		if err == errLeft { // a wrapper further out has returned
			r.exit()
		}
		return value, err
	}
	r.discarder, _ = n.wrapper.(policy.Discarder)
	returned := false
	defer func() {
		if !returned { // a panic or runtime.Goexit passes through: nobody gets a result
			if value, won, _, _ := r.finish(); won {
				r.discard(value)
			}
		}
	}()
	err = n.wrapper.Run(ctx, r.call)
	returned = true
	value, won, entered, failure := r.finish()
	switch {
	case won:
		// Also when the wrapper has left before it heard of the success, which would have no owner.
		return value, true, nil
	case err == nil:
		// A wrapper that swallows a failure would hand out a value that nobody made.
		err = fmt.Errorf("resilience: %T returned nil although no call succeeded", n.wrapper)
		if failure != nil {
			err = fmt.Errorf("%w: %w", err, failure)
		}
	}
	return value, entered, err
}

// errLeft is what a call gets that comes to the operation when the wrapper has returned: the operation was reported as
// never entered, or the result is known. For the guards inside the operation was not called.
var errLeft error = &policy.Rejection{Kind: "wrapper", Reason: errors.New("the call has ended")}

// race collects the results of the calls of a wrapper, which may be concurrent. The first success wins.
type race[T any] struct {
	next  *node
	op    policy.Func[T]
	trace *trace

	discarder policy.Discarder // nil when nobody asks for the results that lost

	mu      sync.Mutex
	value   T     // of the winner, or of the latest failure as long as there is none
	err     error // of the latest failure
	won     bool
	entered int  // calls that have entered the operation
	over    bool // the wrapper has returned: no call enters the operation any more, what ends later is dropped
}

// enter says that a call is about to enter the operation, at once: the wrapper may leave before the operation returns.
func (r *race[T]) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		r.entered++
	}
	return !r.over
}

// exit says that a call has not entered the operation after all. A wrapper that returns between enter and exit reports it as
// entered: a token is spent that could have gone back, which is the safer mistake.
func (r *race[T]) exit() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entered--
}

func (r *race[T]) call(ctx context.Context) error {
	value, _, err := run(ctx, r.next, r.op, r.trace)
	if taken := r.take(value, err); !taken && err == nil {
		r.discard(value)
	}
	return err
}

// take keeps the result of a call, if it may still become the result of the whole.
func (r *race[T]) take(value T, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || r.won {
		return false
	}
	r.value, r.err, r.won = value, err, err == nil
	return true
}

// finish returns the result, and drops what comes later.
func (r *race[T]) finish() (value T, won, entered bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	return r.value, r.won, r.entered > 0, r.err
}

func (r *race[T]) discard(value T) {
	if r.discarder != nil {
		r.discarder.Discard(value)
	}
}
