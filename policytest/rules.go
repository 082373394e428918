package policytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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

// snakeCase is how the names of values are written.
var snakeCase = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

func reportRule[L policy.Layer]() rule[L] {
	return rule[L]{
		"Report changes nothing and returns one consistent value: a kind, a state that is one of all, values with a name in snake case, a unit and a kind.",
		func(_ context.Context, newLayer func() L) error {
			reporter, ok := any(newLayer()).(policy.Reporter)
			if !ok {
				return nil
			}
			report := reporter.Report()
			if report.Kind == "" {
				return errors.New("the report has no kind")
			}
			if state := report.State; state.Name != "" && !slices.Contains(state.All, state.Name) {
				return fmt.Errorf("the state %q is not one of %q", state.Name, state.All)
			}
			seen := make(map[string]bool)
			for _, value := range report.Values {
				switch key := value.Name + " " + value.Label; {
				case !snakeCase.MatchString(value.Name):
					return fmt.Errorf("the name %q is not in snake case", value.Name)
				case value.Unit == "" || value.Kind == 0:
					return fmt.Errorf("the value %q has no unit or no kind", value.Name)
				case value.Kind == policy.Counter && value.Number != 0:
					return fmt.Errorf("the counter %q of a new layer is %v", value.Name, value.Number)
				case seen[key]:
					return fmt.Errorf("the value %q occurs twice", key)
				default:
					seen[key] = true
				}
			}
			for _, setting := range report.Settings {
				for _, argument := range setting.Args {
					switch argument.Value.(type) {
					case bool, int, float64, string, time.Duration:
					default:
						return fmt.Errorf("argument %q of setting %q is a %T", argument.Name, setting.Name, argument.Value)
					}
				}
			}
			text, err := json.Marshal(report)
			if err != nil {
				return fmt.Errorf("the report is not valid JSON: %w", err)
			}
			if again, _ := json.Marshal(reporter.Report()); string(again) != string(text) {
				return fmt.Errorf("the report was %s, and then %s", text, again)
			}
			return nil
		},
	}
}

func idleRule[L policy.Layer]() rule[L] {
	return rule[L]{
		"Idle is a pure question; a new layer is idle: forgetting it loses nothing.",
		func(_ context.Context, newLayer func() L) error {
			idler, ok := any(newLayer()).(policy.Idler)
			if !ok {
				return nil
			}
			for range 100 {
				if !idler.Idle() {
					return errors.New("a new layer is not idle")
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
