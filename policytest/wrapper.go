package policytest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Wrapper checks that the wrappers that newWrapper makes keep every rule of [policy.Wrapper]. Each rule is a subtest,
// whose failure quotes the rule. Wrapper calls newWrapper inside testing/synctest bubbles. It must return a new wrapper
// each time. The calls that the rules make end within a minute, and as soon as their context ends.
func Wrapper(t *testing.T, newWrapper func() policy.Wrapper) {
	t.Helper()
	run(t, wrapperRules, newWrapper)
}

// cooperative returns a call that takes d, or ends when its context does, and then returns err.
func cooperative(d time.Duration, err error) func(context.Context) error {
	return func(ctx context.Context) error {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return err
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

var wrapperRules = []rule[policy.Wrapper]{
	stageRule[policy.Wrapper](),
	reportRule[policy.Wrapper](),
	idleRule[policy.Wrapper](),
	{
		"Run must return nil if and only if a call returned nil. It must pass on call's error, or wrap it.",
		func(ctx context.Context, newWrapper func() policy.Wrapper) error {
			for _, d := range []time.Duration{0, time.Millisecond, time.Minute} {
				if err := newWrapper().Run(ctx, cooperative(d, nil)); err != nil && d == 0 {
					return fmt.Errorf("a call returned nil, Run did not: %w", err)
				}
				var succeeded atomic.Bool
				err := newWrapper().Run(ctx, func(ctx context.Context) error {
					err := cooperative(d, errOperation)(ctx)
					if err == nil {
						succeeded.Store(true)
					}
					return err
				})
				if err == nil && !succeeded.Load() {
					return errors.New("the method Run returned nil although every call failed")
				}
				if d == 0 && !errors.Is(err, errOperation) {
					return fmt.Errorf("the error of the call is lost: %w", err)
				}
			}
			return nil
		},
	},
	{
		"The context given to call must be ctx or derived from it.",
		func(ctx context.Context, newWrapper func() policy.Wrapper) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			var first atomic.Bool
			problem := make(chan error, 1)
			_ = newWrapper().Run(ctx, func(inner context.Context) error {
				if first.CompareAndSwap(false, true) {
					problem <- derived(ctx, inner, cancel)
				}
				return nil
			})
			return <-problem
		},
	},
	{
		"A panic of call must reach Run's caller, on the caller's own goroutine.",
		func(ctx context.Context, newWrapper func() policy.Wrapper) (err error) {
			defer func() {
				if recovered := recover(); recovered != error(errOperation) {
					err = fmt.Errorf("call panicked with %v, Run with %v", errOperation, recovered)
				}
			}()
			_ = newWrapper().Run(ctx, func(context.Context) error { panic(errOperation) })
			return nil
		},
	},
	{
		"An exit of call, by runtime.Goexit, must not leave Run's caller waiting.",
		func(ctx context.Context, newWrapper func() policy.Wrapper) error {
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = newWrapper().Run(ctx, func(context.Context) error { runtime.Goexit(); return nil })
			}()
			select {
			case <-ended:
				return nil
			case <-time.After(24 * time.Hour):
				return errors.New("a day later Run has not returned")
			}
		},
	},
	{
		"Every call must have ended when Run returns, if the calls heed their context.",
		func(ctx context.Context, newWrapper func() policy.Wrapper) error {
			for _, d := range []time.Duration{0, time.Second, time.Minute} {
				var running atomic.Int64
				_ = newWrapper().Run(ctx, func(ctx context.Context) error {
					running.Add(1)
					defer running.Add(-1)
					return cooperative(d, nil)(ctx)
				})
				synctest.Wait()
				if left := running.Load(); left != 0 {
					return fmt.Errorf("%d calls run on after Run has returned", left)
				}
			}
			return nil
		},
	},
	{
		"The end of ctx reaches the calls, and Run returns.",
		func(ctx context.Context, newWrapper func() policy.Wrapper) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			start := time.Now()
			err := newWrapper().Run(ctx, cooperative(time.Minute, errOperation))
			if err == nil {
				return errors.New("the method Run returned nil although no call did")
			}
			if took := time.Since(start); took > time.Second {
				return fmt.Errorf("ctx ended after 1s, Run returned after %v", took)
			}
			return nil
		},
	},
	{
		"An Opener leaves the context of the call that won alone: it lives until the function that ends it is called.",
		func(ctx context.Context, newWrapper func() policy.Wrapper) error {
			opener, ok := newWrapper().(policy.Opener)
			if !ok {
				return nil
			}
			var won context.Context
			var finish context.CancelFunc
			err := opener.Open(ctx, func(inner context.Context, end context.CancelFunc) error {
				won, finish = inner, end
				return nil
			})
			if err != nil {
				return fmt.Errorf("a call returned nil, Open did not: %w", err)
			}
			time.Sleep(24 * time.Hour)
			if won.Err() != nil {
				return fmt.Errorf("a day after Open the winner's context has ended: %w", won.Err())
			}
			if finish != nil {
				finish()
			}
			if won != ctx && won.Err() == nil {
				return errors.New("the winner's context cannot be ended")
			}
			return nil
		},
	},
	{
		"Layers must be safe for concurrent use.",
		func(ctx context.Context, newWrapper func() policy.Wrapper) error {
			wrapper := newWrapper()
			return together(8, func(caller int) error {
				var own error // of every other caller
				if caller%2 == 1 {
					own = errors.New("the error of this caller")
				}
				for range 25 {
					if err := wrapper.Run(ctx, cooperative(time.Duration(caller/2)*time.Millisecond, own)); !errors.Is(err, own) {
						return fmt.Errorf("the method Run returned %v, but its call returned %v", err, own)
					}
				}
				return nil
			})
		},
	},
}
