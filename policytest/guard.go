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

// Guard checks that the guards that newGuard makes keep every rule of [policy.Guard], and of [policy.Gate] if they
// are gates. Each rule is a subtest, whose failure quotes the rule. newGuard is called inside testing/synctest
// bubbles and must return a new guard each time, in the state in which it is used: healthy, and able to admit, and not by
// chance.
//
//	func TestMaintenanceKeepsTheContract(t *testing.T) {
//		policytest.Guard(t, func() policy.Guard { return NewMaintenance() })
//	}
//
// Run it with -race: that the guard is safe for concurrent use is one of the rules.
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

// concurrently makes attempts on several goroutines, which end with outcomes in turn.
func concurrently(ctx context.Context, guard policy.Guard, outcomes []policy.Outcome) error {
	return together(8, func(caller int) error {
		for i := range 50 {
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
	{Kind: policy.NotCalled}, {Kind: policy.NotCalled, Err: errOperation}, {Kind: policy.Returned},
	{Kind: policy.Returned, Err: errOperation}, {Kind: policy.Panicked}, {Kind: policy.Exited},
}

var guardRules = []rule[policy.Guard]{
	stageRule[policy.Guard](),
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
		"Settle is called on every exit: return, error, panic, runtime.Goexit, and refusal further in. It must not wait, and releases a derived context.",
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
		"Layers must be safe for concurrent use.",
		func(ctx context.Context, newGuard func() policy.Guard) error {
			guard := newGuard()
			if err := concurrently(ctx, guard, outcomes); err != nil {
				return err
			}
			// The race detector sees races of memory; those of logic show in what was never called, and must leave no trace.
			guard = newGuard()
			if err := concurrently(ctx, guard, outcomes[:1]); err != nil {
				return err
			}
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
						return fmt.Errorf("the answer of Ready was %v, and then %v", ready, again)
					}
				}
				inner, ticket, err := guard.Admit(ctx)
				if err == nil {
					defer guard.Settle(inner, ticket, policy.Outcome{})
				}
				if (err == nil) != (ready == nil) {
					return fmt.Errorf("the answer of Ready was %v, but that of Admit %v", ready, err)
				}
				if ready != nil {
					if !errors.Is(ready, policy.ErrRejected) {
						return fmt.Errorf("the answer of Ready does not match policy.ErrRejected: %w", ready)
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
}
