package policyredis

import (
	"context"
	"sync"
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
	// lateBy is how late the end of a call must be for its client not to be trusted any more. A machine that is busy, or
	// stopped for a moment, is no reason.
	lateBy = time.Second
)

// store asks the server, within a deadline of its own, and behind a breaker of its own.
type store struct {
	client     client
	prompt     bool        // the client says that it keeps to deadlines
	distrusted atomic.Bool // but it has not
	breaker    *breaker.Breaker
	places     places
	readOnly   atomic.Bool // the store does not write, it has said: that it can be read then says nothing
	// record is told how each call went: by who asked, or by the call itself if who asked has left.
	record func(*config, request, answer, error)

	witness atomic.Pointer[call] // whose caller has left

	calls, texts, failures, timeouts atomic.Uint64
	abandoned                        atomic.Int64 // calls that are over, and still run
}

func newStore(c client, probe time.Duration, record func(*config, request, answer, error)) *store {
	return &store{client: c, prompt: c.prompt(), breaker: breaker.New(breakerOptions(probe)...), record: record}
}

func breakerOptions(probe time.Duration) []breaker.Option {
	return []breaker.Option{breaker.ConsecutiveFailures(failuresInARow), breaker.OpenFor(probe)}
}

// request is what the server is asked, and how.
type request struct {
	question

	keys []string
	args []any // the question as the script reads it

	bucket *bucket
	known  time.Duration // what the bucket knew of its debt when it was sent
	sent   time.Duration
}

// trusts reports whether calls are made on the goroutines of the attempts.
func (s *store) trusts(cfg *config) bool { return (cfg.trusted || s.prompt) && !s.distrusted.Load() }

// ask asks the script. The error is the breaker's rejection, that of the call, or [policy.ContextError] when who asks has less
// time than the call.
//
// A call that ends with its caller says nothing about the store. If all callers had less time than the deadline, they would all
// wait for a store that hangs, and the breaker would never open. So of the calls whose callers have left, one goes on: the
// witness. It is one only, so that callers in a hurry do not pile up calls.
func (s *store) ask(parent context.Context, cfg *config, r request) (answer, error) {
	_, ticket, err := s.breaker.Admit(parent)
	if err != nil {
		return answer{}, err
	}
	if !s.places.take() {
		s.breaker.Settle(parent, ticket, policy.Outcome{Kind: policy.NotCalled})
		s.failures.Add(1)
		s.record(cfg, r, answer{}, ErrBusy)
		return answer{}, ErrBusy
	}
	s.calls.Add(1)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), cfg.deadline)
	if s.trusts(cfg) && !endsFirst(parent, ctx) {
		defer cancel()
		a, err := s.callHere(ctx, ticket, r)
		s.record(cfg, r, a, err)
		return a, err
	}
	c := &call{store: s, config: cfg, request: r, ctx: ctx, cancel: cancel, ticket: ticket}
	go c.run()
	select {
	case <-ctx.Done(): // the client has returned, of which run cancels ctx, or the deadline is over
		c.expire() // which does nothing if the client has returned
	case <-parent.Done():
		if c.leave() {
			return answer{}, policy.ContextError(parent)
		}
	}
	s.record(cfg, r, c.answer, c.err)
	return c.answer, c.err
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
	var reply any
	reply, err = s.run(ctx, r)
	if deadline, _ := ctx.Deadline(); ctx.Err() != nil && time.Since(deadline) > lateBy {
		s.distrusted.Store(true)
	}
	return read(ctx, r.question, reply, err)
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
func read(ctx context.Context, q question, reply any, err error) (answer, error) {
	var a answer
	if err == nil {
		a, err = q.answerTo(reply)
	}
	if err != nil && ctx.Err() != nil && !isAnswer(err) { // it kept to the deadline
		err = ErrDeadline
	}
	return a, err
}

// settle counts how a call went, also for the breaker.
func (s *store) settle(ticket policy.Ticket, r request, a answer, err error) {
	switch {
	case !r.writes() || a.wait > 0: // nothing was written
	case err == nil:
		s.readOnly.Store(false)
	case doesNotWrite(err):
		s.readOnly.Store(true)
	}
	outcome := policy.Outcome{Kind: policy.Returned}
	switch {
	case err == nil && s.readOnly.Load():
		outcome.Kind = policy.NotCalled
	case err != nil:
		s.failures.Add(1)
		if err == ErrDeadline { //nolint:errorlint // the very value
			s.timeouts.Add(1)
		}
		if !isAnswer(err) {
			outcome.Err, outcome.Class = err, policy.Transient
		}
	}
	s.breaker.Settle(context.Background(), ticket, outcome)
}

