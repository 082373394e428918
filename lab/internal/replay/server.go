package replay

import (
	"math/rand/v2"
	"time"

	"github.com/go-resilience/resilience/lab/internal/sim"
)

// server is the fitted server as a model. With skip it does not begin what nobody waits for any more, otherwise it works on
// everything. slower is a factor of all service.
func (f *fit) server(skip bool, slower float64) Model {
	m := Model{Name: "server, works on", Words: "load queues at a server that goes on when its caller has gone"}
	if skip {
		m = Model{Name: "server, skips", Words: "load queues at a server that skips those whose callers have gone"}
	}
	if slower != 1 {
		m.Name += ", 10 % slower"
	}
	m.begin = func(l *Log, w *sim.World, t *tally) backend {
		var demand time.Duration
		s := &sim.Server{
			Slots: f.slots, Queue: f.queue, SkipGone: skip,
			Service: func(*rand.Rand) time.Duration { return demand },
			Slower:  func(at time.Duration) float64 { return slower * f.slowness(at) },
		}
		return func(a *sim.Actor, call, nth int) error {
			i := l.own(call, 1)
			if nth > 1 || i < 0 || f.full[i] {
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
			if f.failGrowth > significant {
				if flight := s.Waiting() + s.Busy(); nth > 1 || abs(int(f.flight[i])-flight) > max(2, flight/5) {
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
