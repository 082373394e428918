package resilience_test

import (
	"context"
	"errors"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
)

// TestFault176_EventLedger: one EventCall per call, one EventAttempt per operation entered.
func TestFault176_EventLedger(t *testing.T) {
	recorder := &policytest.Recorder{}
	refuser := &probe{name: "refuser"}
	p := resilience.Compose(resilience.Observe(recorder), &again{max: 3}, refuser)

	call, _ := policytest.Script(1, errBackend)
	_, err := resilience.Do(t.Context(), p, call)
	require.NoError(t, err)
	require.Equal(t, []policy.EventKind{policy.EventAttempt, policy.EventRetry, policy.EventAttempt, policy.EventCall}, recorder.Kinds())
	events := recorder.Events()
	require.Equal(t, []int{1, 1, 2, 0}, []int{events[0].Attempt, events[1].Attempt, events[2].Attempt, events[3].Attempt})
	require.True(t, events[3].Outcome.Succeeded())

	recorder.Reset()
	_, err = resilience.Do(t.Context(), p, answer(0, errBackend))
	require.ErrorIs(t, err, errBackend)
	require.Equal(t, 3, recorder.Count(policy.EventAttempt))
	require.Equal(t, 2, recorder.Count(policy.EventRetry))
	require.Equal(t, 1, recorder.Count(policy.EventStopped))
	require.Equal(t, 1, recorder.Count(policy.EventCall))

	recorder.Reset()
	caught(func() { _, _ = resilience.Do(t.Context(), p, func(context.Context) (int, error) { panic("boom") }) })
	caught(func() {
		_, _ = resilience.Do(t.Context(), p, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
	})
	var kinds []policy.Kind
	for _, event := range recorder.Events() {
		kinds = append(kinds, event.Outcome.Kind)
	}
	require.Equal(t, []policy.Kind{policy.Panicked, policy.Panicked, policy.Exited, policy.Exited}, kinds)

	recorder.Reset()
	refuser.refuse = errRefused
	_, err = resilience.Do(t.Context(), p, answer(1, nil))
	require.ErrorIs(t, err, errRefused)
	require.Equal(t, 0, recorder.Count(policy.EventAttempt))
	require.Equal(t, 3, recorder.Count(policy.EventRejected))
	require.Equal(t, policy.Layer(refuser), recorder.Events()[0].Layer)
	last := recorder.Events()[len(recorder.Events())-1]
	require.Equal(t, policy.Outcome{Kind: policy.NotCalled, Class: policy.Ignored, Err: errRefused}, last.Outcome)
}

func TestAttemptsAreNumberedFrom1WithoutARepeater(t *testing.T) {
	var recorder policytest.Recorder
	_, err := resilience.Do(t.Context(), resilience.Compose(&probe{}, resilience.Observe(&recorder)), answer(1, nil))
	require.NoError(t, err)
	attempt := recorder.Events()[0]
	require.Equal(t, policy.EventAttempt, attempt.Kind)
	require.Equal(t, 1, attempt.Attempt)
	require.Equal(t, policy.Outcome{Kind: policy.Returned}, attempt.Outcome)
}

func TestEventsCarryTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := &policytest.Recorder{}
		p := resilience.Compose(resilience.Observe(recorder), &again{max: 2, wait: time.Minute})
		_, err := resilience.Do(t.Context(), p, func(context.Context) (int, error) {
			time.Sleep(time.Second)
			return 0, errBackend
		})
		require.ErrorIs(t, err, errBackend)
		events := recorder.Events()
		require.Equal(t, time.Second, events[0].Elapsed)
		require.Equal(t, time.Minute, events[1].Wait)
		require.Equal(t, time.Minute+2*time.Second, events[len(events)-1].Elapsed)
	})
}

