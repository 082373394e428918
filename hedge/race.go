package hedge

import (
	"context"
	"errors"
	"time"

	"github.com/go-resilience/resilience/internal/detached"
	"github.com/go-resilience/resilience/policy"
)

// ErrLost is the cause of the context of an attempt whose call was decided by another attempt.
var ErrLost = errors.New("another attempt decided the call")

// race is the attempts of one call. It belongs to the goroutine of the caller.
type race struct {
	hedge *Hedge
	ctx   context.Context
	call  func(context.Context) error
	delay time.Duration
	calls *detached.Calls

	attempts []*attempt // in the order of their start
	running  int
	chances  int // extra attempts that were started or refused
	failures failures
}

// run waits for the attempts, and starts extra ones, until the call is decided.
func (r *race) run() error {
	defer r.leave()
	timer := time.NewTimer(r.delay)
	defer timer.Stop()
	done := r.ctx.Done()
	for r.running > 0 {
		select {
		case ending := <-r.calls.Endings():
			r.running--
			if !ending.Returned() {
				return ending.Resume()
			}
			if ending.Err == nil {
				if ending.Index > 0 {
					r.hedge.count(func(c *counts) { c.won++ })
				}
				return nil
			}
			r.failures.add(ending.Err)
			if r.hedge.afterFailure && !errors.Is(ending.Err, policy.ErrRejected) && r.another() {
				timer.Reset(r.delay)
			}
		case <-done:
			done = nil
			timer.Reset(detached.Grace)
		case <-timer.C:
			if done == nil && r.ctx.Err() != nil {
				return r.failures.left(r.ctx)
			}
			if r.another() {
				timer.Reset(r.delay)
			}
		}
	}
	return r.failures.err()
}

// another starts an extra attempt if there are chances left, time, and budget. It reports whether there may be a
// further chance.
func (r *race) another() bool {
	if r.chances == r.hedge.extra || r.ctx.Err() != nil {
		return false
	}
	r.chances++
	switch {
	case !r.hedge.budget.Withdraw():
		r.hedge.count(func(c *counts) { c.starved++ })
	case !r.start():
		r.hedge.budget.Return()
		r.hedge.count(func(c *counts) { c.crowded++ })
	default:
		r.hedge.count(func(c *counts) { c.extra++ })
	}
	return r.chances < r.hedge.extra
}

// start starts an attempt, unless too many are running.
func (r *race) start() bool {
	a := newAttempt(r, 1+len(r.attempts))
	if !r.calls.Go(a.run) {
		a.cancel(nil)
		return false
	}
	r.attempts = append(r.attempts, a)
	r.running++
	return true
}

// leave cancels the attempts that have lost. Those that have ended have seen to their contexts themselves, and one
// that holds its context has a result that will be discarded, and released then.
func (r *race) leave() {
	for _, a := range r.attempts {
		if !a.context.Held() {
			a.cancel(ErrLost)
		}
	}
	r.calls.Leave()
}