// call is one call of the client on a goroutine of its own. It is over when the first of these happens. Then the breaker is
// settled, once, and what the call has brought is recorded, once or never. If the client still runs, the call is abandoned.
//
//	                                who notes it   the breaker is told of  store.record is called by  abandoned
//	the client returns              run, by end    what it has brought     the caller, in store.ask   no
//	the deadline is over            expire         ErrDeadline             the caller, in store.ask   +1
//	the caller leaves, and there
//	is another witness              leave          NotCalled               nobody                     +1
//
//	the caller leaves, and there
//	is none: it is not over, but
//	  then the client returns       run, by end    what it has brought     end                        no
//	  then the deadline is over     expire         ErrDeadline             end                        +1
//
// When the client of an abandoned call returns, run takes it off the count.
type call struct {
	store  *store
	config *config
	request
	ctx    context.Context // ends when it is over
	cancel context.CancelFunc
	ticket policy.Ticket

	mu     sync.Mutex
	over   bool
	answer answer
	err    error

	expiring sync.WaitGroup // the end of a witness at its deadline, on a goroutine of its own
}

func (c *call) run() {
	defer c.store.places.free()
	defer c.expiring.Wait() // who drains waits for what is told, too
	defer c.cancel()
	var a answer
	err := errExited // until the client has returned
	defer func() {
		if !c.end(a, err, false) {
			c.store.abandoned.Add(-1)
		}
	}()
	var reply any
	reply, err = c.store.run(c.ctx, c.request)
	a, err = read(c.ctx, c.question, reply, err)
}

// expire ends a call whose client has not returned by the deadline.
func (c *call) expire() { c.end(answer{}, ErrDeadline, true) }

// end notes what the call has brought, and whether the client still runs, unless it was over already.
func (c *call) end(a answer, err error, runs bool) bool {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return false
	}
	c.over, c.answer, c.err = true, a, err
	if runs {
		c.store.abandoned.Add(1)
	}
	c.store.settle(c.ticket, c.request, a, err)
	c.mu.Unlock()
	if c.store.witness.CompareAndSwap(c, nil) {
		c.store.record(c.config, c.request, a, err)
	}
	return true
}

// leave makes the call the witness, or ends it. It reports false if the call is over.
func (c *call) leave() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.over:
		return false
	case c.store.witness.CompareAndSwap(nil, c):
		c.expiring.Add(1)
		context.AfterFunc(c.ctx, func() {
			defer c.expiring.Done()
			c.expire()
		})
		return true
	}
	c.over = true
	c.store.abandoned.Add(1)
	c.store.breaker.Settle(c.ctx, c.ticket, policy.Outcome{Kind: policy.NotCalled})
	c.cancel()
	return true
}

// places are for the calls that run.
type places struct {
	mu       sync.Mutex
	taken    int
	expected int           // calls that are about to be made
	none     chan struct{} // closed when there are neither; nil when nobody waits for that
}

func (p *places) take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken == maxRunning {
		return false
	}
	p.taken++
	return true
}

func (p *places) free() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	p.wake()
}

// expect lets who waits for the end of all calls wait for f too, which is about to make one.
func (p *places) expect(f func()) {
	p.mu.Lock()
	p.expected++
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.expected--
		p.wake()
	}()
	f()
}

// wake is called with the lock held.
func (p *places) wake() {
	if p.taken+p.expected == 0 && p.none != nil {
		close(p.none)
		p.none = nil
	}
}

func (p *places) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

// drain waits until no call runs or is about to, or ctx has ended.
func (p *places) drain(ctx context.Context) error {
	p.mu.Lock()
	if p.taken+p.expected == 0 {
		p.mu.Unlock()
		return nil
	}
	if p.none == nil {
		p.none = make(chan struct{})
	}
	none := p.none
	p.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return policy.ContextError(ctx)
	}
}
