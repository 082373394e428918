package policytest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policy"
)

// broken returns the texts of the rules that a layer breaks.
func broken[L policy.Layer](t *testing.T, rules []rule[L], newLayer func() L) (texts []string) {
	for _, r := range rules {
		if err := r.verify(t, newLayer); err != nil {
			t.Logf("%v\nThe rule: %s", err, r.text)
			texts = append(texts, r.text)
		}
	}
	return texts
}

// semaphore is a guard that is right, made to go wrong in one way at a time.
type semaphore struct {
	slots chan struct{}

	stage        func() policy.Stage
	loseContext  bool // admits with a context of its own
	nilContext   bool // admits with no context
	loseSlot     policy.Kind
	losesSlot    bool // does not free the slot for outcomes of kind loseSlot
	ignoresEnd   bool // waits on after ctx has ended
	slowSettle   bool // waits in Settle
	keepsContext bool // derives a context and does not end it
}

var errFull = &policy.Rejection{Kind: "semaphore", Reason: errors.New("full")}

func newSemaphore(set func(*semaphore)) func() policy.Guard {
	return func() policy.Guard {
		s := &semaphore{slots: make(chan struct{}, 3)}
		set(s)
		return s
	}
}

func (s *semaphore) Stage() policy.Stage {
	if s.stage != nil {
		return s.stage()
	}
	return policy.StageBulkhead
}

func (s *semaphore) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	done := ctx.Done()
	if s.ignoresEnd {
		done = nil
	}
	timer := time.NewTimer(2 * time.Hour)
	defer timer.Stop()
	select {
	case s.slots <- struct{}{}:
	case <-done:
		return ctx, policy.Ticket{}, policy.ContextError(ctx)
	case <-timer.C:
		return ctx, policy.Ticket{}, errFull
	}
	switch {
	case s.nilContext:
		return nil, policy.Ticket{}, nil
	case s.loseContext:
		return context.Background(), policy.Ticket{}, nil
	case s.keepsContext:
		inner, cancel := context.WithCancel(ctx)
		return inner, policy.Ticket{Cancel: cancel}, nil
	}
	return ctx, policy.Ticket{}, nil
}

func (s *semaphore) Settle(_ context.Context, _ policy.Ticket, outcome policy.Outcome) {
	if s.slowSettle {
		time.Sleep(time.Second)
	}
	if !s.losesSlot || outcome.Kind != s.loseSlot {
		<-s.slots
	}
}

// refuser refuses at once when it is full.
type refuser struct {
	limit       int64
	inFlight    atomic.Int64
	bareRefusal bool
	costly      bool // a refusal costs a slot
	impure      bool // Ready costs a slot
	lies        bool // Ready says yes always
	wedges      bool // a panic costs a slot
	forgets     bool // knows the latest attempt only
	latest      atomic.Uint64
}

func (*refuser) Stage() policy.Stage { return policy.StageBulkhead }

func (r *refuser) Ready(context.Context) error {
	if r.impure {
		r.inFlight.Add(1)
	}
	if !r.lies && r.inFlight.Load() >= r.limit {
		return errFull
	}
	return nil
}

func (r *refuser) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if r.inFlight.Add(1) > r.limit {
		if !r.costly {
			r.inFlight.Add(-1)
		}
		if r.bareRefusal {
			return ctx, policy.Ticket{}, errors.New("full")
		}
		return ctx, policy.Ticket{}, errFull
	}
	return ctx, policy.Ticket{Period: r.latest.Add(1)}, nil
}

func (r *refuser) Settle(_ context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	if r.forgets && ticket.Period != r.latest.Load() {
		return
	}
	if !r.wedges || outcome.Kind != policy.Panicked {
		r.inFlight.Add(-1)
	}
}

