package engine

import (
	"context"
	"reflect"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// gates are the layers of a pipeline, or of its part inside a repeater, that can be asked whether they would admit.
type gates struct {
	all       []policy.Gate
	notifiers []policy.Notifier
}

func gatesOf(layers []policy.Layer) (g gates) {
	for _, layer := range layers {
		if gate, ok := layer.(policy.Gate); ok {
			g.all = append(g.all, gate)
		}
		if notifier, ok := layer.(policy.Notifier); ok {
			g.notifiers = append(g.notifiers, notifier)
		}
	}
	return g
}

// ready returns the first rejection, nil if there is none.
func (g *gates) ready(ctx context.Context) error {
	for _, gate := range g.all {
		if err := gate.Ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// maxWakes bounds how often notifiers can disturb one sleep: a channel that is always closed would make it a busy loop.
const maxWakes = 100

// sleep waits for d, or until ctx ends. If wakeable, it also ends when a gate says that it will refuse the attempt with the
// context next for longer than the rest of d: then sleeping on is useless, and it returns the rejection.
func (g *gates) sleep(ctx, next context.Context, d time.Duration, wakeable bool) (blocked error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	start := time.Now()
	for wakes := 0; wakeable && len(g.notifiers) > 0 && wakes < maxWakes; wakes++ {
		changed := g.changed(next) // before the gates are asked, so that no change in between is missed
		if rejection := g.ready(next); rejection != nil {
			if wait, known := policy.RetryAfter(rejection); known && wait > d-time.Since(start) {
				return rejection
			}
		}
		if !disturbed(ctx, timer, changed) {
			return nil
		}
	}
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

// changed returns the channels that tell of changes, as cases of a select.
func (g *gates) changed(ctx context.Context) []reflect.SelectCase {
	cases := make([]reflect.SelectCase, len(g.notifiers), len(g.notifiers)+2)
	for i, notifier := range g.notifiers {
		cases[i] = receive(notifier.Changed(ctx))
	}
	return cases
}

// disturbed waits for the timer, for the end of ctx, or for a change, and reports whether it was a change.
func disturbed(ctx context.Context, timer *time.Timer, changed []reflect.SelectCase) bool {
	chosen, _, _ := reflect.Select(append(changed, receive(timer.C), receive(ctx.Done())))
	return chosen < len(changed)
}

func receive(channel any) reflect.SelectCase {
	return reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(channel)}
}
