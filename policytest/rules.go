package policytest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/go-resilience/resilience/policy"
)

// rule is one sentence of the contract of package policy, and the case that shows that it is kept.
type rule[L policy.Layer] struct {
	text  string
	check func(ctx context.Context, newLayer func() L) error
}

// run checks every rule in a subtest of its own, in virtual time. A failure quotes the rule.
func run[L policy.Layer](t *testing.T, rules []rule[L], newLayer func() L) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.text, func(t *testing.T) {
			if err := r.verify(t, newLayer); err != nil {
				t.Errorf("%v\nThe rule: %s", err, r.text)
			}
		})
	}
}

// verify checks one rule in a bubble of its own. A layer that blocks for ever, or leaves a goroutine behind that
// does, makes the bubble panic: that is a broken rule too.
func (r rule[L]) verify(t *testing.T, newLayer func() L) (err error) {
	defer func() {
		if recovered := recover(); recovered != nil {
			err = fmt.Errorf("%v", recovered)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		defer func() {
			if recovered := recover(); recovered != nil {
				err = fmt.Errorf("panic: %v", recovered)
			}
		}()
		// Not t.Context(), which ends only after the bubble should have.
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), marker{}, "caller"))
		defer cancel()
		err = r.check(ctx, newLayer)
	})
	return err
}

// together runs check on several goroutines at once and returns what they found. A panic of one is found, too.
func together(callers int, check func(caller int) error) error {
	found := make([]error, callers)
	var running sync.WaitGroup
	for caller := range found {
		running.Go(func() {
			defer func() {
				if recovered := recover(); recovered != nil {
					found[caller] = fmt.Errorf("panic: %v", recovered)
				}
			}()
			found[caller] = check(caller)
		})
	}
	running.Wait()
	return errors.Join(found...)
}

// marker is a key whose value must be visible in every context that is derived.
type marker struct{}

func stageRule[L policy.Layer]() rule[L] {
	return rule[L]{
		"Stage says where the layer belongs. It must always return the same value, which is positive.",
		func(_ context.Context, newLayer func() L) error {
			layer := newLayer()
			stage := layer.Stage()
			if stage <= 0 {
				return fmt.Errorf("the stage is %d", int(stage))
			}
			for range 100 {
				if again := layer.Stage(); again != stage {
					return fmt.Errorf("the stage was %v, and later %v", stage, again)
				}
			}
			return nil
		},
	}
}

// derived reports why inner is not ctx or a context derived from it; cancel must end ctx.
func derived(ctx, inner context.Context, cancel context.CancelFunc) error {
	if inner == nil {
		return fmt.Errorf("the context is nil")
	}
	if inner.Value(marker{}) != ctx.Value(marker{}) {
		return fmt.Errorf("a value of the caller's context is not visible in the one that was returned")
	}
	cancel()
	synctest.Wait()
	if inner.Err() == nil {
		return fmt.Errorf("the caller's context has ended, the one that was returned has not")
	}
	return nil
}
