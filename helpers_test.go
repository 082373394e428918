package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/policy"
)

var (
	errBackend   = errors.New("backend failed")
	errExhausted = errors.New("exhausted")
	errRefused   = errors.New("refused for the test")
	errCause     = errors.New("the caller's cause")
)

// journal is what happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.lines...)
}

// probe is a guard that writes down what happens to it and does what the test says.
type probe struct {
	name    string
	stage   policy.Stage
	journal *journal

	refuse        error
	panicOnAdmit  any
	panicOnSettle any
	derive        func(context.Context) (context.Context, context.CancelFunc)

	admitted, settled atomic.Int64
	last              atomic.Pointer[policy.Outcome]
}

func (p *probe) String() string { return p.name }

func (p *probe) Stage() policy.Stage {
	if p.stage == 0 {
		return policy.StageBreaker
	}
	return p.stage
}

func (p *probe) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if p.panicOnAdmit != nil {
		panic(p.panicOnAdmit)
	}
	if p.refuse != nil {
		p.note("refuse %s", p.name)
		return ctx, policy.Ticket{}, p.refuse
	}
	p.note("enter %s", p.name)
	number := p.admitted.Add(1)
	ticket := policy.Ticket{Period: uint64(number)}
	if p.derive != nil {
		ctx, ticket.Cancel = p.derive(ctx)
	}
	return ctx, ticket, nil
}

func (p *probe) Settle(_ context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	p.settled.Add(1)
	p.last.Store(&outcome)
	p.note("leave %s: %v", p.name, outcome.Kind)
	if ticket.Cancel != nil {
		ticket.Cancel()
	}
	if p.panicOnSettle != nil {
		panic(p.panicOnSettle)
	}
}

func (p *probe) note(format string, args ...any) {
	if p.journal != nil {
		p.journal.add(format, args...)
	}
}

// gate is a probe that can be asked.
type gate struct {
	probe
	closed atomic.Pointer[policy.Rejection]
	asked  atomic.Int64

	onReady func(asked int64)
}

func (g *gate) Ready(context.Context) error {
	if asked := g.asked.Add(1); g.onReady != nil {
		g.onReady(asked)
	}
	if rejection := g.closed.Load(); rejection != nil {
		return rejection
	}
	return nil
}

// again is a repeater that makes attempts until one succeeds or max are made, wait apart.
type again struct {
	stage policy.Stage
	max   int
	wait  time.Duration
	heard []policy.Attempt
}

func (*again) String() string { return "again" }

func (r *again) Stage() policy.Stage {
	if r.stage == 0 {
		return policy.StageRetry
	}
	return r.stage
}

func (r *again) Next(ctx context.Context, ended policy.Attempt) policy.Decision {
	r.heard = append(r.heard, ended)
	tries, _ := ended.State.(int)
	switch {
	case ended.Blocked != nil:
		return policy.Decision{Err: errors.Join(ended.Blocked, ended.Outcome.Err)}
	case ctx.Err() != nil:
		return policy.Decision{Err: errors.Join(policy.ContextError(ctx), ended.Outcome.Err)}
	case ended.Number == r.max:
		return policy.Decision{Reason: errExhausted}
	}
	return policy.Decision{Again: true, Wait: r.wait, State: tries + 1}
}

// around is a wrapper made of a function.
type around func(ctx context.Context, call func(context.Context) error) error

func (*around) Stage() policy.Stage { return policy.StageHedge }
func (a *around) Run(ctx context.Context, call func(context.Context) error) error {
	return (*a)(ctx, call)
}

func wrapper(run func(ctx context.Context, call func(context.Context) error) error) *around {
	a := around(run)
	return &a
}

func answer(value int, err error) policy.Func[int] {
	return func(context.Context) (int, error) { return value, err }
}

// caught calls f and returns what it panicked with, and whether it ended with runtime.Goexit.
func caught(f func()) (recovered any, exited bool) {
	done := make(chan struct{})
	exited = true
	go func() {
		defer close(done)
		defer func() {
			if recovered = recover(); recovered != nil {
				exited = false
			}
		}()
		f()
		exited = false
	}()
	<-done
	return recovered, exited
}

// meter is a probe that counts: it is told of a success when the operation returns.
type meter struct {
	probe
	onReturned func()
}

const counted = 7 // the number in the ticket of a meter that was told of a success

func (m *meter) Returned(_ context.Context, ticket policy.Ticket) policy.Ticket {
	m.note("returned %s", m.name)
	if m.onReturned != nil {
		m.onReturned()
	}
	ticket.Number = counted
	return ticket
}

func (m *meter) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	if ticket.Number == counted {
		m.note("counted %s", m.name)
	}
	m.probe.Settle(ctx, ticket, outcome)
}

// limit is a guard that bounds the time of an attempt, as an attempt timeout does.
type limit struct {
	probe
	after  time.Duration
	lifted atomic.Int64
	stale  atomic.Int64 // lifted although it had been settled
}

// limitError is the cause of the contexts that a limit has ended.
type limitError struct{ after time.Duration }

func (l limitError) Error() string      { return fmt.Sprintf("limit %v reached", l.after) }
func (limitError) Is(target error) bool { return target == context.DeadlineExceeded }

func (l *limit) Stage() policy.Stage {
	if l.stage == 0 {
		return policy.StageAttemptTimeout
	}
	return l.stage
}

func (l *limit) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.after, limitError{l.after})
	_, ticket, err := l.probe.Admit(ctx)
	ticket.Cancel = cancel
	return ctx, ticket, err
}

func (l *limit) AdmitOpen(ctx context.Context) (context.Context, policy.Ticket, func(), error) {
	_, ticket, err := l.probe.Admit(ctx)
	if err != nil {
		return ctx, ticket, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(l.after, func() { cancel(limitError{l.after}) })
	ticket.Cancel = func() { timer.Stop(); cancel(nil) }
	return ctx, ticket, func() {
		if l.lifted.Add(1); l.settled.Load() == l.admitted.Load() {
			l.stale.Add(1)
		}
		timer.Stop()
	}, nil
}

// relay is a wrapper that makes calls until one returns nil, at most max, each in a context of its own that it ends.
type relay struct {
	stage     policy.Stage
	max       int
	after     func(call int, ctx context.Context, err error) // a call has returned
	discarded []any
}

func (*relay) String() string { return "relay" }

func (r *relay) Stage() policy.Stage {
	if r.stage == 0 {
		return policy.StageHedge
	}
	return r.stage
}

func (r *relay) Run(ctx context.Context, call func(context.Context) error) error {
	return r.Open(ctx, func(ctx context.Context, end context.CancelFunc) error { defer end(); return call(ctx) })
}

func (r *relay) Open(ctx context.Context, call func(context.Context, context.CancelFunc) error) (err error) {
	for i := range r.max {
		ctx, cancel := context.WithCancel(ctx)
		err = call(ctx, cancel)
		if r.after != nil {
			r.after(i+1, ctx, err)
		}
		if err == nil {
			return nil
		}
	}
	return err
}

func (r *relay) Discard(value any) { r.discarded = append(r.discarded, value) }

// answered is the error of an answer that is a failure and still to be read.
type answered struct{ error }

func (answered) Live() bool      { return true }
func (a answered) Unwrap() error { return a.error }