func TestEventsOfARepeaterThatWaitsForAGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var recorder policytest.Recorder
		n := &notifying{}
		n.set(&policy.Rejection{Reason: errRefused, Until: time.Now().Add(time.Minute)})
		p := resilience.Compose(&patient{}, n, resilience.Observe(&recorder))
		_, err := resilience.Do(t.Context(), p, answer(0, errBackend))
		require.ErrorIs(t, err, errRefused)
		require.Equal(t, []policy.EventKind{
			policy.EventAttempt, policy.EventRetry, policy.EventWait, policy.EventWait, policy.EventWait, policy.EventWait, policy.EventStopped, policy.EventCall,
		}, recorder.Kinds())
		stopped := recorder.Events()[6]
		require.Equal(t, err, stopped.Outcome.Err, "the error that the call gets")
		require.Equal(t, policy.Returned, stopped.Outcome.Kind)
	})
	var recorder policytest.Recorder
	s := &insistent{again: again{wait: -time.Second}}
	call, _ := policytest.Script(1, errBackend)
	_, err := resilience.Do(t.Context(), resilience.Compose(s, resilience.Observe(&recorder)), call)
	require.NoError(t, err)
	require.Equal(t, policy.EventRetry, recorder.Events()[1].Kind)
	require.Zero(t, recorder.Events()[1].Wait)

	recorder.Reset()
	_, err = resilience.Do(t.Context(), resilience.Compose(&again{max: 1}, resilience.Observe(&recorder)), answer(0, errBackend))
	require.Equal(t, errBackend, err)
	require.Equal(t, errBackend, recorder.Events()[1].Outcome.Err, "without an error of its own, the attempt's")
}

func TestACallThatIsRefusedAtOnceWasNotStopped(t *testing.T) {
	var recorder policytest.Recorder
	refuser := &probe{refuse: errRefused}
	for max, want := range map[int][]policy.EventKind{
		1: {policy.EventRejected, policy.EventCall},
		2: {policy.EventRejected, policy.EventRetry, policy.EventRejected, policy.EventStopped, policy.EventCall},
	} {
		recorder.Reset()
		_, err := resilience.Do(t.Context(), resilience.Compose(&again{max: max}, refuser, resilience.Observe(&recorder)), answer(0, nil))
		require.ErrorIs(t, err, errRefused)
		require.Equal(t, want, recorder.Kinds())
	}
	synctest.Test(t, func(t *testing.T) {
		recorder.Reset()
		n := &notifying{}
		n.refuse = errRefused
		n.set(&policy.Rejection{Reason: errRefused, Until: time.Now().Add(time.Minute)})
		_, err := resilience.Do(t.Context(), resilience.Compose(&patient{}, n, resilience.Observe(&recorder)), answer(0, nil))
		require.ErrorIs(t, err, errRefused)
		require.Equal(t, 1, recorder.Count(policy.EventStopped), "it has waited before it gave up")
	})
}

func TestFault230_RefusalsAreNoAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var recorder policytest.Recorder
		db := opensAt(1, 5*time.Second)
		again := steady(3, time.Second)
		backend := resilience.Compose(again, db, resilience.Observe(&recorder))
		op := func(context.Context) error { time.Sleep(40 * time.Millisecond); return errBackend }
		require.ErrorIs(t, backend.Run(t.Context(), op), breaker.ErrOpen)
		require.ErrorIs(t, backend.Run(t.Context(), op), breaker.ErrOpen)

		attempts, refusals, calls := 0, 0, 0
		for _, event := range recorder.Events() {
			switch event.Kind {
			case policy.EventAttempt:
				attempts++
				require.Equal(t, 40*time.Millisecond, event.Elapsed)
				require.Equal(t, policy.Returned, event.Outcome.Kind)
			case policy.EventRejected:
				refusals++
				require.Zero(t, event.Elapsed)
				require.Equal(t, policy.NotCalled, event.Outcome.Kind)
			case policy.EventCall:
				calls++
			}
		}
		require.Equal(t, []int{1, 1, 2}, []int{attempts, refusals, calls})
	})
}

