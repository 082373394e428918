package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
)

// lot is what happens at the next place where something can happen, drawn beforehand.
type lot uint8

const (
	fine lot = iota
	fails1
	panics
	exits
)

// fate decides what happens in a random pipeline, and writes down who was admitted and settled.
type fate struct {
	lots     []lot
	open     []string // the admissions that are not settled, outermost first
	problems []string
	number   int
	contexts []context.Context // derived by guards and wrappers
}

// meet returns whether something fails, unless it panics or exits.
func (f *fate) meet() bool {
	next := fine
	if len(f.lots) > 0 {
		next, f.lots = f.lots[0], f.lots[1:]
	}
	switch next {
	case panics:
		panic("fate")
	case exits:
		runtime.Goexit()
	}
	return next == fails1
}

func (f *fate) problem(format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

// fated is a guard with a fate. Its context is its own.
type fated struct {
	fate  *fate
	name  string
	stage policy.Stage
}

type fatedKey struct{}

func (g *fated) Stage() policy.Stage { return g.stage }

func (g *fated) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if g.fate.meet() {
		return ctx, policy.Ticket{}, errRefused
	}
	g.fate.number++
	id := fmt.Sprint(g.name, "#", g.fate.number)
	g.fate.open = append(g.fate.open, id)
	ctx, cancel := context.WithCancel(context.WithValue(ctx, fatedKey{}, id))
	g.fate.contexts = append(g.fate.contexts, ctx)
	return ctx, policy.Ticket{Number: int64(g.fate.number), Cancel: cancel}, nil
}

func (g *fated) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	id := fmt.Sprint(g.name, "#", ticket.Number)
	if ctx.Value(fatedKey{}) != id {
		g.fate.problem("%s is settled with the context of %v", id, ctx.Value(fatedKey{}))
	}
	if last := len(g.fate.open) - 1; last < 0 || g.fate.open[last] != id {
		g.fate.problem("%s is settled, open are %v", id, g.fate.open)
	} else {
		g.fate.open = g.fate.open[:last]
	}
	if ticket.Cancel != nil {
		ticket.Cancel()
	}
	g.fate.meet()
}

// fatedMeter counts when the operation returns; fatedLimit has a bound that is lifted then.
type (
	fatedMeter struct{ fated }
	fatedLimit struct{ fated }
	fatedGate  struct{ fated }
)

func (g *fatedMeter) Returned(_ context.Context, ticket policy.Ticket) policy.Ticket {
	g.fate.meet()
	return ticket
}

func (g *fatedLimit) AdmitOpen(ctx context.Context) (context.Context, policy.Ticket, func(), error) {
	ctx, ticket, err := g.Admit(ctx)
	return ctx, ticket, func() { g.fate.meet() }, err
}

func (g *fatedGate) Ready(context.Context) error {
	if g.fate.meet() {
		return &policy.Rejection{Reason: errRefused}
	}
	return nil
}

// fatedRepeater makes up to three attempts.
type fatedRepeater struct {
	fate  *fate
	stage policy.Stage
	value any // the last that was given up
}

func (r *fatedRepeater) Stage() policy.Stage { return r.stage }
func (r *fatedRepeater) Next(ctx context.Context, ended policy.Attempt) policy.Decision {
	if r.fate.meet() || ctx.Err() != nil || ended.Blocked != nil || ended.Number == 3 {
		return policy.Decision{Reason: errExhausted}
	}
	return policy.Decision{Again: true}
}

func (r *fatedRepeater) Discard(value any) {
	if value == r.value {
		r.fate.problem("%v is given up twice", value)
	}
	r.value = value
	r.fate.meet()
}

// fatedWrapper makes up to two calls, one after the other; fatedOpener can keep a result open.
type (
	fatedWrapper struct {
		fate  *fate
		stage policy.Stage
	}
	fatedOpener struct{ fatedWrapper }
)

func (w *fatedWrapper) Stage() policy.Stage { return w.stage }
func (w *fatedWrapper) Discard(any)         { w.fate.meet() }

func (w *fatedWrapper) Run(ctx context.Context, call func(context.Context) error) error {
	return w.run(func() error { return call(ctx) })
}

func (w *fatedOpener) Open(ctx context.Context, call func(context.Context, context.CancelFunc) error) error {
	return w.run(func() error {
		ctx, cancel := context.WithCancel(ctx)
		w.fate.contexts = append(w.fate.contexts, ctx)
		return call(ctx, cancel)
	})
}

