package policystatus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-resilience/resilience/policy"
)

const (
	mostRuns  = 256              // refusals that are kept
	runGap    = 5 * time.Second  // without a refusal, after which the next one begins a new run
	runLength = 60 * time.Second // after which a new run begins in any case
	recent    = 10 * time.Second // how long a refusal counts as happening now
)

// run is refusals of the same kind that came one soon after the other. A flood of them is one entry, so that it does not
// hide the others.
type run struct {
	Number   uint64         `json:"number"`
	Code     string         `json:"code"`
	Pipeline string         `json:"pipeline,omitempty"`
	Kind     string         `json:"kind,omitempty"` // of the layer that refused
	Name     string         `json:"name,omitempty"`
	Since    time.Time      `json:"since"` // when the first of several runs began that came without a pause
	First    time.Time      `json:"first"`
	Last     time.Time      `json:"last"`
	Count    uint64         `json:"count"`
	Error    string         `json:"error"`           // the first one
	Why      explanation    `json:"explanation"`     // as of the first one
	Facts    *policy.Report `json:"facts,omitempty"` // what the layer reported right after the first one

	key    runKey
	layer  any    // the first one that told
	second bool   // it was told by a retry that gave way to the policy
	before uint64 // refusals since Since, in earlier runs
}

// runKey is what makes refusals be of the same kind.
type runKey struct{ pipeline, code, kind, name string }

// clone returns a key that does not keep long texts alive of which it holds the beginning.
func (k runKey) clone() runKey {
	return runKey{strings.Clone(k.pipeline), strings.Clone(k.code), strings.Clone(k.kind), strings.Clone(k.name)}
}

// ObservedKinds returns the kinds of event that a page needs: refusals, and calls that a retry gave up. A call with
// neither costs next to nothing.
func (p *Page) ObservedKinds() []policy.EventKind {
	return []policy.EventKind{policy.EventRejected, policy.EventStopped}
}

// Observe records a refusal. Pass the page to resilience.Observe when you compose a pipeline. Refusals of one kind in
// quick succession are counted together. Only the first of them asks the layer for its Report, on the goroutine of the
// call. Each of the others costs its call one lock, held for a few hundred nanoseconds.
func (p *Page) Observe(_ context.Context, e policy.Event) {
	err := e.Outcome.Err
	switch e.Kind {
	case policy.EventRejected:
	case policy.EventStopped:
		err = e.Reason
	default:
		return
	}
	key := keyOf(e.Pipeline, err)
	switch {
	case err == nil, key.code == "canceled", key.code == "hedge.lost":
		return // the caller has left, or has its answer: nobody was refused
	case e.Kind == policy.EventStopped && e.Outcome.Kind == policy.NotCalled:
		return // the refusal that stopped the retry was an event of its own
	}
	now := time.Now()
	if p.again(key, e, now) {
		return
	}
	r := &run{Since: now, First: now, Last: now, Count: 1, Error: errorText(err), key: key.clone()}
	r.learn(e, err)

	p.mu.Lock()
	defer p.mu.Unlock()
	if old := p.runs.by[r.key]; old != nil && now.Sub(old.Last) <= runGap {
		r.Since, r.before = old.Since, old.before+old.Count
	}
	p.runs.add(r)
	p.history.add(event{Time: now, Kind: "refusal", Pipeline: r.Pipeline, Layer: layerName(r.Kind, r.Name), run: r})
}

// keyOf returns the key of a refusal. The methods of an error may panic; then it has no code.
func keyOf(pipeline string, err error) (key runKey) {
	key.pipeline = cut(pipeline)
	defer func() { _ = recover() }()
	if rejection, ok := errors.AsType[*policy.Rejection](err); ok {
		key.kind, key.name = cut(rejection.Kind), cut(rejection.Name)
	}
	key.code = cut(policy.Code(err))
	return key
}

// again counts a refusal that belongs to a run, and reports whether there is one. A run that began with a retry that gave
// way to a policy begins anew with the first refusal by the policy itself, which tells more.
func (p *Page) again(key runKey, e policy.Event, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.runs.by[key]
	if r == nil || now.Sub(r.Last) > runGap || now.Sub(r.First) > runLength {
		return false
	}
	if r.second && e.Kind == policy.EventRejected {
		return false
	}
	r.Last = now
	r.Count++
	return true
}

// learn fills in the facts of this moment.
func (r *run) learn(e policy.Event, err error) {
	f := factsOf(err)
	f.described = describe(e.Layer)
	report, ok := reportOf(e.Layer)
	switch rejected := r.key.kind != ""; {
	case ok && !rejected: // the layer's own: a retry that gave up, a wait that took too long
		f.kind, f.name, f.report = clean(report.Kind, mostName), clean(report.Name, mostName), &report
	case ok && report.Kind == f.kind:
		f.report = &report
	case e.Kind == policy.EventStopped && rejected:
		f.described, r.second = "", true
	}
	r.Code, r.Pipeline, r.Kind, r.Name = f.code, clean(e.Pipeline, mostName), f.kind, f.name
	r.Why, r.Facts, r.layer = explain(f, r.First), f.report, identity(e.Layer)
}

