package replay

import (
	"math/rand/v2"
	"time"

	"github.com/go-resilience/resilience/lab/internal/sim"
)

// variant is a form of the fitted server.
type variant struct {
	skip   bool    // does not begin what nobody waits for any more, instead of working on everything
	slower float64 // factor of all service, 0 for 1
	bound  bool    // failures and demands belong to their calls: a retry brings them again
}

// server is the fitted server as a model.
func (f *fit) server(v variant) Model {
	m := Model{Name: "server, works on", Words: "load queues at a server that goes on when its caller has gone"}
	switch {
	case v.skip:
		m = Model{Name: "server, skips", Words: "load queues at a server that skips those whose callers have gone"}
	case v.bound:
		m = Model{Name: "server, call-bound", Words: "load queues at a server, and a retry meets the same failure again"}
	case v.slower > 0:
		m.Name += ", 10 % slower"
	}
	slower := max(1, v.slower)
	m.begin = func(l *Log, w *sim.World, t *tally) backend {
		var demand time.Duration
		s := &sim.Server{
			Slots: f.slots, Queue: f.queue, SkipGone: v.skip,
			Service: func(*rand.Rand) time.Duration { return demand },
			Slower:  func(at time.Duration) float64 { return slower * f.slowness(at) },
		}
		return func(a *sim.Actor, call, nth int) error {
			i := l.own(call, 1)
			further := nth > 1 && !v.bound
			if further || i < 0 || f.full[i] {
				r := a.Rand("draw")
				for range 30 { // a refusal is no service: draw again
					if i = l.drawBy(r, a.Now()); !f.full[i] {
						break
					}
				}
			}
			r := &l.attempts[i]
			demand = time.Duration(f.demand[i].Seconds() / f.slowness(f.begin(i)) * 1e9)
			kind := r.outcome
			if f.full[i] {
				kind = 0
			}
			if r.cut != whole {
				kind = 0
				t.imputed++
			}
			if f.failGrowth > significant && !(v.bound && nth > 1) {
				if flight := s.Waiting() + s.Busy(); further || abs(int(f.flight[i])-flight) > max(2, flight/5) {
					low, high := f.like(flight)
					j := f.byFlight[low+a.Rand("fail").IntN(high-low)]
					if kind = l.attempts[j].outcome; l.attempts[j].cut != whole || f.full[j] {
						kind = 0
					}
				}
			}
			if err := s.Serve(a); err != nil {
				if err == sim.ErrFull {
					return errFull
				}
				return err
			}
			return l.failures[kind]
		}
	}
	return m
}

var errFull = &failure{kind: "queue full"}

func abs(x int) int { return max(x, -x) }