func (w *fatedWrapper) run(call func() error) error {
	if w.fate.meet() {
		return errRefused
	}
	err := call()
	if w.fate.meet() || err != nil {
		if second := call(); err != nil { // also after a success, which stands
			err = second
		}
	}
	w.fate.meet()
	return err
}

// newFate draws what will happen: mostly nothing.
func newFate(t *rapid.T) *fate {
	lots := rapid.SampledFrom([]lot{fine, fine, fine, fine, fine, fine, fine, fine, fails1, fails1, panics, exits})
	return &fate{lots: rapid.SliceOfN(lots, 60, 60).Draw(t, "lots")}
}

// newLayers draws the layers of a pipeline.
func newLayers(t *rapid.T, f *fate) []policy.Layer {
	var layers []policy.Layer
	for i := range rapid.SampledFrom([]int{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}).Draw(t, "layers") {
		stage := policy.Stage(10 * (i + 1)) // each at its own
		guard := fated{f, fmt.Sprint("g", i), stage}
		switch rapid.SampledFrom([]string{"guard", "guard", "guard", "meter", "limit", "gate", "repeater", "wrapper", "opener"}).Draw(t, "kind") {
		case "guard":
			layers = append(layers, &guard)
		case "meter":
			layers = append(layers, &fatedMeter{guard})
		case "limit":
			layers = append(layers, &fatedLimit{guard})
		case "gate":
			layers = append(layers, &fatedGate{guard})
		case "repeater":
			layers = append(layers, &fatedRepeater{fate: f, stage: stage})
		case "wrapper":
			layers = append(layers, &fatedWrapper{f, stage})
		case "opener":
			layers = append(layers, &fatedOpener{fatedWrapper{f, stage}})
		}
	}
	if rapid.Bool().Draw(t, "observed") {
		observer := policy.ObserverFunc(func(context.Context, policy.Event) { f.meet() })
		kinds := rapid.SampledFrom([][]policy.EventKind{
			{policy.EventAttempt, policy.EventCall, policy.EventRejected, policy.EventRetry, policy.EventStopped, policy.EventSettled},
			{policy.EventCall}, {policy.EventRetry, policy.EventRejected}, {policy.EventSettled},
		}).Draw(t, "kinds")
		layers = append(layers, resilience.Observe(policy.ObserveOnly(observer, kinds...)))
	}
	return layers
}

// Whatever fails, panics or exits, and wherever: every guard that admitted is settled exactly once, with its own context
// and ticket, in the reverse order of admission, and every context ends.
func TestEveryAdmissionIsSettledOnceInReverseOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFate(t)
		pipeline := resilience.Compose(newLayers(t, f)...)
		how := rapid.SampledFrom([]string{"Do", "Open", "Open", "Acquire"}).Draw(t, "how")
		live := rapid.Bool().Draw(t, "live")
		entered, value, failed := 0, 0, error(nil)
		op := func(ctx context.Context) (int, error) {
			if ctx.Err() != nil {
				f.problem("entered under a context that has ended")
			}
			entered++
			if f.meet() {
				if live {
					return entered, answered{errBackend}
				}
				return entered, errBackend
			}
			return entered, nil
		}
		var permit *policy.Permit
		returned := false
		caught(func() {
			switch how {
			case "Do":
				value, failed = resilience.Do(context.Background(), pipeline, op)
			case "Open":
				value, permit, failed = resilience.Open(context.Background(), pipeline, op)
			case "Acquire":
				permit, failed = pipeline.Acquire(context.Background())
			}
			returned = true
		})
		if returned && failed == nil && how != "Do" && permit == nil {
			t.Fatalf("no permit")
		}
		if returned && failed == nil && how != "Acquire" && value == 0 {
			t.Fatalf("success without a value")
		}
		if permit != nil {
			if failed != nil && len(f.open) > 0 {
				t.Fatalf("the permit of an answer that is a failure holds %v", f.open)
			}
			if permit.Context().Err() != nil && failed == nil {
				t.Fatalf("the context of the result has ended")
			}
			err := rapid.SampledFrom([]error{nil, errBackend}).Draw(t, "settled with")
			caught(func() { permit.Done(err) })
			if permit.Done(nil) {
				t.Fatalf("settled twice")
			}
		}
		if len(f.open) > 0 {
			t.Fatalf("not settled: %v", f.open)
		}
		if len(f.problems) > 0 {
			t.Fatalf("%v", f.problems)
		}
		for i, ctx := range f.contexts {
			if ctx.Err() == nil {
				t.Fatalf("context %d lives on", i)
			}
		}
	})
}

