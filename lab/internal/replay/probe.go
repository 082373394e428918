package replay

import (
	"fmt"
	"time"

	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

// probe looks at the layers of a pipeline while it runs.
type probe struct {
	layers []policy.Layer
	states []policy.Reporter // of the tracks
	tracks []Track
}

func newProbe(layers []policy.Layer) *probe {
	p := &probe{}
	for _, layer := range layers {
		if placed, ok := layer.(policy.Placed); ok {
			layer = placed.Layer
		}
		p.layers = append(p.layers, layer)
		if r, ok := layer.(policy.Reporter); ok && len(r.Report().State.All) > 0 {
			p.states = append(p.states, r)
			p.tracks = append(p.tracks, Track{Layer: fmt.Sprint(layer)})
		}
	}
	return p
}

// watch looks at the states from the first call to the last.
func (p *probe) watch(w *sim.World, span time.Duration) {
	if len(p.states) == 0 {
		return
	}
	period := min(time.Second, max(10*time.Millisecond, span/2000))
	at := time.Duration(0)
	var look func()
	look = func() {
		p.look(at)
		if at += period; at <= span {
			w.At(at, look)
		}
	}
	w.At(at, look)
}

func (p *probe) look(at time.Duration) {
	for i, r := range p.states {
		track := &p.tracks[i]
		var state string
		if quick, ok := r.(policy.StateReporter); ok {
			state = quick.ReportState()
		} else {
			state = r.Report().State.Name
		}
		last := len(track.Spans) - 1
		if last >= 0 {
			track.Spans[last].Until = at
		}
		if last < 0 || track.Spans[last].State != state {
			track.Spans = append(track.Spans, Span{at, at, state})
		}
	}
}

// limits returns the limits of the layers, at the end, beside the peaks of what they limit.
func (p *probe) limits(m *Measured) (limits []Limit) {
	for _, layer := range p.layers {
		name := fmt.Sprint(layer)
		switch layer := layer.(type) {
		case *bulkhead.Bulkhead:
			s := layer.Snapshot()
			limits = append(limits, Limit{name, "attempts at once", float64(s.Limit), float64(s.PeakInFlight)})
			if s.PeakWaiting > 0 {
				limits = append(limits, Limit{name, "waiting", 0, float64(s.PeakWaiting)})
			}
		case *ratelimit.Limiter:
			limits = append(limits, Limit{name, "attempts per second", layer.Snapshot().PerSecond, float64(m.PeakRate)})
		}
	}
	return limits
}
