package policystatus

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

// version is that of the JSON. It grows when a field changes its meaning or goes; new fields may come at any time.
const version = 1

// status is everything that the page shows, at one moment.
type status struct {
	Version   int         `json:"version"`
	Title     string      `json:"title"`
	Time      time.Time   `json:"time"`
	Control   bool        `json:"control"`  // acts are possible
	Refusing  []refusing  `json:"refusing"` // what refuses calls now, or has in the last seconds
	Pipelines []*pipeline `json:"pipelines"`
	Refusals  []run       `json:"refusals"` // the newest first
	Codes     []codeRuns  `json:"codes"`    // of the refusals
	Events    []event     `json:"events"`   // the newest first
}

// pipeline is a pipeline, or something that stands by itself.
type pipeline struct {
	ID     string            `json:"id"` // its name; made up if it has none or another has the same
	Name   string            `json:"name,omitempty"`
	Calls  *resilience.Calls `json:"calls,omitempty"`
	Layers []*layer          `json:"layers"`          // in the order in which they act
	Error  string            `json:"error,omitempty"` // why it could not be read

	anchor string
}

// layer is a layer of a pipeline.
type layer struct {
	ID string `json:"id"` // its kind, with a number if there are several
	policy.Report
	Refusing bool     `json:"refusing"`
	Actions  []string `json:"actions,omitempty"` // what can be done now
	Forced   []forced `json:"forced,omitempty"`  // what was done through this page, and ends by itself
	Seen     string   `json:"seen,omitempty"`    // to send with an act: it is refused if another operator was faster

	anchor   string
	pipeline *pipeline
	layer    any
}

// refusing is a layer that refuses calls.
type refusing struct {
	Pipeline string      `json:"pipeline"` // its ID
	Layer    string      `json:"layer"`    // its ID, "" if it is not on the page
	Why      explanation `json:"explanation"`
	Text     string      `json:"text"`            // all of it
	Since    time.Time   `json:"since,omitzero"`  // when the refusals began that go on without a pause of 5 s; zero when none was seen
	Count    uint64      `json:"count,omitempty"` // how many there were since

	layer *layer
	level string
	Said  string `json:"-"` // since when and how many, in words
}

// status reads everything.
func (p *Page) status() *status {
	p.mu.Lock()
	sources := p.sources[:len(p.sources):len(p.sources)]
	p.mu.Unlock()

	s := &status{Version: version, Title: p.config.title, Control: p.control != nil, Pipelines: []*pipeline{}}
	for i, source := range sources {
		s.Pipelines = append(s.Pipelines, s.read(i, source))
	}
	if p.control != nil {
		p.control.mark(s.Pipelines)
	}
	s.Time = time.Now()

	p.mu.Lock()
	p.changes(s)
	s.Refusals, s.Events = p.runs.list(), p.history.list()
	p.mu.Unlock()

	s.Codes = codes(s.Refusals)
	s.findRefusing()
	return s
}

func (s *status) read(i int, source source) *pipeline {
	report, layers, err := source.read()
	p := &pipeline{
		ID: s.pipelineID(i, report.Name), Name: clean(report.Name, mostName), Calls: report.Calls,
		Layers: []*layer{}, anchor: fmt.Sprintf("p%d", i+1),
	}
	if err != nil {
		p.Error = clean(err.Error(), mostText)
		return p
	}
	for j, report := range report.Layers {
		l := &layer{Report: report, layer: layers[j], pipeline: p, anchor: fmt.Sprintf("p%d-%d", i+1, j+1)}
		l.Kind, l.Name, l.State.Name = clean(l.Kind, mostName), clean(l.Name, mostName), clean(l.State.Name, mostName)
		l.ID = p.layerID(l.Kind)
		l.Refusing = refuses(&l.Report)
		p.Layers = append(p.Layers, l)
	}
	return p
}