func TestFault259_GuardCatchesWrongGuards(t *testing.T) {
	refusing := func(set func(*refuser)) func() policy.Guard {
		return func() policy.Guard {
			r := &refuser{limit: 3}
			set(r)
			return r
		}
	}
	var flips atomic.Int64
	var named []string
	cases := map[string]struct {
		newGuard func() policy.Guard
		rule     string // the beginning of a rule that must be broken; "" for none at all
	}{
		"right, waits":            {newSemaphore(func(*semaphore) {}), ""},
		"right, refuses":          {refusing(func(*refuser) {}), ""},
		"stage of zero":           {newSemaphore(func(s *semaphore) { s.stage = func() policy.Stage { return 0 } }), "Stage says"},
		"stage that changes":      {newSemaphore(func(s *semaphore) { s.stage = func() policy.Stage { return policy.Stage(flips.Add(1)) } }), "Stage says"},
		"loses the context":       {newSemaphore(func(s *semaphore) { s.loseContext = true }), "To admit"},
		"nil context":             {newSemaphore(func(s *semaphore) { s.nilContext = true }), "To admit"},
		"waits in Settle":         {newSemaphore(func(s *semaphore) { s.slowSettle = true }), "Settle is called"},
		"keeps the context":       {newSemaphore(func(s *semaphore) { s.keepsContext = true }), "Settle is called"},
		"loses what was not used": {newSemaphore(func(s *semaphore) { s.losesSlot, s.loseSlot = true, policy.NotCalled }), "To refuse"},
		"bare refusal":            {refusing(func(r *refuser) { r.bareRefusal = true }), "To refuse"},
		"a refusal costs":         {refusing(func(r *refuser) { r.costly = true }), "To refuse"},
		"waits for ever":          {newSemaphore(func(s *semaphore) { s.ignoresEnd = true }), "If Admit waits"},
		"loses on panic":          {newSemaphore(func(s *semaphore) { s.losesSlot, s.loseSlot = true, policy.Panicked }), "Whatever the outcomes"},
		"loses on exit":           {newSemaphore(func(s *semaphore) { s.losesSlot, s.loseSlot = true, policy.Exited }), "Whatever the outcomes"},
		"wedged by a panic":       {refusing(func(r *refuser) { r.wedges = true }), "Whatever the outcomes"},
		"one attempt at a time":   {refusing(func(r *refuser) { r.forgets = true }), "Layers must be safe"},
		"asking costs":            {refusing(func(r *refuser) { r.impure = true }), "Ready is a pure question"},
		"Ready lies":              {refusing(func(r *refuser) { r.lies = true }), "Ready is a pure question"},
	}
	guard := func(guard func() policy.Guard, rule string) {
		requireBroken(t, rule, broken(t, guardRules, guard))
		named = append(named, rule)
	}
	report := func() policy.Report { return sound }
	guard(func() policy.Guard { return &reporting{refuser: refuser{limit: 3}, report: report} }, "")
	guard(func() policy.Guard { return &reporting{refuser: refuser{limit: 3}, report: report, restless: true} }, "Idle is a pure question")
	guard(func() policy.Guard {
		return &reporting{refuser: refuser{limit: 3}, report: func() policy.Report { return policy.Report{} }}
	}, "Report changes nothing")
	guard(func() policy.Guard { return &pacer{} }, "")
	guard(func() policy.Guard { return &pacer{deaf: true} }, "Admit returns when ctx ends") // FAULT 259
	guard(func() policy.Guard { return &pacer{bare: true} }, "Admit returns when ctx ends") // FAULT 259
	guard(func() policy.Guard { return &returner{tally: newTally()} }, "")
	guard(func() policy.Guard { return &returner{tally: newTally(), twice: true} }, "A Returner counts")
	guard(func() policy.Guard { return &returner{tally: newTally(), waits: true} }, "A Returner counts")
	guard(func() policy.Guard { return &lifter{} }, "")
	for _, wrong := range []lifter{{deadline: true}, {stuck: true}, {greedy: true}, {immortal: true}, {hidden: true}} {
		guard(func() policy.Guard { wrong := wrong; return &wrong }, "A Lifter's bound")
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { requireBroken(t, c.rule, broken(t, guardRules, c.newGuard)) })
		named = append(named, c.rule)
	}
	requireAllBroken(t, guardRules, named)
}

// requireAllBroken fails when no wrong layer breaks one of the rules; named are the beginnings of those that are broken.
func requireAllBroken[L policy.Layer](t *testing.T, rules []rule[L], named []string) {
	t.Helper()
	for _, r := range rules {
		require.True(t, slices.ContainsFunc(named, func(name string) bool { return name != "" && strings.HasPrefix(r.text, name) }),
			"nothing shows that this rule can be broken: %s", r.text)
	}
}

func requireBroken(t *testing.T, want string, texts []string) {
	t.Helper()
	if want == "" {
		require.Empty(t, texts)
		return
	}
	for _, text := range texts {
		if strings.HasPrefix(text, want) {
			return
		}
	}
	require.Failf(t, "the fault was not found", "no broken rule begins with %q: %q", want, texts)
}