func TestFault231_ObserversNeverFailACall(t *testing.T) {
	recorder := &policytest.Recorder{}
	broken := policy.ObserverFunc(func(context.Context, policy.Event) { panic("observer") })
	p := resilience.Compose(resilience.Observe(broken, recorder), &again{max: 2})
	value, err := resilience.Do(t.Context(), p, answer(3, nil))
	require.NoError(t, err)
	require.Equal(t, 3, value)
	require.Equal(t, []policy.EventKind{policy.EventAttempt, policy.EventCall}, recorder.Kinds())
	recovered, _ := caught(func() { _, _ = resilience.Do(t.Context(), p, func(context.Context) (int, error) { panic("boom") }) })
	require.Equal(t, "boom", recovered)
}

func TestObserversOfNestedPipelinesAreKept(t *testing.T) {
	var recorder policytest.Recorder
	nested := resilience.Compose(&probe{}, resilience.Observe(&recorder))
	_, err := resilience.Do(t.Context(), resilience.Compose(&again{max: 1}, nested), answer(1, nil))
	require.NoError(t, err)
	require.Equal(t, 1, recorder.Count(policy.EventCall))
}

// FAULT 260: an event says why, and an error that was never going to be retried is not a retry that stopped.
func TestFault260_AStopHasItsReason(t *testing.T) {
	errOther := errors.New("another reason")
	for name, c := range map[string]struct {
		decision policy.Decision
		want     []policy.EventKind
		reason   error
		err      error
	}{
		"never in question":   {policy.Decision{}, []policy.EventKind{policy.EventAttempt, policy.EventCall}, nil, errBackend},
		"gave up":             {policy.Decision{Reason: errOther}, []policy.EventKind{policy.EventAttempt, policy.EventStopped, policy.EventCall}, errOther, errBackend},
		"with an error":       {policy.Decision{Err: errRefused}, []policy.EventKind{policy.EventAttempt, policy.EventStopped, policy.EventCall}, errRefused, errRefused},
		"with both":           {policy.Decision{Err: errRefused, Reason: errOther}, []policy.EventKind{policy.EventAttempt, policy.EventStopped, policy.EventCall}, errOther, errRefused},
		"a reason and a wait": {policy.Decision{Reason: errOther, Wait: time.Hour}, []policy.EventKind{policy.EventAttempt, policy.EventStopped, policy.EventCall}, errOther, errBackend},
	} {
		t.Run(name, func(t *testing.T) {
			recorder := &policytest.Recorder{}
			_, err := resilience.Do(t.Context(), resilience.Compose(&decided{c.decision}, resilience.Observe(recorder)), answer(0, errBackend))
			require.Equal(t, c.err, err)
			require.Equal(t, c.want, recorder.Kinds())
			if c.reason == nil {
				return
			}
			stopped := recorder.Events()[1]
			require.Equal(t, c.reason, stopped.Reason)
			require.Equal(t, policy.Outcome{Kind: policy.Returned, Class: policy.Transient, Err: c.err}, stopped.Outcome)
			require.Equal(t, 1, stopped.Attempt)
		})
	}
}

// decided is a repeater that has made up its mind.
type decided struct{ decision policy.Decision }

func (*decided) Stage() policy.Stage                                    { return policy.StageRetry }
func (d *decided) Next(context.Context, policy.Attempt) policy.Decision { return d.decision }

func TestEventsCarryPipelineAndClass(t *testing.T) {
	recorder := &policytest.Recorder{}
	refuser := &hesitant{}
	p := resilience.Compose(
		resilience.Name("first"), resilience.Compose(resilience.Name("users"), refuser), resilience.Observe(recorder),
		resilience.Classify(func(error) policy.Class { return policy.Throttled }), &again{max: 2},
	)
	_, err := resilience.Do(t.Context(), p, answer(0, errBackend))
	require.ErrorIs(t, err, errBackend)
	require.Equal(t, []policy.EventKind{
		policy.EventRejected, policy.EventRetry, policy.EventAttempt, policy.EventStopped, policy.EventCall,
	}, recorder.Kinds())
	for _, event := range recorder.Events() {
		require.Equal(t, "users", event.Pipeline, "the last name given")
		want := policy.Throttled
		if event.Attempt == 1 {
			want = policy.Ignored
		}
		require.Equal(t, want, event.Outcome.Class)
	}
}