// pipelineID returns the name, or something in its place.
func (s *status) pipelineID(i int, name string) string {
	id := clean(name, mostName)
	if id == "" {
		id = fmt.Sprintf("pipeline %d", i+1)
	}
	for n := 2; ; n++ {
		if s.pipeline(id) == nil {
			return id
		}
		id = fmt.Sprintf("%s (%d)", clean(name, mostName), n)
	}
}

// layerID returns the kind in the form that suits a form or a script.
func (p *pipeline) layerID(kind string) string {
	slug := strings.ReplaceAll(strings.ToLower(kind), " ", "-")
	id := slug
	for n := 2; p.layer(id) != nil; n++ {
		id = slug + "-" + strconv.Itoa(n)
	}
	return id
}

func (s *status) pipeline(id string) *pipeline {
	for _, p := range s.Pipelines {
		if p.ID == id {
			return p
		}
	}
	return nil
}

func (p *pipeline) layer(id string) *layer {
	for _, l := range p.Layers {
		if l.ID == id {
			return l
		}
	}
	return nil
}

// refuses reports whether a layer is in a state in which it refuses calls.
func refuses(r *policy.Report) bool {
	if r.Shadow {
		return r.State.Name == "draining"
	}
	switch r.State.Name {
	case "open", "forced open", "half-open", "draining":
		return true
	}
	return false
}

// known is what the page knows of a layer since it looked the last time.
type known struct {
	state  policy.State
	shadow bool
	said   string // the state that was noted last
	event  uint64 // where
}

// changes notes what has changed since the last time. It is called with the lock held.
func (p *Page) changes(s *status) {
	seen := make(map[any]known, len(p.states))
	for _, pipeline := range s.Pipelines {
		for _, l := range pipeline.Layers {
			key := identity(l.layer)
			if _, again := seen[key]; key != nil && !again {
				last, ok := p.states[key]
				seen[key] = p.change(l, last, ok, s.Time)
			}
		}
	}
	p.states = seen
}

// change notes what has changed in a layer. That a breaker is half-open is not worth a line of its own, since what it finds
// out follows soon; and that it opens again and again is one line, which would hide the others otherwise.
func (p *Page) change(l *layer, last known, ok bool, now time.Time) known {
	next := known{state: l.State, shadow: l.Shadow, said: last.said, event: last.event}
	e := event{Kind: "change", Pipeline: l.pipeline.ID, Layer: layerName(l.Kind, l.Name), Time: now}
	if ok && last.shadow != l.Shadow {
		e.Text = "shadow ended: it refuses again"
		if l.Shadow {
			e.Text = "shadow began: it refuses nothing"
		}
		p.history.add(e)
	}
	cause := causeText(l.State.Cause)
	switch {
	case ok && last.state.Name == l.State.Name && last.state.Since.Equal(l.State.Since):
		return next
	case !ok && cause == "": // as it was made
		next.said = l.State.Name
		return next
	case l.State.Name == "half-open":
		return next
	}
	if !l.State.Since.IsZero() {
		e.Time = l.State.Since
	}
	e.Text = l.State.Name
	if last.said != "" && last.said != l.State.Name {
		e.Text = last.said + " to " + e.Text
	}
	if cause != "" {
		e.Text += ": " + cause
	}
	if last.said == l.State.Name && p.history.repeat(last.event, e) {
		return next
	}
	next.said, next.event = l.State.Name, p.history.add(e)
	return next
}