// tries repeats twice, made to go wrong in one way at a time.
type tries struct {
	stage    policy.Stage
	shared   bool // counts in the repeater
	sleeps   bool
	loses    bool // drops the error of the attempt
	losesEnd bool // drops it when the context has ended
	losesGap bool // drops it when a gate refuses

	losesRefusal bool // drops the rejection of the gate
	failuresOnly bool // panics at a success
	remembers    bool // answers with the latest error of any call

	mu    sync.Mutex
	count int
	last  atomic.Pointer[error]
}

var errGaveUp = errors.New("gave up")

func (r *tries) Stage() policy.Stage { return r.stage }

func (r *tries) Next(ctx context.Context, ended policy.Attempt) policy.Decision {
	if r.sleeps {
		time.Sleep(time.Millisecond)
	}
	number := ended.Number
	if r.shared {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.count++
		number = r.count
	}
	err := errors.Join(errGaveUp, ended.Outcome.Err)
	if r.failuresOnly {
		_ = ended.Outcome.Err.Error()
	}
	if r.remembers {
		latest := err
		r.last.Store(&latest)
		time.Sleep(time.Nanosecond) // others come meanwhile
		err = *r.last.Load()
	}
	switch {
	case ctx.Err() != nil:
		if r.losesEnd {
			err = ctx.Err()
		}
		return policy.Decision{Err: err}
	case ended.Blocked != nil:
		err = errors.Join(ended.Blocked, err)
		if r.losesGap {
			err = ended.Blocked
		}
		if r.losesRefusal {
			err = ended.Outcome.Err
		}
		return policy.Decision{Err: err}
	case number >= 3:
		if r.loses {
			err = errGaveUp
		}
		return policy.Decision{Err: err}
	}
	return policy.Decision{Again: true}
}

func TestRepeaterCatchesWrongRepeaters(t *testing.T) {
	with := func(set func(*tries)) func() policy.Repeater {
		return func() policy.Repeater {
			r := &tries{stage: policy.StageRetry}
			set(r)
			return r
		}
	}
	var named []string
	cases := map[string]struct {
		newRepeater func() policy.Repeater
		rule        string
	}{
		"right":           {with(func(*tries) {}), ""},
		"right, and pays": {func() policy.Repeater { return &paying{tries: tries{stage: policy.StageRetry}, tokens: 10_000} }, ""},
		"never takes back": {func() policy.Repeater {
			return &paying{tries: tries{stage: policy.StageRetry}, tokens: 100, forgets: true}
		}, "What it has spent"},
		"reports nothing": {func() policy.Repeater { return &talkative{Repeater: &tries{stage: policy.StageRetry}, idle: true} }, "Report changes nothing"},
		"is never idle":   {func() policy.Repeater { return &talkative{Repeater: &tries{stage: policy.StageRetry}, report: sound} }, "Idle is a pure question"},
		"right, and reports": {func() policy.Repeater {
			return &talkative{Repeater: &tries{stage: policy.StageRetry}, report: sound, idle: true}
		}, ""},
		"no stage":                       {with(func(r *tries) { r.stage = 0 }), "Stage says"},
		"state in the repeater":          {with(func(r *tries) { r.shared = true }), "What belongs to one call"},
		"knows failures only":            {with(func(r *tries) { r.failuresOnly = true }), "Next is called once"},
		"remembers the last error":       {with(func(r *tries) { r.remembers = true }), "Layers must be safe"},
		"waits":                          {with(func(r *tries) { r.sleeps = true }), "It must not wait"},
		"loses the error":                {with(func(r *tries) { r.loses = true }), "The error of a Decision"},
		"loses it when the context ends": {with(func(r *tries) { r.losesEnd = true }), "The error of a Decision"},
		"loses it when a gate refuses":   {with(func(r *tries) { r.losesGap = true }), "A repeater that heeds Blocked"},
		"loses the refusal of the gate":  {with(func(r *tries) { r.losesRefusal = true }), "A repeater that heeds Blocked"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { requireBroken(t, c.rule, broken(t, repeaterRules, c.newRepeater)) })
		named = append(named, c.rule)
	}
	requireAllBroken(t, repeaterRules, named)
}

// wrap is a wrapper made of a function.
type wrap func(ctx context.Context, call func(context.Context) error) error

func (wrap) Stage() policy.Stage { return policy.StageHedge }
func (w wrap) Run(ctx context.Context, call func(context.Context) error) error {
	return w(ctx, call)
}

