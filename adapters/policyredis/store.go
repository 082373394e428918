package policyredis

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

const (
	// maxRunning bounds the calls to a store that run at a time, and with them the goroutines.
	maxRunning = 10_000
	// failuresInARow open the breaker towards the store.
	failuresInARow = 3
	// breach is how late the end of a call must be for its client not to be trusted any more. A machine that is busy, or
	// stopped for a moment, is no reason.
	breach = time.Second
)

// store asks the server, within a deadline of its own, and behind a breaker of its own.
type store struct {
	client  client
	prompt  bool        // the client says that it keeps to deadlines
	breach  atomic.Bool // and it has not
	gate    *breaker.Breaker
	running chan struct{} // a place for each call that runs
	closing chan struct{} // who drains holds its place

	calls, texts, failures, timeouts atomic.Uint64
	abandoned                        atomic.Int64 // calls that outlived their deadline and still run
}

func newStore(c client, every time.Duration) *store {
	return &store{
		client:  c,
		prompt:  c.prompt(),
		gate:    breaker.New(gate(every)...),
		running: make(chan struct{}, maxRunning),
		closing: make(chan struct{}, 1),
	}
}

// gate returns the options of the breaker.
func gate(every time.Duration) []breaker.Option {
	return []breaker.Option{breaker.ConsecutiveFailures(failuresInARow), breaker.OpenFor(every)}
}

// request is what the server is asked, and how.
type request struct {
	question

	keys []string
	args []any // the question as the script reads it
}

// trusts reports whether calls are made on the goroutines of the attempts.
func (s *store) trusts(cfg *config) bool { return (cfg.trusted || s.prompt) && !s.breach.Load() }

// ask asks the script. The error is [policy.ContextError] when ctx has ended, the breaker's rejection, or that of the call.
func (s *store) ask(ctx context.Context, cfg *config, r request) (answer, error) {
	_, ticket, err := s.gate.Admit(ctx)
	if err != nil {
		return answer{}, err
	}
	outcome := policy.Outcome{Kind: policy.NotCalled}
	defer func() { s.gate.Settle(ctx, ticket, outcome) }()
	a, err := s.call(ctx, cfg, r)
	switch {
	case err == nil || isAnswer(err):
		outcome.Kind = policy.Returned
	case ended(ctx) == nil && err != ErrBusy: //nolint:errorlint // the very value
		outcome = policy.Outcome{Kind: policy.Returned, Err: err, Class: policy.Transient}
	}
	return a, err
}

// call makes one call. It returns at the deadline, whatever the client does: unless the client is trusted, the call is made
// on a goroutine of its own.
func (s *store) call(parent context.Context, cfg *config, r request) (answer, error) {
	select {
	case s.running <- struct{}{}:
	default:
		s.failures.Add(1)
		return answer{}, ErrBusy
	}
	s.calls.Add(1)
	ctx, cancel := context.WithTimeout(parent, cfg.deadline)
	defer cancel()
	if s.trusts(cfg) {
		defer func() { <-s.running }()
		reply, err := s.run(ctx, r)
		if deadline, _ := ctx.Deadline(); ctx.Err() != nil && time.Since(deadline) > breach {
			s.breach.Store(true)
		}
		return s.read(parent, ctx, r.question, reply, err)
	}
	c := &call{store: s, ctx: ctx, request: r, done: make(chan struct{})}
	go c.run()
	select {
	case <-c.done:
	case <-ctx.Done():
		s.abandoned.Add(1)
		if c.over.CompareAndSwap(false, true) {
			return answer{}, s.late(parent)
		}
		s.abandoned.Add(-1) // it has just ended
		<-c.done
	}
	return s.read(parent, ctx, r.question, c.reply, c.err)
}

// run makes the call. An error stands for whatever the client does instead of returning.
func (s *store) run(ctx context.Context, r request) (reply any, err error) {
	defer func() {
		if value := recover(); value != nil {
			reply, err = nil, panicError(value)
		}
	}()
	reply, err = s.client.evalSha(ctx, r.keys, r.args)
	if err != nil && isNoScript(err) { // nothing was run: the script is sent, and the server keeps it
		s.texts.Add(1)
		reply, err = s.client.eval(ctx, r.keys, r.args)
	}
	return reply, err
}

// read returns what a call that has ended has brought.
func (s *store) read(parent, ctx context.Context, q question, reply any, err error) (answer, error) {
	if err != nil {
		if err := ended(parent); err != nil {
			return answer{}, err // the client gave up because the caller did
		}
		if ctx.Err() != nil && !isAnswer(err) {
			return answer{}, s.late(parent) // it kept to the deadline
		}
		s.failures.Add(1)
		return answer{}, err
	}
	a, err := q.answerTo(reply)
	if err != nil {
		s.failures.Add(1)
	}
	return a, err
}

// late returns the error of a call that was not answered in time.
func (s *store) late(parent context.Context) error {
	if err := ended(parent); err != nil {
		return err
	}
	s.failures.Add(1)
	s.timeouts.Add(1)
	return ErrDeadline
}

// call is one call of the client on a goroutine of its own.
type call struct {
	store *store
	ctx   context.Context
	request
	over  atomic.Bool // decides whether the call ends first or its caller leaves first
	done  chan struct{}
	reply any
	err   error
}

func (c *call) run() {
	c.err = errExited
	defer func() {
		if !c.over.CompareAndSwap(false, true) {
			c.store.abandoned.Add(-1)
		}
		<-c.store.running
		close(c.done)
	}()
	c.reply, c.err = c.store.run(c.ctx, c.request)
}

// drain waits until no call runs, or ctx has ended. Meanwhile there is less and less room for new ones.
func (s *store) drain(ctx context.Context) error {
	select {
	case s.closing <- struct{}{}:
		defer func() { <-s.closing }()
	case <-ctx.Done():
		return ended(ctx)
	}
	taken := 0
	defer func() {
		for range taken {
			<-s.running
		}
	}()
	for range maxRunning {
		select {
		case s.running <- struct{}{}:
			taken++
		case <-ctx.Done():
			return ended(ctx)
		}
	}
	return nil
}
