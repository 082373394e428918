package hedge

import (
	"context"
	"time"

	"github.com/go-resilience/resilience/internal/detached"
	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/policy"
)

// race is the attempts of one call. Except for winner it belongs to the goroutine of the caller.
//
// It decides when another attempt starts, and when the call ends. The engine has a race of its own, which keeps the results:
// it lets exactly one attempt return nil. A success that comes later reaches this race as a rejection, and counts for nothing.
type race struct {
	hedge  *Hedge
	config *config
	ctx    context.Context
	op     operation
	delay  time.Duration
	runs   *detached.Runs // of the attempts

	attempts []*attempt // in the order of their start
	running  int
	chances  int // extra attempts that were started, or could not be for lack of budget or room
	failures failures
	winner   winner
}

// run waits for the attempts, and starts extra ones, until the call is decided.
func (r *race) run() error {
	defer r.leave()
	timer := time.NewTimer(r.delay) // until the next extra attempt
	defer timer.Stop()
	for r.running > 0 {
		select {
		case ending := <-r.runs.Endings():
			switch r.judge(ending) {
			case won:
				return nil
			case decided:
				return ending.Resume()
			case failed:
				if r.config.afterFailure && r.tryExtra() {
					timer.Reset(r.delay)
				}
			}
		case <-timer.C:
			if r.tryExtra() {
				timer.Reset(r.delay)
			}
		case <-r.ctx.Done():
			return r.afterEnd()
		}
	}
	return r.failures.err()
}

// afterEnd waits for the attempts when the caller's context has ended, and theirs with it, for no longer than the grace.
func (r *race) afterEnd() error {
	timer := time.NewTimer(detached.Grace)
	defer timer.Stop()
	for r.running > 0 {
		select {
		case ending := <-r.runs.Endings():
			switch r.judge(ending) {
			case won:
				return nil
			case decided:
				return ending.Resume()
			}
		case <-timer.C:
			if r.winner.decided() {
				return nil
			}
			return r.failures.cutShort(r.ctx)
		}
	}
	return r.failures.err()
}

// effect is what the ending of an attempt means for the call.
type effect int

const (
	won     effect = iota // the call has succeeded, by this attempt or by another one
	decided               // the call ends as the attempt has ended
	failed                // another attempt may do better
	notMade               // nothing: the attempt does not count
)

// judge notes how an attempt has ended, and returns what that means for the call. The first line that holds counts:
//
//	the attempt                                                   effect
//	panicked, or exited                                           decided
//	won, or ended after another one had won                       won
//	was refused before its operation, while the caller waits      notMade
//	returned a refusal: its operation was a call of its own       notMade
//	had not entered it when the caller's context ended            notMade, but its error belongs into that of the call
//	failed with an error that another attempt would get as well   decided
//	failed otherwise                                              failed
//
// Of an attempt that failed, a [policy.Wrapper] gets nothing but the error. What else the engine knows of it, whether its
// operation was called and which class its error has, the engine finds by that error in the caller's context.
func (r *race) judge(ending detached.Ending) effect {
	r.running--
	r.attempts[ending.Index].ended = true
	switch {
	case !ending.Returned():
		return decided
	case r.winner.decided():
		return won
	}
	err := ending.Err
	switch entered := engine.Entered(r.ctx, err); {
	case !entered && r.ctx.Err() == nil, isRefusal(err):
		r.failures.refuse(err)
		return notMade
	case !entered:
		r.note(err)
		return notMade
	}
	switch r.note(err) {
	case policy.Permanent, policy.Expected, policy.Ignored:
		return decided
	}
	return failed
}

// note keeps the error of an attempt for that of the call, and returns its class.
func (r *race) note(err error) policy.Class {
	class := engine.ClassOf(r.ctx, err)
	r.failures.add(err, class)
	return class
}

// tryExtra starts an extra attempt if there are chances left, time, budget and room. Whether it could or not, it reports whether
// there may be a further chance.
func (r *race) tryExtra() (more bool) {
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
	if !r.runs.Go(a.run) {
		a.cancel(nil)
		return false
	}
	r.attempts = append(r.attempts, a)
	r.running++
	return true
}

// succeeded notes that an attempt has returned nil. Its result is that of the call, unless another attempt was first. One that
// comes when the caller is just leaving is in time, if it is complete. One that stays open is not, since leave has cancelled the
// context that it lives under, or will; unless the caller's context has ended, and that one with it anyway.
// The engine's race has the same rule in handOver.
//
//	the result    undecided   callerLeft                               another attempt
//	is complete   wins        wins                                     has lost
//	stays open    wins        wins if the caller's context has ended   has lost
func (r *race) succeeded(number int) {
	wins := r.winner.claim(number) ||
		(r.op.open == nil || r.ctx.Err() != nil) && r.winner.claimLate(number)
	if wins && number > 1 {
		r.hedge.count(func(c *counts) { c.won++ })
	}
}

// leave cancels the attempts that have lost. An attempt that has ended is left alone: its result may stay open, as that of
// the winner, or as a failure that is still to be read.
func (r *race) leave() {
	winner := r.winner.leave()
	for _, a := range r.attempts {
		if !a.ended && a.number != winner {
			a.cancel(ErrLost)
		}
	}
	r.runs.Leave()
}
