package policyredis

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

const (
	// failuresInARow open the breaker towards the store.
	failuresInARow = 3
	// lateBy is how late the end of a call must be for its client not to be trusted any more. A machine that is busy, or
	// stopped for a moment, is no reason.
	lateBy = time.Second
)

// store asks the server, within a deadline of its own, and behind a breaker of its own.
type store struct {
	client         client
	keepsDeadlines bool        // the client, as it says
	distrusted     atomic.Bool // but it has not
	breaker        *breaker.Breaker
	refusesWrites  atomic.Bool // the server; see errorKind

	places     places
	hasWitness atomic.Bool // a call goes on though its caller has left; see store.ask

	// record is told how each call went: by who asked, or by the call itself if who asked has left.
	record func(request, answer, error)

	calls, texts, failures, timeouts atomic.Uint64
	abandoned                        atomic.Int64 // calls that are over, and still run
}

func newStore(c client, probe time.Duration, record func(request, answer, error)) *store {
	return &store{client: c, keepsDeadlines: c.keepsDeadlines(), breaker: breaker.New(breakerOptions(probe)...), record: record}
}

func breakerOptions(probe time.Duration) []breaker.Option {
	return []breaker.Option{breaker.ConsecutiveFailures(failuresInARow), breaker.OpenFor(probe)}
}

// request is a question, what it is about, and what was known when it was asked.
type request struct {
	target
	question    question
	config      *config
	knownPaidAt moment // account.debtPaidAt
	sent        moment
}

// trusts reports whether calls are made on the goroutines of the attempts.
func (s *store) trusts(cfg *config) bool {
	return (cfg.trusted || s.keepsDeadlines) && !s.distrusted.Load()
}

// ask asks the script. The error is the breaker's rejection, that of the call, or [policy.ContextError] when who asks has less
// time than the call.
//
// A call that ends with its caller says nothing about the store. If all callers had less time than the deadline, they would all
// wait for a store that hangs, and the breaker would never open. So of the calls whose callers have left, one goes on: the
// witness. It is one only, so that callers in a hurry do not pile up calls.
func (s *store) ask(parent context.Context, r request) (answer, error) {
	_, ticket, err := s.breaker.Admit(parent)
	if err != nil {
		return answer{}, err
	}
	if !s.places.take() {
		s.settle(ticket, r, answer{}, ErrBusy)
		s.record(r, answer{}, ErrBusy)
		return answer{}, ErrBusy
	}
	s.calls.Add(1)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), r.config.deadline)
	if s.trusts(r.config) && !endsFirst(parent, ctx) {
		defer cancel()
		a, err := s.callHere(ctx, ticket, r)
		s.record(r, a, err)
		return a, err
	}
	c := &call{store: s, request: r, ctx: ctx, cancel: cancel, ticket: ticket}
	go c.run()
	if !c.await(parent) {
		return answer{}, policy.ContextError(parent)
	}
	s.record(r, c.result, c.err)
	return c.result, c.err
}

// endsFirst reports whether a has a deadline before that of b.
func endsFirst(a, b context.Context) bool {
	first, ok := a.Deadline()
	second, _ := b.Deadline()
	return ok && first.Before(second)
}

// callHere makes a call on this goroutine.
func (s *store) callHere(ctx context.Context, ticket policy.Ticket, r request) (a answer, err error) {
	err = errExited // until the client has returned
	defer func() {
		s.settle(ticket, r, a, err)
		s.places.free()
	}()
	a, err = s.run(ctx, r)
	if deadline, _ := ctx.Deadline(); ctx.Err() != nil && time.Since(deadline) > lateBy {
		s.distrusted.Store(true)
	}
	return a, err
}

// run calls the client, and reads its reply.
func (s *store) run(ctx context.Context, r request) (a answer, err error) {
	reply, err := s.reply(ctx, r)
	if err == nil {
		a, err = r.question.answerTo(reply)
	}
	if err != nil && ctx.Err() != nil && !kindOf(err).isAnswer() { // it kept to the deadline
		err = ErrDeadline
	}
	return a, err
}

// reply calls the client. A panic of it is an error.
func (s *store) reply(ctx context.Context, r request) (reply any, err error) {
	defer func() {
		if value := recover(); value != nil {
			reply, err = nil, panicError(value)
		}
	}()
	args := r.config.quota.arguments(r.question)
	reply, err = s.client.evalSha(ctx, r.keys, args)
	if err != nil && isNoScript(err) { // nothing was run: the script is sent, and the server keeps it
		s.texts.Add(1)
		reply, err = s.client.eval(ctx, r.keys, args)
	}
	return reply, err
}

// settle counts how a call went, and tells the breaker; see [errorKind].
func (s *store) settle(ticket policy.Ticket, r request, a answer, err error) {
	kind := kindOf(err)
	if kind != noError {
		s.failures.Add(1)
	}
	if kind == late {
		s.timeouts.Add(1)
	}
	// Before the breaker is told: a call that wrote has ended the refusal itself, and is a success.
	if r.question.writes() && a.wait == 0 { // else nothing was to be written
		switch kind {
		case noError:
			s.refusesWrites.Store(false)
		case writesNothing, otherAnswer:
			s.refusesWrites.Store(true)
		}
	}
	outcome := policy.Outcome{Kind: policy.Returned} // a success
	switch {
	case kind == busy, kind == noError && s.refusesWrites.Load():
		outcome.Kind = policy.NotCalled
	case kind != noError && !kind.isAnswer():
		outcome.Err, outcome.Class = err, policy.Transient
	}
	s.breaker.Settle(context.Background(), ticket, outcome)
}
