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

	mu      sync.Mutex
	value   T     // of the winner, or of the latest failure as long as there is none
	err     error // of the latest failure
	won     bool
	entered bool
	over    bool // the wrapper has returned: what comes later is dropped
}

func (r *race[T]) call(ctx context.Context) error {
	value, entered, err := run(ctx, r.next, r.op, r.trace)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return err
	}
	r.entered = r.entered || entered
	if !r.won {
		r.value, r.err, r.won = value, err, err == nil
	}
	return err
}