// A call pays only for the kinds of event that it causes.
func TestAnObserverIsToldOnlyOfTheKindsItWants(t *testing.T) {
	require.Panics(t, func() { policy.ObserveOnly(&policytest.Recorder{}) }, "an observer of nothing")
	require.Panics(t, func() { policy.ObserveOnly(nil, policy.EventCall) })
	ctx, op := t.Context(), answer(1, nil)
	for name, kinds := range map[string][]policy.EventKind{
		"what goes wrong":    {policy.EventRejected, policy.EventRetry, policy.EventWait, policy.EventStopped},
		"permits":            {policy.EventSettled},
		"permits and others": {policy.EventSettled, policy.EventRetry},
		"unknown":            {policy.EventKind(99), policy.EventKind(16)},
	} {
		t.Run(name, func(t *testing.T) {
			recorder := &policytest.Recorder{}
			p := resilience.Compose(resilience.Observe(policy.ObserveOnly(recorder, kinds...)), &quietGuard{}, &quietRepeater{}, &quietGuard{})
			require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = resilience.Do(ctx, p, op) }))
			require.Empty(t, recorder.Events())
		})
	}
	t.Run("each its own", func(t *testing.T) {
		all, retries, calls := &policytest.Recorder{}, &choosy{kinds: []policy.EventKind{policy.EventRetry}}, &choosy{kinds: []policy.EventKind{policy.EventCall}}
		p := resilience.Compose(resilience.Observe(all, retries), &again{max: 3}, resilience.Observe(calls))
		call, _ := policytest.Script(1, errBackend)
		_, err := resilience.Do(t.Context(), p, call)
		require.NoError(t, err)
		require.Equal(t, []policy.EventKind{policy.EventAttempt, policy.EventRetry, policy.EventAttempt, policy.EventCall}, all.Kinds())
		require.Equal(t, []policy.EventKind{policy.EventRetry}, retries.Kinds())
		require.Equal(t, []policy.EventKind{policy.EventCall}, calls.Kinds())
		require.Equal(t, 1, retries.asked, "asked when the pipeline is composed")
		require.Equal(t, 1, calls.asked)
	})
	t.Run("permits only", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			permits := &choosy{kinds: []policy.EventKind{policy.EventSettled}}
			_, permit, err := resilience.Open(t.Context(), resilience.Compose(&probe{}, resilience.Observe(permits)), answer(1, nil))
			require.NoError(t, err)
			time.Sleep(time.Minute)
			require.True(t, permit.Done(nil))
			require.Equal(t, []policy.EventKind{policy.EventSettled}, permits.Kinds())
			require.Equal(t, time.Minute, permits.Events()[0].Elapsed)
		})
	})
	t.Run("without a clock there is no time queued", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rejections := &choosy{kinds: []policy.EventKind{policy.EventRejected}}
			slow := &hooked{admit: func() { time.Sleep(time.Second) }, probe: probe{refuse: errRefused}}
			_, err := resilience.Do(t.Context(), resilience.Compose(slow, resilience.Observe(rejections)), answer(1, nil))
			require.ErrorIs(t, err, errRefused)
			require.Zero(t, rejections.Events()[0].Queued)
		})
	})
}

// choosy is a recorder that wants only some kinds.
type choosy struct {
	policytest.Recorder
	kinds []policy.EventKind
	asked int
}

func (c *choosy) ObservedKinds() []policy.EventKind { c.asked++; return c.kinds }