// findRefusing says what refuses calls: the layers whose state says so, and those that have refused just now.
func (s *status) findRefusing() {
	s.Refusing = []refusing{}
	for _, p := range s.Pipelines {
		for _, l := range p.Layers {
			if l.Refusing {
				f := facts{kind: l.Kind, name: l.Name, report: &l.Report, code: "breaker.open"}
				if l.State.Name == "draining" {
					f.code = "bulkhead.draining"
				}
				s.refuse(refusing{Pipeline: p.ID, Layer: l.ID, Why: explain(f, s.Time), layer: l, level: "bad"})
			}
		}
	}
	done := make(map[runKey]bool)
	for _, r := range s.Refusals {
		if s.Time.Sub(r.Last) > recent || quiet(r.Code) || done[r.key] {
			continue
		}
		done[r.key] = true // the latest run counts those before it in
		if s.over(r) {
			continue
		}
		line := refusing{Pipeline: r.Pipeline, Why: r.Why, Since: r.Since, Count: r.before + r.Count, level: "warn"}
		if l := s.layerOf(r); l != nil {
			f := facts{code: r.Code, kind: r.Kind, name: r.Name, report: r.Facts, reason: r.Error, described: describe(l.layer)}
			if still(r.Code, &l.Report) {
				f.report = &l.Report
			}
			line.Pipeline, line.Layer, line.layer = l.pipeline.ID, l.ID, l
			if l.Kind == r.Kind {
				line.Why = explain(f, s.Time)
			}
		}
		s.refuse(line)
	}
	for i := range s.Refusing {
		line := &s.Refusing[i]
		if !line.Since.IsZero() {
			line.Said = fmt.Sprintf("%s since %s, for %s.", plural(line.Count, "refusal", "refusals"),
				clock(line.Since, s.Time), span(s.Time.Sub(line.Since)))
		}
		line.Text = strings.TrimSpace(line.Why.Text() + " " + line.Said)
	}
}

// over reports whether the layer that refused is by now in a state in which it does not, as after a reset.
func (s *status) over(r run) bool {
	l := s.layerOf(r)
	if l == nil || l.Kind != r.Kind || l.Refusing {
		return false
	}
	return l.Shadow || r.Last.Before(l.State.Since)
}

// still reports whether what a layer reports now is why it has refused: the figures of a bulkhead that has free slots again
// would contradict the sentence that they are in.
func still(code string, r *policy.Report) bool {
	number := func(name string) (number, limit float64) {
		v, _ := r.Value(name, "")
		return v.Number, v.Limit
	}
	switch family, _, _ := strings.Cut(code, "."); family {
	case "breaker":
		return true
	case "throttle":
		share, _ := number("probability")
		return share > 0
	case "bulkhead":
		taken, slots := number("in_flight")
		return taken >= slots
	case "retry":
		tokens, _ := number("tokens")
		return tokens < 1
	}
	return false
}

// refuse adds a line, or its count to that of the same layer.
func (s *status) refuse(line refusing) {
	for i := range s.Refusing {
		other := &s.Refusing[i]
		same := line.layer == other.layer && line.layer != nil
		unknown := line.layer == nil && other.layer == nil && line.Pipeline == other.Pipeline && line.Why.Who == other.Why.Who
		if same || unknown {
			other.Count += line.Count
			if other.Since.IsZero() || line.Since.Before(other.Since) {
				other.Since = line.Since
			}
			return
		}
	}
	if line.layer != nil {
		line.layer.Refusing = true
		line.layer.explainForced(&line.Why, s.Time)
	}
	s.Refusing = append(s.Refusing, line)
}

// layerOf returns the layer that refused: the one that told of it, or the one that a retry gave way to.
func (s *status) layerOf(r run) *layer {
	for _, p := range s.Pipelines {
		if p.Name != r.Pipeline {
			continue
		}
		for _, l := range p.Layers {
			told := r.layer != nil && identity(l.layer) == r.layer
			if told && (l.Kind == r.Kind || many(l.layer)) || !told && l.Kind == r.Kind && l.Name == r.Name {
				return l
			}
		}
	}
	return nil
}

// Held is the layers that an operator must know of although they refuse nothing: those that are in a state by hand.
func (s *status) Held() (held []*layer) {
	for _, p := range s.Pipelines {
		for _, l := range p.Layers {
			if !l.Refusing && (len(l.Forced) > 0 || l.State.Name == "forced closed") {
				held = append(held, l)
			}
		}
	}
	return held
}

// quiet reports whether a code is about single calls and no refusal of others.
func quiet(code string) bool {
	switch code {
	case "retry.exhausted", "retry.final", "retry.deadline", "retry.after", "retry.not_done", "deadline", "":
		return true
	}
	return false
}
