package policytest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Guard checks that the guards that newGuard makes keep every rule of [policy.Guard], and of [policy.Gate] if they are
// gates. Each rule is a subtest, whose failure quotes the rule. Guard calls newGuard inside testing/synctest bubbles.
// It must return a new guard each time, in a state in which it reliably admits: healthy, and not deciding by chance.
//
//	func TestMaintenanceKeepsTheContract(t *testing.T) {
//		policytest.Guard(t, func() policy.Guard { return NewMaintenance() })
//	}
//
// Run it with -race: one of the rules is that the guard is safe for concurrent use.
func Guard(t *testing.T, newGuard func() policy.Guard) {
	t.Helper()
	run(t, guardRules, newGuard)
}

// many is more admissions than a test asks of a guard without a limit.
const many = 200

// admission is an attempt that a guard has admitted.
type admission struct {
	ctx     context.Context
	ticket  policy.Ticket
	release context.CancelFunc
}

// fill takes admissions until the guard refuses or many were made. Each request is given an hour of virtual time.
func fill(ctx context.Context, guard policy.Guard) (admitted []admission, refusal error) {
	for len(admitted) < many {
		limited, release := context.WithTimeout(ctx, time.Hour)
		inner, ticket, err := guard.Admit(limited)
		if err != nil {
			release()
			return admitted, err
		}
		admitted = append(admitted, admission{inner, ticket, release})
	}
	return admitted, nil
}

func settleAll(guard policy.Guard, admitted []admission, outcome policy.Outcome) {
	for i := len(admitted) - 1; i >= 0; i-- {
		guard.Settle(admitted[i].ctx, admitted[i].ticket, outcome)
		admitted[i].release()
	}
}

// What concurrently does: so many callers, with so many attempts each.
const (
	callers  = 8
	attempts = 50
)

// concurrently makes attempts on several goroutines, which end with outcomes in turn. Each is held for a nanosecond.
func concurrently(ctx context.Context, guard policy.Guard, outcomes []policy.Outcome) error {
	return together(callers, func(caller int) error {
		for i := range attempts {
			limited, cancel := context.WithTimeout(ctx, time.Duration(i)*time.Millisecond)
			if inner, ticket, err := guard.Admit(limited); err == nil {
				time.Sleep(time.Nanosecond) // others come meanwhile
				guard.Settle(inner, ticket, outcomes[(caller+i)%len(outcomes)])
			}
			if gate, ok := guard.(policy.Gate); ok {
				_ = gate.Ready(ctx)
			}
			cancel()
		}
		return nil
	})
}

var errOperation = errors.New("the operation failed")

// outcomes are all the ways in which an attempt can end.
var outcomes = []policy.Outcome{
	{Kind: policy.NotCalled},
	{Kind: policy.NotCalled, Class: policy.Ignored, Err: errOperation},
	{Kind: policy.Returned},
	{Kind: policy.Returned, Class: policy.Transient, Err: errOperation},
	{Kind: policy.Returned, Class: policy.Permanent, Err: errOperation},
	{Kind: policy.Returned, Class: policy.Expected, Err: errOperation},
	{Kind: policy.Returned, Class: policy.Throttled, Err: errOperation},
	{Kind: policy.Returned, Class: policy.Ignored, Err: errOperation},
	{Kind: policy.Returned, Class: policy.Transient, Canceled: true, Err: errOperation},
	{Kind: policy.Panicked},
	{Kind: policy.Exited},
}

