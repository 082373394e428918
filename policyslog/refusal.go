package policyslog

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/internal/oneline"
	"github.com/go-resilience/resilience/policy"
)

// maxPolicies bounds the policies whose refusals are counted apart at the same time. Those beyond are counted together.
const maxPolicies = 1000

// refusals counts the refusals that have no line of their own, by policy. No lock is held while a line is written.
type refusals struct {
	log   *Log
	every time.Duration

	mu       sync.Mutex
	policies map[refuser]*refused   // those with a line in the last interval
	writing  map[chan struct{}]bool // a channel for each line that is being written by due, closed when it is
}

// refuser is a policy that refuses.
type refuser struct{ pipeline, kind, name string }

// others stands for all policies beyond maxPolicies.
var others = refuser{kind: "others"}

// refused is what a policy has refused since its last line.
type refused struct {
	refuser
	tally
	timer *time.Timer // from each line to the next
}

// tally is a count of refusals.
type tally struct {
	count   int64
	layer   policy.Layer // of the last refusal
	outcome policy.Outcome
	hint    hint
}

// hint is when to come back, as a refusal said it at the time. The zero hint is that of a refusal that is being written.
type hint struct {
	wait         time.Duration
	known, taken bool
}

func hintOf(err error) hint {
	wait, known := policy.RetryAfter(err)
	return hint{wait, known, true}
}

// err returns the error with the wait that it had, which it says as of now.
func (t *tally) err() error {
	rejection, ok := t.outcome.Err.(*policy.Rejection) //nolint:errorlint // what is around it has a text of its own
	if !t.hint.taken || !ok || rejection == nil || rejection.Until.IsZero() {
		return t.outcome.Err
	}
	then := *rejection
	then.Until = time.Now().Add(t.hint.wait)
	return &then
}

// note writes the line of the first refusal of a policy, and counts those that follow.
func (r *refusals) note(ctx context.Context, event policy.Event) {
	policy, first := r.count(event)
	if !first {
		return
	}
	attrs := append(refusalAttrs(policy, tally{count: 1, outcome: event.Outcome}), stateAttrs(event.Layer)...)
	r.log.write(ctx, r.log.levels[event.Kind], messages[event.Kind], append(attrs, slog.Int(attrAttempt, event.Attempt)))
}

// count counts a refusal, unless it is the first of its policy.
func (r *refusals) count(event policy.Event) (id refuser, first bool) {
	id = refuserOf(event)
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.policies[id]
	if found == nil && len(r.policies) >= maxPolicies {
		id = others
		found = r.policies[id]
	}
	if found == nil {
		found = &refused{refuser: id}
		found.timer = time.AfterFunc(r.every, func() { r.due(found) })
		r.policies[id] = found
		return id, true
	}
	found.tally = tally{found.count + 1, event.Layer, event.Outcome, hintOf(event.Outcome.Err)} // text is made when it is written
	return id, false
}

// due ends an interval: it writes the line of what was counted. A policy that has refused nothing more is forgotten.
func (r *refusals) due(found *refused) {
	r.mu.Lock()
	counted := found.take()
	if counted.count == 0 {
		delete(r.policies, found.refuser)
		r.mu.Unlock()
		return
	}
	written := make(chan struct{})
	r.writing[written] = true
	r.mu.Unlock()
	defer func() { // also if the handler calls runtime.Goexit
		r.mu.Lock()
		delete(r.writing, written)
		r.mu.Unlock()
		close(written)
		found.timer.Reset(r.every)
	}()
	r.write(found.refuser, counted)
}

// flush writes the lines of what was counted, and waits for those that are being written. The intervals go on.
func (r *refusals) flush() {
	r.mu.Lock()
	writing := slices.Collect(maps.Keys(r.writing))
	counted := make(map[refuser]tally, len(r.policies))
	for id, found := range r.policies {
		if found.count > 0 {
			counted[id] = found.take()
		}
	}
	r.mu.Unlock()
	for id, counted := range counted {
		r.write(id, counted)
	}
	for _, written := range writing {
		<-written
	}
}

func (f *refused) take() tally {
	counted := f.tally
	f.tally = tally{}
	return counted
}

func (r *refusals) write(id refuser, counted tally) {
	attrs := append(refusalAttrs(id, counted), stateAttrs(counted.layer)...)
	r.log.write(context.Background(), r.log.levels[policy.EventRejected], messages[policy.EventRejected], attrs)
}

// refuserOf returns the policy that has refused: as the rejection names it, otherwise by where it stands.
func refuserOf(event policy.Event) refuser {
	if rejection := rejectionOf(event.Outcome.Err); rejection != nil {
		return refuser{event.Pipeline, rejection.Kind, rejection.Name}
	}
	return refuser{pipeline: event.Pipeline, kind: kindOf(event.Layer)}
}

func rejectionOf(err error) *policy.Rejection {
	if rejection, ok := err.(*policy.Rejection); ok { // nearly always, and cheap
		return rejection
	}
	rejection, _ := match.As[*policy.Rejection](err)
	return rejection
}

func refusalAttrs(id refuser, counted tally) []slog.Attr {
	a := make(attrs, 0, 16)
	a = append(a, slog.String(attrEvent, policy.EventRejected.String()))
	a.text(attrPipeline, id.pipeline)
	a = append(a, slog.String(attrKind, id.kind))
	a.text(attrName, id.name)
	a = append(a, slog.Int64(attrCount, counted.count), slog.Int64(attrSuppressed, counted.count-1))
	a.text(attrCode, policy.Code(counted.outcome.Err))
	a.text(attrError, oneline.Of(counted.err()))
	hint := counted.hint
	if !hint.taken {
		hint = hintOf(counted.outcome.Err)
	}
	if hint.known {
		a = append(a, slog.Duration(attrRetryAfter, hint.wait))
	}
	return a
}

// stateAttrs returns what the layer says of its state.
func stateAttrs(layer policy.Layer) (a attrs) {
	defer func() { _ = recover() }() // of a third party's report
	reporter, ok := layer.(policy.Reporter)
	if !ok {
		return nil
	}
	report := reporter.Report()
	a.text(attrState, report.State.Name)
	a.moment(attrSince, report.State.Since)
	a.moment(attrUntil, report.State.Until)
	a.cause(report.State.Cause)
	return a
}

func (a *attrs) moment(key string, t time.Time) {
	if !t.IsZero() {
		*a = append(*a, slog.Time(key, t))
	}
}

func (a *attrs) cause(c policy.Cause) {
	if c.Rule == "" {
		return
	}
	group := attrs{slog.String("text", c.String()), slog.String("rule", c.Rule)}
	if c.What != "" {
		group = append(group, slog.String("what", c.What), slog.Int64("bad", c.Bad), slog.Int64("calls", c.Calls),
			slog.Float64("limit", c.Limit), slog.Int64("minimum", c.Minimum))
	}
	*a = append(*a, slog.Attr{Key: attrCause, Value: slog.GroupValue(group...)})
}
