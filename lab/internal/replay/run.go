package replay

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/policy"
)

// Run sends the calls of a log through a candidate, and lets a model answer. It is made by its seed, bit for bit. progress,
// if not nil, hears now and then how many calls have come.
func Run(l *Log, c *Candidate, m Model, seed uint64, progress func(calls int)) (*Measured, error) {
	return RunWith(l, c, m, seed, progress, nil)
}

// RunWith is [Run] with a layer beside those of the candidate, such as an observer, that is made in the world.
func RunWith(l *Log, c *Candidate, m Model, seed uint64, progress func(calls int), more func() policy.Layer) (*Measured, error) {
	if len(l.attempts) == 0 {
		return nil, errors.New("replay: every call of the log was refused: nothing says how the dependency would have answered")
	}
	began := time.Now()
	t := newMeter(l)
	made := &tally{}
	var p *probe
	var broken error
	record, err := sim.Run(seed, func(w *sim.World) {
		var layers []policy.Layer
		if more != nil {
			layers = append(layers, more())
		}
		pipeline, err := c.compose(w, layers...)
		if err != nil {
			broken = err
			return
		}
		p = newProbe(pipeline.Layers())
		p.watch(w, l.Span)
		answer := m.begin(l, w, made)
		w.Open(l.arrivals(progress), math.MaxInt64, func(a *sim.Actor) error {
			index := a.Number() - 1
			came, sent := a.Now(), 0
			var last error // of an attempt
			err := pipeline.Run(a, sim.Operation(func(a *sim.Actor) error {
				sent++
				nth, at := sent, a.Now()
				t.began(at)
				err := answer(a, index, nth)
				t.left(a.Now() - at)
				if err != nil {
					last = err
				}
				return err
			}))
			a.Turn()
			kind, refused := outcome(err, last, sent)
			t.ended(index, a.Now()-came, kind, refused)
			return err
		})
	})
	if err := errors.Join(broken, err); err != nil {
		return nil, fmt.Errorf("replay: %s: %w", c.Name, err)
	}
	measured := t.finish()
	measured.Imputed = made.imputed
	measured.Hash, measured.Took = record.Hash, time.Since(began)
	measured.States, measured.Limits = p.tracks, p.limits(measured)
	return measured, nil
}

// arrivals lets the calls of the log come when they came.
func (l *Log) arrivals(progress func(int)) sim.Arrivals {
	next := 0
	return func(*rand.Rand, time.Duration) time.Duration {
		if next%10_000 == 0 && progress != nil {
			progress(next)
		}
		if next == len(l.calls) {
			return math.MaxInt64
		}
		next++
		return l.calls[next-1].at
	}
}

// outcome returns how a call ended: "" for success, otherwise the kind of failure of its last attempt, or the refusal if
// nothing was sent.
func outcome(err, last error, sent int) (kind string, refused bool) {
	switch {
	case err == nil:
		return "", false
	case sent == 0:
		if r, ok := errors.AsType[*policy.Rejection](err); ok {
			return refusalName(r.Name, r.Code()), true
		}
		return refusalName("", policy.Code(err)), true
	}
	for _, err := range []error{err, last} {
		if f, ok := errors.AsType[*failure](err); ok {
			return f.kind, false
		}
	}
	return cmp.Or(policy.Code(last), policy.Code(err), "failed"), false
}