func TestWrapperCatchesWrongWrappers(t *testing.T) {
	var named []string
	var last atomic.Pointer[error]
	cases := map[string]struct {
		wrapper wrap
		rule    string
	}{
		"right": {func(ctx context.Context, call func(context.Context) error) error { return call(ctx) }, ""},
		"right, twice": {func(ctx context.Context, call func(context.Context) error) error {
			if call(ctx) == nil {
				return nil
			}
			return call(ctx)
		}, ""},
		"swallows": {func(ctx context.Context, call func(context.Context) error) error { _ = call(ctx); return nil }, "Run must return nil"},
		"loses the error": {func(ctx context.Context, call func(context.Context) error) error {
			if call(ctx) != nil {
				return errGaveUp
			}
			return nil
		}, "Run must return nil"},
		"loses the context": {func(_ context.Context, call func(context.Context) error) error {
			return call(context.Background())
		}, "The context given to call"},
		"swallows a panic": {func(ctx context.Context, call func(context.Context) error) (err error) {
			defer func() {
				if recover() != nil {
					err = errGaveUp
				}
			}()
			return call(ctx)
		}, "A panic of call"},
		"hangs on an exit": {func(ctx context.Context, call func(context.Context) error) error {
			answer := make(chan error, 1)
			go func() {
				defer func() {
					if recovered := recover(); recovered != nil {
						answer <- errGaveUp
					}
				}()
				answer <- call(ctx)
			}()
			select {
			case err := <-answer:
				return err
			case <-ctx.Done(): // after the rule has failed; a goroutine left behind would fail this test
				return errGaveUp
			}
		}, "An exit of call"},
		"leaves a call running": {func(ctx context.Context, call func(context.Context) error) error {
			go func() { defer func() { _ = recover() }(); _ = call(ctx) }()
			short, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			return call(short)
		}, "Every call must have ended"},
		"remembers the last error": {func(ctx context.Context, call func(context.Context) error) error {
			err := call(ctx)
			last.Store(&err)
			time.Sleep(time.Nanosecond)
			return *last.Load()
		}, "Layers must be safe"},
		"does not pass on the end": {func(ctx context.Context, call func(context.Context) error) error {
			return call(context.WithoutCancel(ctx))
		}, "The end of ctx"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			requireBroken(t, c.rule, broken(t, wrapperRules, func() policy.Wrapper { return c.wrapper }))
		})
		named = append(named, c.rule)
	}
	requireBroken(t, "Stage says", broken(t, wrapperRules, func() policy.Wrapper { return nowhere{} }))
	for want, newWrapper := range map[string]func() policy.Wrapper{
		"Report changes nothing":  func() policy.Wrapper { return &opener{idle: true} },
		"Idle is a pure question": func() policy.Wrapper { return &opener{report: sound} },
		"An Opener leaves":        func() policy.Wrapper { return &opener{report: sound, idle: true, ends: true} },
		"":                        func() policy.Wrapper { return &opener{report: sound, idle: true} },
	} {
		requireBroken(t, want, broken(t, wrapperRules, newWrapper))
		named = append(named, want)
	}
	requireAllBroken(t, wrapperRules, append(named, "Stage says"))
}

// nowhere is a wrapper without a stage.
type nowhere struct{}

func (nowhere) Stage() policy.Stage { return 0 }
func (nowhere) Run(ctx context.Context, call func(context.Context) error) error {
	return call(ctx)
}

// The conformance of a wrong guard fails, and says which rule it breaks. It runs in a process of its own.
func TestAFailureQuotesTheRule(t *testing.T) {
	const wrong = "POLICYTEST_WRONG"
	if os.Getenv(wrong) != "" {
		Guard(t, func() policy.Guard { return &refuser{limit: 3, costly: true} })
		return
	}
	self, err := os.Executable()
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), self, "-test.run", "^"+t.Name()+"$")
	command.Env = append(os.Environ(), wrong+"=1")
	out, err := command.CombinedOutput()
	require.Error(t, err, "a wrong guard passed")
	require.Contains(t, string(out), "3 attempts were admitted and given back as never called; then only 0 were admitted")
	require.Contains(t, string(out), "The rule: To refuse, Admit returns an error that matches policy.ErrRejected; whatever it had taken must be given back before it returns.")
	require.NotContains(t, string(out), "The rule: Stage says")
}

func TestConformanceOfRightLayers(t *testing.T) {
	Guard(t, newSemaphore(func(*semaphore) {}))
	Repeater(t, func() policy.Repeater { return &tries{stage: policy.StageRetry} })
	Wrapper(t, func() policy.Wrapper {
		return wrap(func(ctx context.Context, call func(context.Context) error) error { return call(ctx) })
	})
}
