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
)

// store asks the server, within a deadline of its own, and behind a breaker of its own.
type store struct {
	client  client
	gate    *breaker.Breaker
	running chan struct{} // a place for each call that runs
	closing chan struct{} // who drains holds its place

	calls, texts, failures, timeouts atomic.Uint64
	abandoned                        atomic.Int64 // calls that outlived their deadline and still run
}

func newStore(c client, every time.Duration) *store {
	return &store{
		client:  c,
		gate:    breaker.New(gate(every)...),
		running: make(chan struct{}, maxRunning),
		closing: make(chan struct{}, 1),
	}
}

// gate returns the options of the breaker.
func gate(every time.Duration) []breaker.Option {
	return []breaker.Option{breaker.ConsecutiveFailures(failuresInARow), breaker.OpenFor(every)}
}

// ask asks the script. The error is [policy.ContextError] when ctx has ended, the breaker's rejection, or that of the call.
func (s *store) ask(ctx context.Context, limit time.Duration, trusted bool, keys []string, q question, args []any) (answer, error) {
	_, ticket, err := s.gate.Admit(ctx)
	if err != nil {
		return answer{}, err
	}
	outcome := policy.Outcome{Kind: policy.NotCalled}
	defer func() { s.gate.Settle(ctx, ticket, outcome) }()
	a, err := s.call(ctx, limit, trusted, keys, q, args)
	switch {
	case err == nil || isAnswer(err):
		outcome.Kind = policy.Returned
	case ended(ctx) == nil && err != ErrBusy: //nolint:errorlint // the very value
		outcome = policy.Outcome{Kind: policy.Returned, Err: err, Class: policy.Transient}
	}
	return a, err
}

// call makes one call. It returns at the deadline, whatever the client does: unless the client is trusted, it runs on a
// goroutine of its own.
func (s *store) call(parent context.Context, limit time.Duration, trusted bool, keys []string, q question, args []any) (answer, error) {
	select {
	case s.running <- struct{}{}:
	default:
		s.failures.Add(1)
		return answer{}, ErrBusy
	}
	s.calls.Add(1)
	ctx, cancel := context.WithTimeout(parent, limit)
	defer cancel()
	c := &call{store: s, ctx: ctx, keys: keys, args: args}
	if trusted {
		c.run()
		return s.read(parent, c, q)
	}
	c.done = make(chan struct{})
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
	return s.read(parent, c, q)
}

// read returns what a call that has ended has brought.
func (s *store) read(parent context.Context, c *call, q question) (answer, error) {
	if c.err != nil {
		if err := ended(parent); err != nil {
			return answer{}, err // the client gave up because the caller did
		}
		if c.ctx.Err() != nil && !isAnswer(c.err) {
			return answer{}, s.late(parent) // it kept to the deadline
		}
		s.failures.Add(1)
		return answer{}, c.err
	}
	a, err := q.answerTo(c.reply)
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

// call is one call of the client.
type call struct {
	store *store
	ctx   context.Context
	keys  []string
	args  []any
	over  atomic.Bool   // decides whether the call ends first or its caller leaves first
	done  chan struct{} // nil when the caller itself runs it
	reply any
	err   error
}

func (c *call) run() {
	c.err = errExited
	defer func() {
		if value := recover(); value != nil {
			c.err = panicError(value)
		}
		if !c.over.CompareAndSwap(false, true) {
			c.store.abandoned.Add(-1)
		}
		<-c.store.running
		if c.done != nil {
			close(c.done)
		}
	}()
	reply, err := c.store.client.evalSha(c.ctx, c.keys, c.args)
	if err != nil && isNoScript(err) { // nothing was run: the script is sent, and the server keeps it
		c.store.texts.Add(1)
		reply, err = c.store.client.eval(c.ctx, c.keys, c.args)
	}
	c.reply, c.err = reply, err
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
