package engine

import (
	"context"
	"reflect"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// gates are the layers of a pipeline, or of the part inside a repeater, that can be asked.
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
func (g gates) ready(ctx context.Context) error {
	for _, gate := range g.all {
		if err := gate.Ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sleep waits for d, or until ctx ends, or until a gate closes for longer than the rest of d. It returns the time that
// was slept and, only in the last case, the rejection.
func (g gates) sleep(ctx context.Context, d time.Duration) (slept time.Duration, blocked error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	if len(g.notifiers) == 0 {
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		return d, nil
	}
	start := time.Now()
	for g.wait(ctx, timer) {
		left := d - time.Since(start)
		if blocked := g.ready(ctx); blocked != nil {
			if wait, known := policy.RetryAfter(blocked); known && wait > left {
				return d - left, blocked
			}
		}
	}
	return d, nil
}

// wait waits for the timer, for ctx, or for a change of a gate, and reports whether it was the last.
func (g gates) wait(ctx context.Context, timer *time.Timer) bool {
	cases := make([]reflect.SelectCase, 0, 2+len(g.notifiers))
	add := func(channel any) {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(channel)})
	}
	add(timer.C)
	add(ctx.Done())
	for _, notifier := range g.notifiers {
		add(notifier.Changed())
	}
	chosen, _, _ := reflect.Select(cases)
	return chosen >= 2
}