// FAULT 266: runtime.Goexit in an observer, or in what is done with a value that is given up, ends the call. The guards
// are told how the operation ended all the same.
func TestFault266_GuardsAreToldTheOutcomeOfTheOperation(t *testing.T) {
	on := func(kind policy.EventKind, nth int) policy.Observer {
		seen := 0
		return policy.ObserverFunc(func(_ context.Context, e policy.Event) {
			if e.Kind == kind {
				if seen++; seen == nth {
					runtime.Goexit()
				}
			}
		})
	}
	success := policy.Outcome{Kind: policy.Returned}
	failure := policy.Outcome{Kind: policy.Returned, Class: policy.Transient, Err: errBackend}
	panicked := policy.Outcome{Kind: policy.Panicked}
	late := policy.Outcome{Kind: policy.NotCalled, Class: policy.Ignored, Err: context.Canceled}
	tooLate := &probe{stage: policy.StageChaos, derive: func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return ctx, cancel
	}}
	for name, c := range map[string]struct {
		layers       []policy.Layer
		op           policy.Func[int]
		outer, inner policy.Outcome
	}{
		"after a success":           {[]policy.Layer{resilience.Observe(on(policy.EventAttempt, 1))}, answer(1, nil), success, success},
		"after a failure":           {[]policy.Layer{resilience.Observe(on(policy.EventAttempt, 1))}, answer(1, errBackend), failure, failure},
		"after a panic":             {[]policy.Layer{resilience.Observe(on(policy.EventAttempt, 1))}, func(context.Context) (int, error) { panic("boom") }, panicked, panicked},
		"before a retry":            {[]policy.Layer{&again{max: 2}, resilience.Observe(on(policy.EventRetry, 1))}, answer(1, errBackend), failure, failure},
		"when a retry stops":        {[]policy.Layer{&again{max: 2}, resilience.Observe(on(policy.EventStopped, 1))}, answer(1, errBackend), failure, failure},
		"when a guard refuses":      {[]policy.Layer{&probe{refuse: errRefused, stage: policy.StageChaos}, resilience.Observe(on(policy.EventRejected, 1))}, answer(1, nil), policy.Outcome{Kind: policy.NotCalled}, policy.Outcome{Kind: policy.NotCalled}},
		"after a late attempt":      {[]policy.Layer{&again{max: 2}, tooLate, resilience.Observe(on(policy.EventRetry, 1))}, answer(1, nil), late, late},
		"of a hedge":                {[]policy.Layer{&around1{stage: policy.StageHedge}, &again{max: 2, stage: policy.StageHedge}, resilience.Observe(on(policy.EventRetry, 1))}, answer(1, errBackend), policy.Outcome{Kind: policy.Exited}, failure},
		"outside of a hedge":        {[]policy.Layer{&around1{stage: policy.StageHedge}, &again{max: 2}, resilience.Observe(on(policy.EventRetry, 1))}, answer(1, errBackend), failure, failure},
		"the operation, of a hedge": {[]policy.Layer{&around1{stage: policy.StageHedge}, resilience.Observe(&policytest.Recorder{})}, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil }, policy.Outcome{Kind: policy.Exited}, policy.Outcome{Kind: policy.Exited}},
		"the operation, second":     {[]policy.Layer{&again{max: 2}, &hesitant{}, resilience.Observe(&policytest.Recorder{})}, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil }, policy.Outcome{Kind: policy.Exited}, policy.Outcome{Kind: policy.Exited}},
		"the operation, second, only calls are observed": {[]policy.Layer{&again{max: 2}, &hesitant{}, resilience.Observe(policy.ObserveOnly(&policytest.Recorder{}, policy.EventCall))}, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil }, policy.Outcome{Kind: policy.Exited}, policy.Outcome{Kind: policy.Exited}},
		"a retry, only calls and retries are observed":   {[]policy.Layer{&again{max: 2}, resilience.Observe(policy.ObserveOnly(on(policy.EventRetry, 1), policy.EventCall, policy.EventRetry))}, answer(1, errBackend), failure, failure},
	} {
		t.Run(name, func(t *testing.T) {
			outer, inner := &probe{stage: policy.StageShed}, &probe{stage: policy.StageBulkhead}
			p := resilience.Compose(append(c.layers, outer, inner)...)
			_, exited := caught(func() { _, _ = resilience.Do(context.Background(), p, c.op) })
			require.True(t, exited, "the goroutine ends, which cannot be prevented")
			require.Equal(t, outer.admitted.Load(), outer.settled.Load())
			require.Equal(t, inner.admitted.Load(), inner.settled.Load())
			require.Equal(t, c.outer, *outer.last.Load())
			require.Equal(t, c.inner, *inner.last.Load())
		})
	}
	for _, observed := range []bool{true, false} {
		outer, inner := &probe{stage: policy.StageShed}, &probe{stage: policy.StageBulkhead}
		layers := []policy.Layer{&collector{again: again{max: 2}, onDiscard: func(any) { runtime.Goexit() }}, outer, inner}
		if observed {
			layers = append(layers, resilience.Observe(&policytest.Recorder{}))
		}
		p := resilience.Compose(layers...)
		_, exited := caught(func() { _, _ = resilience.Do(context.Background(), p, answer(1, errBackend)) })
		require.True(t, exited)
		require.Equal(t, policy.NotCalled, inner.last.Load().Kind, "a value was given up, and the attempt was not made")
		require.EqualValues(t, 2, inner.settled.Load())
		require.EqualValues(t, 1, outer.settled.Load())
		require.Equal(t, policy.Outcome{Kind: policy.Exited}, *outer.last.Load(), "the first attempt was made")
	}
}

