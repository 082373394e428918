package policyredis

import (
	"context"
	"sync"

	"github.com/go-resilience/resilience/policy"
)

// call is one call of the client on a goroutine of its own. It is over when the first of these happens. Then the breaker is
// settled, once, and store.record is called, once or never. If the client still runs, the call is abandoned.
//
//	                                who notes it   the breaker is told of  store.record is called by  abandoned
//	the client returns              run, by end    the result              the caller, in store.ask   no
//	the deadline is over            expire         ErrDeadline             the caller, in store.ask   +1
//	the caller leaves, and there
//	is another witness              leave          NotCalled               nobody                     +1
//
//	the caller leaves, and there
//	is none: it is the witness, and
//	  then the client returns       run, by end    the result              end                        no
//	  then the deadline is over     expire         ErrDeadline             end                        +1
//
// When the client of an abandoned call returns, run takes it off the count.
type call struct {
	store   *store
	request request
	ctx     context.Context // ends at the deadline, or when the call is over
	cancel  context.CancelFunc
	ticket  policy.Ticket // of the breaker

	mu     sync.Mutex
	state  callState
	result answer // and err: what has come of the call, once it is over
	err    error

	expiring sync.WaitGroup // the end of a witness at its deadline, on a goroutine of its own
}

type callState uint8

const (
	awaited callState = iota // by its caller
	witness                  // the caller has left, and the call goes on
	over
)

// run calls the client. Then it ends the call, which wakes the caller, waits until everything is told, and only then frees the
// place: who drains waits for that.
func (c *call) run() {
	defer c.store.places.free()
	defer c.expiring.Wait()
	defer c.cancel()
	var a answer
	err := errExited // until the client has returned
	defer func() {
		if c.end(a, err, false) == over { // it was abandoned
			c.store.abandoned.Add(-1)
		}
	}()
	a, err = c.store.run(c.ctx, c.request)
}

// await waits until the call is over. It reports false if the caller leaves before that.
func (c *call) await(caller context.Context) bool {
	select {
	case <-c.ctx.Done(): // the client has returned, or the deadline is over
		c.expire() // which does nothing if the client has returned
		return true
	case <-caller.Done():
		return c.leave() == over
	}
}

// expire ends a call whose client has not returned by the deadline.
func (c *call) expire() { c.end(answer{}, ErrDeadline, true) }

// end ends the call, unless it is over, with its result, and whether the client still runs. It returns the state before.
func (c *call) end(a answer, err error, clientRuns bool) (before callState) {
	c.mu.Lock()
	before = c.state
	if before == over {
		c.mu.Unlock()
		return over
	}
	c.state, c.result, c.err = over, a, err
	if clientRuns {
		c.store.abandoned.Add(1)
	}
	c.store.settle(c.ticket, c.request, a, err)
	c.mu.Unlock()
	if before == witness {
		c.store.hasWitness.Store(false)
		c.store.record(c.request, a, err)
	}
	return before
}

// leave makes the call the witness, or ends it, unless it is over. It returns the state before.
func (c *call) leave() (before callState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state == over:
		return over
	case c.store.hasWitness.CompareAndSwap(false, true):
		c.state = witness
		c.expiring.Add(1)
		context.AfterFunc(c.ctx, func() {
			defer c.expiring.Done()
			c.expire()
		})
		return awaited
	}
	c.state = over // it says nothing about the store
	c.store.abandoned.Add(1)
	c.store.breaker.Settle(c.ctx, c.ticket, policy.Outcome{Kind: policy.NotCalled})
	c.cancel()
	return awaited
}
