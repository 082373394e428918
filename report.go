package resilience

import (
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/go-resilience/resilience/policy"
)

// Report is what a pipeline is and does, at one moment.
type Report struct {
	Name   string          `json:"name,omitempty"`
	Calls  *Calls          `json:"calls,omitempty"` // nil for a pipeline without a name, whose calls are not counted
	Layers []policy.Report `json:"layers"`          // in order, outermost first
}

// Calls counts the calls of a pipeline since it was composed, by how they ended.
type Calls struct {
	Succeeded uint64 `json:"succeeded"`
	Expected  uint64 `json:"expected"` // with an error of class Expected: the dependency has answered
	Failed    uint64 `json:"failed"`   // with any other error
	Rejected  uint64 `json:"rejected"` // refused before the operation was entered
	Canceled  uint64 `json:"canceled"` // ended by the caller
	Panicked  uint64 `json:"panicked"` // with a panic or runtime.Goexit
}

// Report returns what the pipeline and its layers are and do. It changes nothing. Each layer is read consistently, one
// after the other. A layer that is no [policy.Reporter] is reported by its type alone.
func (p *Pipeline) Report() Report {
	r := Report{Name: p.Name(), Layers: make([]policy.Report, len(p.placements))}
	if c := p.planOrPanic().Calls(); c != nil {
		r.Calls = &Calls{
			Succeeded: c.Succeeded.Load(), Expected: c.Expected.Load(), Failed: c.Failed.Load(),
			Rejected: c.Rejected.Load(), Canceled: c.Canceled.Load(), Panicked: c.Panicked.Load(),
		}
	}
	for i, place := range p.placements {
		if reporter, ok := place.layer.(policy.Reporter); ok {
			r.Layers[i] = reporter.Report()
		} else {
			r.Layers[i].Kind = fmt.Sprintf("%T", place.layer)
		}
		r.Layers[i].Stage = place.stage
	}
	return r
}

// MarshalJSON writes the report.
func (p *Pipeline) MarshalJSON() ([]byte, error) { return json.Marshal(p.Report()) }

// LogValue returns the name, the counts and the layers as groups.
func (r Report) LogValue() slog.Value {
	var attrs []slog.Attr
	if r.Name != "" {
		attrs = append(attrs, slog.String("name", r.Name))
	}
	if c := r.Calls; c != nil {
		attrs = append(attrs, slog.Group("calls",
			slog.Uint64("succeeded", c.Succeeded), slog.Uint64("expected", c.Expected), slog.Uint64("failed", c.Failed),
			slog.Uint64("rejected", c.Rejected), slog.Uint64("canceled", c.Canceled), slog.Uint64("panicked", c.Panicked)))
	}
	for i, layer := range r.Layers {
		attrs = append(attrs, slog.Any(fmt.Sprintf("%d", i+1), layer))
	}
	return slog.GroupValue(attrs...)
}
