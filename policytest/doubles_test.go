package policytest

import (
	"context"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// paying is a repeater that pays for each attempt, and may forget to take it back.
type paying struct {
	tries
	forgets bool
	tokens  int
}

func (r *paying) Next(ctx context.Context, ended policy.Attempt) policy.Decision {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ended.Outcome.Succeeded() {
		return policy.Decision{}
	}
	if ctx.Err() != nil && ended.Asked > 0 && !r.forgets {
		r.tokens++
	}
	decision := r.tries.Next(ctx, ended)
	if !decision.Again {
		return decision
	}
	if r.tokens == 0 {
		return policy.Decision{}
	}
	r.tokens--
	return decision
}

// sound is a report that is right.
var sound = policy.Report{
	Kind:  "double",
	State: policy.State{Name: "open", All: []string{"closed", "open"}},
	Settings: []policy.Setting{
		{Name: "New", Args: []policy.Argument{{Name: "limit", Value: 3}, {Name: "wait", Value: time.Second}}},
		{Name: "Classify", Code: true},
	},
	Values: []policy.Value{
		{Name: "in_flight", Unit: policy.UnitCount, Kind: policy.Gauge, Number: 1, Limit: 3},
		{Name: "keys", Label: "open", Unit: policy.UnitCount, Kind: policy.Gauge},
		{Name: "keys", Label: "closed", Unit: policy.UnitCount, Kind: policy.Gauge},
		{Name: "rejected", Unit: policy.UnitCount, Kind: policy.Counter},
	},
}

// talkative is a repeater with a report.
type talkative struct {
	policy.Repeater
	report policy.Report
	idle   bool
}

func (r *talkative) Report() policy.Report { return r.report }
func (r *talkative) Idle() bool            { return r.idle }

// reporting is a guard with a report.
type reporting struct {
	refuser
	report   func() policy.Report
	restless bool // not idle
}

func (r *reporting) Report() policy.Report { return r.report() }
func (r *reporting) Idle() bool            { return !r.restless }

// opener is a wrapper with a context of its own for each call.
type opener struct {
	report policy.Report
	idle   bool
	ends   bool // the context of the winner, too
}

func (*opener) Stage() policy.Stage     { return policy.StageHedge }
func (o *opener) Report() policy.Report { return o.report }
func (o *opener) Idle() bool            { return o.idle }

func (o *opener) Run(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return call(ctx)
}

func (o *opener) Open(ctx context.Context, call func(context.Context, context.CancelFunc) error) error {
	ctx, cancel := context.WithCancel(ctx)
	if o.ends {
		defer cancel()
	}
	return call(ctx, cancel)
}

// pacer is a guard that lets every attempt wait for a second. See FAULT 259.
type pacer struct {
	pass
	deaf bool // does not look at the context
	bare bool // says only that the context has ended
}

func (p *pacer) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	done := ctx.Done()
	if p.deaf {
		done = nil
	}
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx, policy.Ticket{}, nil
	case <-done:
	}
	if p.bare {
		return nil, policy.Ticket{}, ctx.Err()
	}
	return nil, policy.Ticket{}, policy.ContextError(ctx)
}

// pass is a guard that admits everything.
type pass struct{}

func (pass) Stage() policy.Stage { return policy.StageBreaker }

func (pass) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, nil
}

func (pass) Settle(context.Context, policy.Ticket, policy.Outcome) {}

// returner is a guard that counts successes.
type returner struct {
	tally
	twice bool // counts a success that stays open twice
	waits bool // in Returned
}

// tally counts successes on its way out.
type tally struct {
	pass
	mu        chan struct{}
	successes int
}

func newTally() tally { return tally{mu: make(chan struct{}, 1)} }

func (r *tally) add() {
	r.mu <- struct{}{}
	r.successes++
	<-r.mu
}

func (*tally) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{Number: 1}, nil
}

func (r *tally) Settle(_ context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	if ticket.Number == 1 && outcome.Succeeded() {
		r.add()
	}
}

func (r *tally) Report() policy.Report {
	return policy.Report{Kind: "tally", Values: []policy.Value{
		{Name: "successes", Unit: policy.UnitCount, Kind: policy.Counter, Number: float64(r.successes)},
	}}
}

func (r *returner) Returned(_ context.Context, ticket policy.Ticket) policy.Ticket {
	if r.waits {
		time.Sleep(time.Second)
	}
	r.add()
	if !r.twice {
		ticket.Number = 0
	}
	return ticket
}

// lifter is a guard that bounds an attempt to an hour.
type lifter struct {
	pass
	deadline bool // bounds it by a deadline
	stuck    bool // lift does nothing
	greedy   bool // Settle ends the context in a way of its own
	immortal bool // Cancel does nothing
	hidden   bool // there is no Cancel
}

type endKey struct{}

func (l *lifter) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	return ctx, policy.Ticket{Cancel: cancel}, nil
}

func (l *lifter) AdmitOpen(ctx context.Context) (context.Context, policy.Ticket, func(), error) {
	if l.deadline {
		ctx, ticket, err := l.Admit(ctx)
		return ctx, ticket, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	end := func() { cancel(nil) }
	ctx = context.WithValue(ctx, endKey{}, context.CancelFunc(end))
	timer := time.AfterFunc(time.Hour, func() { cancel(context.DeadlineExceeded) })
	ticket := policy.Ticket{Cancel: end}
	if l.immortal {
		ticket.Cancel = func() {}
	}
	if l.hidden {
		ticket.Cancel = nil
	}
	lift := func() { timer.Stop() }
	if l.stuck {
		lift = func() {}
	}
	return ctx, ticket, lift, nil
}

func (l *lifter) Settle(ctx context.Context, ticket policy.Ticket, _ policy.Outcome) {
	if ticket.Cancel != nil {
		ticket.Cancel()
	}
	if end, ok := ctx.Value(endKey{}).(context.CancelFunc); ok && l.greedy {
		end()
	}
}
