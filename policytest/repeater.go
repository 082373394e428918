package policytest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Repeater checks that the repeaters that newRepeater makes keep every rule of [policy.Repeater]. Each rule is a
// subtest, whose failure quotes the rule. Repeater calls newRepeater inside testing/synctest bubbles. It must return a
// new repeater each time, whose decisions whether to repeat should not depend on chance.
func Repeater(t *testing.T, newRepeater func() policy.Repeater) {
	t.Helper()
	run(t, repeaterRules, newRepeater)
}

// course is a call, as a repeater sees it.
type course struct {
	attempts int
	state    any
	last     policy.Decision
}

// next tells the repeater of one more attempt and reports whether it wants another one.
func (c *course) next(ctx context.Context, repeater policy.Repeater, outcome policy.Outcome) bool {
	c.attempts++
	c.last = repeater.Next(ctx, policy.Attempt{Number: c.attempts, Outcome: outcome, State: c.state})
	c.state = c.last.State
	return c.last.Again && c.attempts < many
}

var failed = policy.Outcome{Kind: policy.Returned, Err: errOperation}

var repeaterRules = []rule[policy.Repeater]{
	stageRule[policy.Repeater](),
	reportRule[policy.Repeater](),
	idleRule[policy.Repeater](),
	{
		"Next is called once after each attempt that returned, the successful one too.",
		func(ctx context.Context, newRepeater func() policy.Repeater) error {
			repeater := newRepeater()
			for range 3 {
				var call course
				call.next(ctx, repeater, failed)
				call.next(ctx, repeater, policy.Outcome{Kind: policy.Returned})
			}
			return nil // it did not panic
		},
	},
	{
		"What belongs to one call is kept in Attempt.State and Decision.State, never in the repeater.",
		func(ctx context.Context, newRepeater func() policy.Repeater) error {
			repeater := newRepeater()
			var alone course
			for alone.next(ctx, repeater, failed) {
			}
			repeater = newRepeater()
			calls := make([]course, 3)
			running := make([]bool, len(calls))
			for i := range running {
				running[i] = true
			}
			for range many {
				for i := range calls {
					running[i] = running[i] && calls[i].next(ctx, repeater, failed)
				}
			}
			for i := range calls {
				if calls[i].attempts != alone.attempts {
					return fmt.Errorf("a call alone makes %d attempts, but next to others %d", alone.attempts, calls[i].attempts)
				}
			}
			return nil
		},
	},
	{
		"It must not wait itself.",
		func(ctx context.Context, newRepeater func() policy.Repeater) error {
			repeater := newRepeater()
			start := time.Now()
			var call course
			for call.next(ctx, repeater, failed) {
			}
			if waited := time.Since(start); waited > 0 {
				return fmt.Errorf("it waited %v in Next", waited)
			}
			return nil
		},
	},
	{
		"The error of a Decision says why the call ends, and keeps the error of the attempt.",
		func(ctx context.Context, newRepeater func() policy.Repeater) error {
			repeater := newRepeater()
			var call course
			for call.next(ctx, repeater, failed) {
			}
			if !call.last.Again && call.last.Err != nil && !errors.Is(call.last.Err, errOperation) {
				return fmt.Errorf("the error of the attempt is lost: %w", call.last.Err)
			}
			ended, cancel := context.WithCancel(ctx)
			cancel()
			var left course
			left.next(ended, repeater, failed)
			if left.last.Err != nil && !errors.Is(left.last.Err, errOperation) {
				return fmt.Errorf("the error of the attempt is lost when the context has ended: %w", left.last.Err)
			}
			return nil
		},
	},
	{
		"A repeater that heeds Blocked says so: its error matches the rejection, and it keeps the error of the attempt.",
		func(ctx context.Context, newRepeater func() policy.Repeater) error {
			repeater := newRepeater()
			rejection := &policy.Rejection{Kind: "gate", Reason: errors.New("closed for the test")}
			decision := repeater.Next(ctx, policy.Attempt{Number: 1, Outcome: failed, Blocked: rejection})
			if decision.Again || decision.Err == nil {
				return nil
			}
			if !errors.Is(decision.Err, errOperation) {
				return fmt.Errorf("the error of the attempt is lost: %w", decision.Err)
			}
			if open := repeater.Next(ctx, policy.Attempt{Number: 1, Outcome: failed}); open.Again && !errors.Is(decision.Err, rejection) {
				return fmt.Errorf("the rejection that ended the call is lost: %w", decision.Err)
			}
			return nil
		},
	},
	{
		"What it has spent on an attempt that cannot be made it takes back, when it is called again with a context that has ended.",
		func(ctx context.Context, newRepeater func() policy.Repeater) error {
			repeater := newRepeater()
			first := repeater.Next(ctx, policy.Attempt{Number: 1, Outcome: failed})
			if !first.Again {
				return nil
			}
			ended, cancel := context.WithCancel(ctx)
			cancel()
			repeater.Next(ended, policy.Attempt{Number: 1, Outcome: failed, Asked: 1, State: first.State})
			for i := range 2_000 {
				for range 20 { // some repeaters pay for the failure, and not for the attempt
					repeater.Next(ctx, policy.Attempt{Number: 1, Outcome: policy.Outcome{Kind: policy.Returned}})
				}
				decision := repeater.Next(ctx, policy.Attempt{Number: 1, Outcome: failed})
				if !decision.Again {
					return fmt.Errorf("after %d attempts that were decided but not made, it allows no more", i+1)
				}
				if last := repeater.Next(ended, policy.Attempt{Number: 1, Outcome: failed, Asked: 1, State: decision.State}); last.Err != nil && !errors.Is(last.Err, errOperation) {
					return fmt.Errorf("the error of the attempt is lost: %w", last.Err)
				}
			}
			return nil
		},
	},
	{
		"Layers must be safe for concurrent use.",
		func(ctx context.Context, newRepeater func() policy.Repeater) error {
			repeater := newRepeater()
			return together(8, func(int) error {
				own := errors.New("the error of this caller")
				for range 50 {
					var call course
					for call.next(ctx, repeater, policy.Outcome{Kind: policy.Returned, Err: own}) && call.attempts < 5 {
					}
					if err := call.last.Err; !call.last.Again && err != nil && !errors.Is(err, own) {
						return fmt.Errorf("a call ended with the error of another one: %w", err)
					}
					call.next(ctx, repeater, policy.Outcome{Kind: policy.Returned})
				}
				return nil
			})
		},
	},
}