// describe returns what a layer says of itself, such as: rate limit 100/s burst 10.
func describe(layer any) (text string) {
	defer func() { _ = recover() }()
	if s, ok := layer.(fmt.Stringer); ok {
		text = clean(s.String(), mostName)
	}
	return text
}

// reportOf returns the report of a layer, and false when it makes none.
func reportOf(layer any) (r policy.Report, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	// A registry of many keys asks all of them. It is recognised by what only a registry can do.
	if reporter, is := layer.(policy.Reporter); is && !many(layer) {
		return reporter.Report(), true
	}
	return r, false
}

// many reports whether a layer stands for many, whose report costs more than that of one.
func many(layer any) bool {
	_, ok := reflect.TypeOf(layer).MethodByName("ReportOf")
	return ok
}

// identity returns a layer as a key, nil if it cannot be one.
func identity(layer any) any {
	if layer == nil || !reflect.TypeOf(layer).Comparable() || !reflect.ValueOf(layer).Comparable() {
		return nil
	}
	return layer
}

// runs is the last runs, at most mostRuns.
type runs struct {
	ring   []*run // the oldest at next, once it is full
	next   int
	number uint64
	by     map[runKey]*run // the latest of each key
}

func (r *runs) add(added *run) {
	r.number++
	added.Number = r.number
	if r.by == nil {
		r.by = make(map[runKey]*run)
	}
	if len(r.ring) < mostRuns {
		r.ring = append(r.ring, added)
	} else {
		old := r.ring[r.next]
		if r.by[old.key] == old {
			delete(r.by, old.key)
		}
		r.ring[r.next] = added
		r.next = (r.next + 1) % mostRuns
	}
	r.by[added.key] = added
}

// list returns copies, the newest first.
func (r *runs) list() []run {
	list := make([]run, 0, len(r.ring))
	for i := range r.ring {
		list = append(list, *r.ring[(r.next+len(r.ring)-1-i)%len(r.ring)])
	}
	slices.SortStableFunc(list, func(a, b run) int { return b.Last.Compare(a.Last) })
	return list
}

const mostEvents = 100

// event is something that the page has seen.
type event struct {
	Number   uint64    `json:"number"`
	Time     time.Time `json:"time"`
	Kind     string    `json:"kind"` // "refusal", "change", "control" or "note"
	Pipeline string    `json:"pipeline,omitempty"`
	Layer    string    `json:"layer,omitempty"`
	Text     string    `json:"text"`
	Count    uint64    `json:"count,omitempty"` // how many refusals, or how often the same change came again

	run *run
}

// history is the last events.
type history struct {
	ring   []event
	number uint64
}

// add keeps an event, and returns its number.
func (h *history) add(e event) uint64 {
	h.number++
	e.Number = h.number
	if len(h.ring) < mostEvents {
		h.ring = append(h.ring, e)
	} else {
		h.ring[(h.number-1)%mostEvents] = e
	}
	return h.number
}

// repeat replaces an event by one that is the same again, and counts. It reports false when the event is no longer kept.
func (h *history) repeat(number uint64, e event) bool {
	if number == 0 || number+mostEvents <= h.number {
		return false
	}
	old := &h.ring[(number-1)%mostEvents]
	e.Number, e.Count = number, max(1, old.Count)+1
	*old = e
	return true
}

// list returns the events, the newest first.
func (h *history) list() []event {
	list := slices.Clone(h.ring)
	for i := range list {
		if r := list[i].run; r != nil {
			list[i].Text, list[i].Count = r.Why.What+": "+r.Why.Why, r.Count
		}
	}
	slices.SortStableFunc(list, func(a, b event) int {
		if c := b.Time.Compare(a.Time); c != 0 {
			return c
		}
		return int(b.Number) - int(a.Number)
	})
	return list
}

// codes returns the runs by code, the code with the latest refusal first.
func codes(list []run) []codeRuns {
	by := make(map[string]*codeRuns)
	for _, r := range list {
		c := by[r.Code]
		if c == nil {
			c = &codeRuns{Code: r.Code, Last: r.Last}
			by[r.Code] = c
		}
		c.Count += r.Count
		if len(c.Runs) < 10 {
			c.Runs = append(c.Runs, r)
		}
	}
	sorted := slices.Collect(maps.Values(by))
	slices.SortFunc(sorted, func(a, b *codeRuns) int { return b.Last.Compare(a.Last) })
	out := make([]codeRuns, len(sorted))
	for i, c := range sorted {
		out[i] = *c
	}
	return out
}

// codeRuns is the last refusals of one code.
type codeRuns struct {
	Code  string    `json:"code"`
	Count uint64    `json:"count"` // of those that are kept
	Last  time.Time `json:"last"`
	Runs  []run     `json:"-"`
}
