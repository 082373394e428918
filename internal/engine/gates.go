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
func (g *gates) ready(ctx context.Context) error {
	for _, gate := range g.all {
		if err := gate.Ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sleep waits for d, or until ctx ends. If watch is set, it also ends when a gate refuses for longer than the rest of d.
// It returns the time that was slept and, only in the last case, the rejection.
func (g *gates) sleep(ctx context.Context, d time.Duration, watch bool) (slept time.Duration, blocked error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	if !watch || len(g.notifiers) == 0 {
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		return d, nil
	}
	start := time.Now()
	chosen, closed := -1, reflect.Value{} // the notifier that was heard last, and its channel
	for {
		changed := g.changed(ctx, closed, chosen) // before the gates are asked, so that no change in between is missed
		left := d - time.Since(start)
		if blocked := g.ready(ctx); blocked != nil {
			if wait, known := policy.RetryAfter(blocked); known && wait > left {
				return d - left, blocked
			}
		}
		if chosen = wait(ctx, timer, changed); chosen < 0 {
			return d, nil
		}
		closed = changed[chosen].Chan
	}
}

// changed returns the channels that tell of changes, as cases of a select. A notifier that returns the closed channel
// again that it has just been heard by, is not listened to any more: it would keep the sleep from being one.
func (g *gates) changed(ctx context.Context, closed reflect.Value, chosen int) []reflect.SelectCase {
	cases := make([]reflect.SelectCase, len(g.notifiers))
	for i, notifier := range g.notifiers {
		cases[i] = receive(notifier.Changed(ctx))
		if i == chosen && cases[i].Chan.Pointer() == closed.Pointer() {
			cases[i].Chan = reflect.Value{}
		}
	}
	return cases
}

// wait waits for the timer, for ctx, or for a change, and returns which change it was, or -1.
func wait(ctx context.Context, timer *time.Timer, changed []reflect.SelectCase) int {
	chosen, _, _ := reflect.Select(append(changed, receive(timer.C), receive(ctx.Done())))
	if chosen >= len(changed) {
		return -1
	}
	return chosen
}

func receive(channel any) reflect.SelectCase {
	return reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(channel)}
}