// queue is a guard that makes an attempt wait, and may refuse it then.
type queue struct {
	stage  policy.Stage
	waits  []time.Duration
	number int
}

func (q *queue) Stage() policy.Stage { return q.stage }
func (q *queue) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	wait := q.waits[q.number%len(q.waits)]
	q.number++
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx, policy.Ticket{}, policy.ContextError(ctx)
	}
	if wait%3 == 1 {
		return ctx, policy.Ticket{}, &policy.Rejection{Reason: errRefused}
	}
	return ctx, policy.Ticket{}, nil
}
func (q *queue) Settle(context.Context, policy.Ticket, policy.Outcome) {}

// Without a wrapper: the time that the attempts were queued, the time of the operation and the waits of repeaters are the
// time of the call.
func TestTheTimesOfACallAddUp(t *testing.T) {
	durations := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 2000), func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }), 1, 5)
	rapid.Check(t, func(rt *rapid.T) {
		recorder := &policytest.Recorder{}
		layers := []policy.Layer{resilience.Observe(recorder)}
		for i := range rapid.IntRange(0, 6).Draw(rt, "layers") {
			stage := policy.Stage(10 * (i + 1))
			switch rapid.SampledFrom([]string{"queue", "queue", "again", "limit", "notifying"}).Draw(rt, "kind") {
			case "queue":
				layers = append(layers, &queue{stage: stage, waits: durations.Draw(rt, "queued")})
			case "again":
				layers = append(layers, &again{stage: stage, max: rapid.IntRange(1, 3).Draw(rt, "max"), wait: durations.Draw(rt, "wait")[0]})
			case "limit":
				layers = append(layers, &limit{probe: probe{stage: stage}, after: 1 + durations.Draw(rt, "limit")[0]})
			case "notifying":
				layers = append(layers, &notifying{gate: gate{probe: probe{stage: stage}}})
			}
		}
		works := durations.Draw(rt, "work")
		until := durations.Draw(rt, "until")[0]
		cancels := rapid.Bool().Draw(rt, "cancels")
		end := rapid.SampledFrom([]string{"", "", "panic", "goexit"}).Draw(rt, "end")
		open := rapid.Bool().Draw(rt, "open")
		pipeline := resilience.Compose(layers...)
		var problem error
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if cancels {
				time.AfterFunc(until, cancel)
			}
			entered, start := 0, time.Now()
			op := func(ctx context.Context) (int, error) {
				work := works[entered%len(works)]
				entered++
				time.Sleep(work)
				if entered == 2 && end == "panic" {
					panic("boom")
				} else if entered == 2 && end == "goexit" {
					runtime.Goexit()
				}
				if work%2 == 0 {
					return 0, errors.Join(errBackend, ctx.Err())
				}
				return 1, nil
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { _ = recover() }()
				if open {
					_, permit, _ := resilience.Open(ctx, pipeline, op)
					permit.Done(nil)
				} else {
					_, _ = resilience.Do(ctx, pipeline, op)
				}
			}()
			<-done
			problem = addUp(recorder.Events(), entered, time.Since(start))
		})
		if problem != nil {
			rt.Fatal(problem)
		}
	})
}

// addUp returns an error unless the events of one call are complete and consistent.
func addUp(events []policy.Event, entered int, took time.Duration) error {
	var calls []policy.Event
	var worked, queued, waited time.Duration
	attempts := 0
	for _, event := range events {
		switch event.Kind {
		case policy.EventAttempt:
			attempts++
			worked += event.Elapsed
			queued += event.Queued
		case policy.EventRejected:
			queued += event.Queued
		case policy.EventRetry, policy.EventWait:
			waited += event.Wait
		case policy.EventCall:
			calls = append(calls, event)
		}
	}
	switch {
	case len(calls) != 1:
		return fmt.Errorf("%d calls", len(calls))
	case attempts != entered:
		return fmt.Errorf("%d attempts, the operation was entered %d times", attempts, entered)
	case calls[0].Elapsed != took:
		return fmt.Errorf("elapsed %v, took %v", calls[0].Elapsed, took)
	case calls[0].Queued+worked+calls[0].Wait != took:
		return fmt.Errorf("queued %v + worked %v + waited %v is not %v", calls[0].Queued, worked, calls[0].Wait, took)
	case queued > calls[0].Queued:
		return fmt.Errorf("attempts were queued for %v, the call for %v", queued, calls[0].Queued)
	case calls[0].Wait > waited:
		return fmt.Errorf("waited %v, announced %v", calls[0].Wait, waited)
	}
	return nil
}
