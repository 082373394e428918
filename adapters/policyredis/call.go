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
	store *store
	request
	ctx    context.Context // ends at the deadline, or when the call is over
	cancel context.CancelFunc
	ticket policy.Ticket // of the breaker

	mu     sync.Mutex
	over   bool
	answer answer // answer and err are what it has brought, once it is over
	err    error

	expiring sync.WaitGroup // the end of a witness at its deadline, on a goroutine of its own
}

// run calls the client.
func (c *call) run() {
	defer c.store.places.free() // who drains waits for this,
	defer c.expiring.Wait()     // and so for what is told
	defer c.cancel()            // wakes the caller, to whom the call is over now
	var a answer
	err := errExited // until the client has returned
	defer func() {
		if !c.end(a, err, false) { // it was abandoned
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
		return !c.leave()
	}
}

// expire ends a call whose client has not returned by the deadline.
func (c *call) expire() { c.end(answer{}, ErrDeadline, true) }

// end ends the call with what it has brought, and whether the client still runs. It reports false if the call was over already.
func (c *call) end(a answer, err error, clientRuns bool) bool {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return false
	}
	c.over, c.answer, c.err = true, a, err
	if clientRuns {
		c.store.abandoned.Add(1)
	}
	c.store.settle(c.ticket, c.request, a, err)
	c.mu.Unlock()
	if c.store.witness.CompareAndSwap(c, nil) {
		c.store.record(c.request, a, err)
	}
	return true
}

// leave makes the call the witness, or ends it. It reports false if the call was over already.
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
	c.over = true // it says nothing about the store
	c.store.abandoned.Add(1)
	c.store.breaker.Settle(c.ctx, c.ticket, policy.Outcome{Kind: policy.NotCalled})
	c.cancel()
	return true
}