// TestFieldsOfEvents is the table at [policy.Event].
func TestFieldsOfEvents(t *testing.T) {
	set := map[policy.EventKind][]string{
		policy.EventAttempt:  {"Call", "Attempt", "Elapsed", "Queued"},
		policy.EventRejected: {"Call", "Layer", "Attempt", "Queued"},
		policy.EventRetry:    {"Call", "Layer", "Attempt", "Wait"},
		policy.EventWait:     {"Call", "Layer", "Attempt", "Wait"},
		policy.EventStopped:  {"Call", "Layer", "Attempt", "Reason"},
		policy.EventCall:     {"Call", "Elapsed", "Queued", "Wait"},
		policy.EventSettled:  {"Elapsed"},
	}
	seen := make(map[policy.EventKind]bool)
	synctest.Test(t, func(t *testing.T) {
		var recorder policytest.Recorder
		gate, slow := &notifying{}, &hooked{admit: func() { time.Sleep(time.Second) }}
		gate.set(&policy.Rejection{Reason: errRefused, Until: time.Now().Add(time.Minute)})
		compose := func(layers ...policy.Layer) *resilience.Pipeline {
			return resilience.Compose(append(layers, resilience.Name("backend"), resilience.Observe(&recorder), slow)...)
		}
		op := func(err error) policy.Func[int] {
			return func(context.Context) (int, error) { time.Sleep(time.Second); return 1, err }
		}
		_, err := resilience.Do(t.Context(), compose(&patient{}, gate), op(errBackend))
		require.ErrorIs(t, err, errRefused)
		_, err = resilience.Do(t.Context(), compose(&probe{refuse: errRefused, stage: policy.StageChaos}), op(nil))
		require.ErrorIs(t, err, errRefused)
		_, permit, err := resilience.Open(t.Context(), compose(), op(nil))
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.True(t, permit.Done(nil))

		for _, e := range recorder.Events() {
			require.Equal(t, "backend", e.Pipeline)
			v := reflect.ValueOf(e)
			for i := range v.NumField() {
				switch name := v.Type().Field(i).Name; name {
				case "Kind", "Pipeline", "Outcome":
				case "Wait":
					if e.Kind == policy.EventCall && v.Field(i).IsZero() {
						continue // a call without a retry
					}
					fallthrough
				default:
					require.Equal(t, slices.Contains(set[e.Kind], name), !v.Field(i).IsZero(), "%s of %v", name, e)
				}
			}
			seen[e.Kind] = true
		}
		require.Len(t, seen, len(set))
	})
}