var guardRules = []rule[policy.Guard]{
	stageRule[policy.Guard](),
	reportRule[policy.Guard](),
	idleRule[policy.Guard](),
	{
		"To admit, Admit returns ctx, or a context derived from it, and a nil error.",
		func(ctx context.Context, newGuard func() policy.Guard) error {
			guard := newGuard()
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			inner, ticket, err := guard.Admit(ctx)
			if err != nil {
				return fmt.Errorf("a new guard refused: %w", err)
			}
			problem := derived(ctx, inner, cancel)
			if inner != nil {
				guard.Settle(inner, ticket, policy.Outcome{})
			}
			return problem
		},
	},
	{
		"Settle is called on every exit: return, error, panic, runtime.Goexit, and refusal by a layer inside. It must not wait, and releases a derived context.",
		func(ctx context.Context, newGuard func() policy.Guard) error {
			for _, outcome := range outcomes {
				guard := newGuard()
				inner, ticket, err := guard.Admit(ctx)
				if err != nil {
					return fmt.Errorf("a new guard refused: %w", err)
				}
				start := time.Now()
				guard.Settle(inner, ticket, outcome)
				if waited := time.Since(start); waited > 0 {
					return fmt.Errorf("in Settle with %v it waited %v", outcome.Kind, waited)
				}
				if inner.Done() != ctx.Done() && inner.Err() == nil {
					return fmt.Errorf("after Settle with %v the derived context has not ended", outcome.Kind)
				}
			}
			return nil
		},
	},
	{
		"To refuse, Admit returns an error that matches policy.ErrRejected; whatever it had taken must be given back before it returns.",
		func(ctx context.Context, newGuard func() policy.Guard) error {
			guard := newGuard()
			admitted, refusal := fill(ctx, guard)
			defer func() { settleAll(guard, admitted, policy.Outcome{}) }()
			if refusal == nil {
				return nil // a guard that does not refuse
			}
			if !errors.Is(refusal, policy.ErrRejected) && !errors.Is(refusal, context.DeadlineExceeded) {
				return fmt.Errorf("the refusal does not match policy.ErrRejected: %w", refusal)
			}
			for range 10 { // refusals that took something would add up
				limited, cancel := context.WithTimeout(ctx, time.Nanosecond)
				if inner, ticket, err := guard.Admit(limited); err == nil {
					guard.Settle(inner, ticket, policy.Outcome{})
				}
				cancel()
			}
			before := len(admitted)
			settleAll(guard, admitted, policy.Outcome{})
			if admitted, _ = fill(ctx, guard); len(admitted) < before {
				return fmt.Errorf("%d attempts were admitted and given back as never called; then only %d were admitted", before, len(admitted))
			}
			return nil
		},
	},
	{
		"If Admit waits, it must stop waiting when ctx ends and refuse with policy.ContextError, having taken nothing.",
		func(ctx context.Context, newGuard func() policy.Guard) error {
			guard := newGuard()
			admitted, refusal := fill(ctx, guard)
			if refusal == nil {
				settleAll(guard, admitted, policy.Outcome{})
				return nil
			}
			cause := errors.New("the caller has left")
			waiting, cancel := context.WithCancelCause(ctx)
			answer := make(chan error, 1)
			go func() {
				inner, ticket, err := guard.Admit(waiting)
				if err == nil {
					guard.Settle(inner, ticket, policy.Outcome{})
				}
				answer <- err
			}()
			synctest.Wait()
			cancel(cause)
			synctest.Wait()
			defer settleAll(guard, admitted, policy.Outcome{})
			select {
			case err := <-answer:
				if !errors.Is(err, policy.ErrRejected) && (!errors.Is(err, cause) || !errors.Is(err, context.Canceled)) {
					return fmt.Errorf("the error matches neither policy.ErrRejected nor the end of the context: %v", err)
				}
				return nil
			default:
				return errors.New("it goes on waiting in Admit after its context has ended")
			}
		},
	},
	{
		"Admit returns when ctx ends, also when the guard makes every attempt wait; the error is policy.ContextError.",
		func(ctx context.Context, newGuard func() policy.Guard) error {
			guard := newGuard()
			cause := errors.New("the caller has left")
			for range many {
				hurried, cancel := context.WithCancelCause(ctx)
				leave := time.AfterFunc(time.Millisecond, func() { cancel(cause) })
				start := time.Now()
				inner, ticket, err := guard.Admit(hurried)
				took := time.Since(start)
				leave.Stop()
				if took > time.Millisecond {
					return fmt.Errorf("the context ended after 1ms, Admit returned after %v", took)
				}
				if err != nil {
					cancel(nil)
					if !errors.Is(err, policy.ErrRejected) && (!errors.Is(err, cause) || !errors.Is(err, context.Canceled)) {
						return fmt.Errorf("the error matches neither policy.ErrRejected nor the cause of the context's end: %v", err)
					}
					return nil
				}
				defer func() { guard.Settle(inner, ticket, policy.Outcome{}); cancel(nil) }()
			}
			return nil
		},
	},
	{
		"Layers must be safe for concurrent use.",
		func(ctx context.Context, newGuard func() policy.Guard) error {
			guard := newGuard()
			if err := concurrently(ctx, guard, outcomes); err != nil {
				return err
			}
			// The race detector sees races of memory; those of logic show in what was never called, and must leave no trace.
			// What came in while an attempt was held may be lost once for each, and come in again.
			guard = newGuard()
			if err := concurrently(ctx, guard, outcomes[:1]); err != nil {
				return err
			}
			time.Sleep(callers * attempts * time.Nanosecond)
			admitted, _ := fill(ctx, guard)
			settleAll(guard, admitted, policy.Outcome{})
			fresh := newGuard()
			alone, _ := fill(ctx, fresh)
			settleAll(fresh, alone, policy.Outcome{})
			if len(admitted) != len(alone) {
				return fmt.Errorf("a new guard admits %d, and after concurrent attempts that were never called %d", len(alone), len(admitted))
			}
			return nil
		},
	},
	{
		"Ready is a pure question: it reserves nothing and moves no state; it returns nil when an attempt would be admitted now, otherwise the rejection that it would get.",
		func(ctx context.Context, newGuard func() policy.Guard) error {
			guard := newGuard()
			gate, ok := guard.(policy.Gate)
			if !ok {
				return nil
			}
			for admitted := 0; admitted < many; admitted++ {
				ready := gate.Ready(ctx)
				for range 1000 {
					if again := gate.Ready(ctx); (again == nil) != (ready == nil) {
						return fmt.Errorf("the method Ready returned %v, and then %v", ready, again)
					}
				}
				inner, ticket, err := guard.Admit(ctx)
				if err == nil {
					defer guard.Settle(inner, ticket, policy.Outcome{})
				}
				if (err == nil) != (ready == nil) {
					return fmt.Errorf("the method Ready returned %v, but Admit returned %v", ready, err)
				}
				if ready != nil {
					if !errors.Is(ready, policy.ErrRejected) {
						return fmt.Errorf("the error of Ready does not match policy.ErrRejected: %w", ready)
					}
					return nil
				}
			}
			return nil
		},
	},
	{
		"Whatever the outcomes were, a guard that judges the dependency must admit again after a while: nothing blocks for ever.",
		func(ctx context.Context, newGuard func() policy.Guard) error {
			for _, outcome := range outcomes {
				guard := newGuard()
				for range 20 {
					admitted, _ := fill(ctx, guard)
					settleAll(guard, admitted, outcome)
				}
				time.Sleep(24 * time.Hour)
				inner, ticket, err := guard.Admit(ctx)
				if err != nil {
					return fmt.Errorf("a day after attempts that ended as %v it still refuses: %w", outcome.Kind, err)
				}
				guard.Settle(inner, ticket, policy.Outcome{Kind: policy.Returned})
			}
			return nil
		},
	},
	{
		"A Returner counts a success when the operation returns, and not again when the permit is settled.",
		func(ctx context.Context, newGuard func() policy.Guard) error {
			guard, twin := newGuard(), newGuard()
			returner, ok := guard.(policy.Returner)
			if !ok {
				return nil
			}
			for range 20 {
				inner, ticket, err := guard.Admit(ctx)
				if err != nil {
					return fmt.Errorf("it refused after successes: %w", err)
				}
				start := time.Now()
				ticket = returner.Returned(inner, ticket)
				if waited := time.Since(start); waited > 0 {
					return fmt.Errorf("in Returned it waited %v", waited)
				}
				guard.Settle(inner, ticket, policy.Outcome{Kind: policy.Returned})
				if inner, ticket, err = twin.Admit(ctx); err != nil {
					return fmt.Errorf("it refused after successes: %w", err)
				}
				twin.Settle(inner, ticket, policy.Outcome{Kind: policy.Returned})
			}
			opened, _ := fill(ctx, guard)
			settled, _ := fill(ctx, twin)
			if len(opened) != len(settled) {
				return fmt.Errorf("after successes it admits %d, after successes that had stayed open %d", len(settled), len(opened))
			}
			settleAll(guard, opened, policy.Outcome{})
			settleAll(twin, settled, policy.Outcome{})
			one, other := counted(twin, "successes"), counted(guard, "successes")
			if one != other {
				return fmt.Errorf("it reports %v successes, and %v when they had stayed open", one, other)
			}
			return nil
		},
	},
	{
		"A Lifter's bound is off after lift: its context lives until ticket.Cancel is called, and has no deadline of its own.",
		func(ctx context.Context, newGuard func() policy.Guard) error {
			guard := newGuard()
			lifter, ok := guard.(policy.Lifter)
			if !ok || guard.Stage() < policy.StageRetry {
				return nil // a bound of the whole call stays until the permit is settled
			}
			inner, ticket, lift, err := lifter.AdmitOpen(ctx)
			if err != nil {
				return fmt.Errorf("a new guard refused: %w", err)
			}
			if _, has := inner.Deadline(); has {
				return errors.New("the context has a deadline, which drivers send on")
			}
			if lift != nil {
				lift()
			}
			time.Sleep(24 * time.Hour)
			if inner.Err() != nil {
				return fmt.Errorf("a day after lift the context has ended: %w", inner.Err())
			}
			cancel := ticket.Cancel
			ticket.Cancel = nil // as the engine does for an answer that is still to be read
			guard.Settle(inner, ticket, policy.Outcome{Kind: policy.Returned, Class: policy.Transient, Err: errOperation})
			if inner.Err() != nil {
				return errors.New("in Settle it has ended the context although ticket.Cancel was taken out")
			}
			if cancel == nil {
				if inner.Done() != ctx.Done() {
					return errors.New("ticket.Cancel is nil although the context can end by itself")
				}
				return nil
			}
			cancel()
			if inner.Err() == nil {
				return errors.New("ticket.Cancel has not ended the context")
			}
			return nil
		},
	},
}

// counted returns a value of the report of a layer, 0 if there is none.
func counted(layer policy.Layer, name string) float64 {
	if reporter, ok := layer.(policy.Reporter); ok {
		value, _ := reporter.Report().Value(name, "")
		return value.Number
	}
	return 0
}
