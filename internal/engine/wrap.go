package engine

import (
	"context"
	"fmt"
	"sync"

	"github.com/go-resilience/resilience/policy"
)

// wrap lets the wrapper of n run what is inside.
func wrap[T any](ctx context.Context, n *node, op policy.Func[T], t *trace) (value T, entered bool, err error) {
	r := &race[T]{next: n.next, op: op, trace: t}
	r.discarder, _ = n.wrapper.(policy.Discarder)
	err = n.wrapper.Run(ctx, r.call)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	if err == nil && !r.won {
		// A wrapper that swallows a failure would hand out a value that nobody made.
		err = fmt.Errorf("resilience: %T returned nil although no call succeeded", n.wrapper)
		if r.err != nil {
			err = fmt.Errorf("%w: %w", err, r.err)
		}
	}
	return r.value, r.entered, err
}

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
	entered bool
	over    bool // the wrapper has returned: what comes later is dropped
}

func (r *race[T]) call(ctx context.Context) error {
	value, entered, err := run(ctx, r.next, r.op, r.trace)
	if taken := r.take(value, entered, err); !taken && err == nil && r.discarder != nil {
		r.discarder.Discard(value)
	}
	return err
}

// take keeps the result of a call, if it may still become the result of the whole.
func (r *race[T]) take(value T, entered bool, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return false
	}
	r.entered = r.entered || entered
	if r.won {
		return false
	}
	r.value, r.err, r.won = value, err, err == nil
	return true
}
