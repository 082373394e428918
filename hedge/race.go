package hedge

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/detached"
	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/policy"
)

// race is the attempts of one call. Except for winner it belongs to the goroutine of the caller.
type race struct {
	hedge  *Hedge
	config *config
	ctx    context.Context
	inside operation
	delay  time.Duration
	calls  *detached.Calls

	attempts []*attempt // in the order of their start
	running  int
	chances  int // extra attempts that were started, or could not be for lack of budget or room
	failures failures
	winner   atomic.Int64 // the number of the attempt that has won, undecided or left
}

const (
	undecided = 0
	left      = -1 // the caller has left before an attempt had won
)

// run waits for the attempts, and starts extra ones, until the call is decided.
func (r *race) run() error {
	defer r.leave()
	timer := time.NewTimer(r.delay) // until the next extra attempt; once the caller's context has ended, until the end of the grace
	defer timer.Stop()
	leaving, done := false, r.ctx.Done()
	for r.running > 0 {
		select {
		case ending := <-r.calls.Endings():
			r.running--
			r.attempts[ending.Index].ended = true
			if !ending.Returned() {
				return ending.Resume()
			}
			if r.winner.Load() > undecided {
				return nil
			}
			decides, retriable := r.failed(ending.Err)
			if decides {
				return ending.Err
			}
			if retriable && r.config.afterFailure && r.another() {
				timer.Reset(r.delay)
			}
		case <-done:
			leaving, done = true, nil
			timer.Reset(detached.Grace)
		case <-timer.C:
			switch {
			case !leaving:
				if r.another() {
					timer.Reset(r.delay)
				}
			case r.winner.Load() > undecided:
				return nil
			default:
				return r.failures.left(r.ctx)
			}
		}
	}
	return r.failures.err()
}

// failed notes the error of an attempt. decides says that it is the error of the call, retriable that another attempt
// may do better. An attempt that was refused, by whatever error, was not made: it neither decides the call nor starts
// another attempt. The same holds for one whose operation was itself a call that was refused.
func (r *race) failed(err error) (decides, retriable bool) {
	entered := engine.Entered(r.ctx, err)
	if onlyRefused(err) || !entered && r.ctx.Err() == nil {
		r.failures.refuse(err)
		return false, false
	}
	class := engine.ClassOf(r.ctx, err)
	r.failures.add(err, class)
	switch {
	case !entered: // it was queueing when the caller's context ended, which belongs into the error of the call
		return false, false
	case class == policy.Permanent, class == policy.Expected, class == policy.Ignored:
		return true, false
	}
	return false, true
}

// another starts an extra attempt if there are chances left, time, and budget. It reports whether there may be a
// further chance.
func (r *race) another() bool {
	if r.chances == r.config.extra || r.ctx.Err() != nil {
		return false
	}
	r.chances++
	switch {
	case !r.config.budget.Withdraw():
		r.hedge.count(func(c *counts) { c.overBudget++ })
	case !r.start():
		r.config.budget.Return()
		r.hedge.count(func(c *counts) { c.overMaxRunning++ })
	default:
		r.hedge.count(func(c *counts) { c.extra++ })
	}
	return r.chances < r.config.extra
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

// win says that an attempt has succeeded. Only the first one counts. If the caller has just left
//
//   - a result that is complete is the result of the call all the same;
//   - one that stays open is not, since leave has cancelled the context that it lives under; unless the context of the caller
//     has ended, and with it that one anyway.
func (r *race) win(number int) {
	lateCounts := r.inside.open == nil || r.ctx.Err() != nil
	won := r.winner.CompareAndSwap(undecided, int64(number)) || lateCounts && r.winner.CompareAndSwap(left, int64(number))
	if won && number > 1 {
		r.hedge.count(func(c *counts) { c.won++ })
	}
}

// leave cancels the attempts that have lost. An attempt that has ended is left alone: its result may stay open, as that of
// the winner, or as a failure that is still to be read.
func (r *race) leave() {
	r.winner.CompareAndSwap(undecided, left)
	winner := r.winner.Load()
	for _, a := range r.attempts {
		if !a.ended && int64(a.number) != winner {
			a.cancel(ErrLost)
		}
	}
	r.calls.Leave()
}
