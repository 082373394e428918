package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
)

const (
	tenants    = 40
	places     = 16 // for their breakers
	mostHedged = 200
	mostLeft   = 100
)

// apart is the policies whose operations may outlive their calls, and others that are not in the first pipeline.
type apart struct {
	path
	throttle  *throttle.Throttle
	breakers  *keyed.Registry[int, *breaker.Breaker]
	hedge     *hedge.Hedge
	abandoner *timeout.Abandoner
	slots     *bulkhead.Bulkhead
	budget    *retry.Budget
	retrier   *retry.Retrier
	discarded atomic.Uint64 // results
}

func newApart() *apart {
	a := &apart{path: path{name: "apart"}}
	discard := func(any) {
		if a.discarded.Add(1)%16 == 3 {
			panic("what releases a result panics")
		}
	}
	a.budget = retry.NewBudget(0.2, 2000)
	// A quarter of the operations fail: with a K of 1.1 that is enough for refusals, on a slow machine too.
	a.throttle = throttle.New(throttleOptions(20)...)
	a.breakers = keyed.New(func(int) *breaker.Breaker {
		return breaker.New(breaker.FailureRate(0.7, 20), breaker.CountWindow(50), breaker.OpenFor(2*time.Millisecond))
	}, keyed.Max(places), keyed.Idle(20*time.Millisecond))
	a.hedge = hedge.New(append(hedgeOptions(2), hedge.WithBudget(a.budget), hedge.OnDiscard(discard))...)
	a.abandoner = timeout.Abandon(2*time.Millisecond, timeout.MaxRunning(mostLeft), timeout.OnDiscard(discard))
	a.slots = bulkhead.Adaptive(bulkhead.AIMD(5*time.Millisecond), leastSlots, mostSlots, bulkhead.Queue(queue, time.Millisecond))
	a.retrier = retry.New(retry.Attempts(2), retry.Constant(100*time.Microsecond), retry.WithBudget(a.budget))
	tenant := func(context.Context) int { return rand.IntN(tenants) }
	a.pipeline = resilience.Compose(a.retrier,
		a.throttle, keyed.By(tenant, a.breakers), a.hedge, a.abandoner, a.slots, resilience.Observe(&a.ledger))
	return a
}

// interfere does what operators do.
func (a *apart) interfere() {
	switch tenant := rand.IntN(tenants); rand.IntN(5) {
	case 0:
		a.breakers.Delete(tenant)
	case 1:
		a.breakers.Get(tenant).Trip()
	case 2:
		a.breakers.Get(tenant).Reset()
	case 3:
		a.reconfigure()
	}
}

func throttleOptions(buckets int) []throttle.Option {
	return []throttle.Option{throttle.K(1.1), throttle.Window(200*time.Millisecond, buckets)}
}

func hedgeOptions(extra int) []hedge.Option {
	return []hedge.Option{hedge.After(500 * time.Microsecond), hedge.Extra(extra), hedge.Idempotent(), hedge.MaxRunning(mostHedged)}
}

// reconfigure changes what is not checked to be constant.
func (a *apart) reconfigure() {
	for _, err := range []error{
		a.throttle.Reconfigure(throttleOptions(10 + rand.IntN(20))...),
		a.hedge.Reconfigure(hedgeOptions(1 + rand.IntN(3))...),
		a.abandoner.Reconfigure(time.Duration(1000+rand.IntN(2000))*time.Microsecond, timeout.MaxRunning(mostLeft)),
		a.slots.ReconfigureAdaptive(bulkhead.AIMD(5*time.Millisecond), leastSlots, mostSlots-rand.IntN(mostSlots/2), bulkhead.Queue(queue, time.Millisecond)),
		a.budget.Reconfigure(0.1+0.2*rand.Float64(), 2000),
		a.retrier.Reconfigure(retry.Attempts(2+rand.IntN(2)), retry.Constant(100*time.Microsecond)),
	} {
		if err != nil {
			panic(err)
		}
	}
}

// check is the invariants that hold at every moment.
func (a *apart) check(p *problems) {
	for tenant, b := range a.breakers.All() {
		if s := b.Snapshot(); s.Requests != s.Successes+s.Failures+s.Neutral+s.Stale+s.InFlight {
			p.add(fmt.Errorf("I8: the requests of the breaker of tenant %d do not add up: %+v", tenant, s))
		}
	}
	if n := a.breakers.Len(); n > places {
		p.add(fmt.Errorf("there are %d breakers in %d places", n, places))
	}
	if s := a.slots.Snapshot(); s.Limit < leastSlots || s.Limit > mostSlots || s.PeakInFlight > mostSlots || s.Waiting > queue {
		p.add(fmt.Errorf("the adaptive bulkhead holds too much: %+v", s))
	}
	if n := a.running.Load(); n > mostSlots {
		p.add(fmt.Errorf("%d operations run at a time, the adaptive bulkhead allows %d", n, mostSlots))
	}
	if s := a.hedge.Snapshot(); s.Running > mostHedged || s.Left > s.Running {
		p.add(fmt.Errorf("the hedge runs too much: %+v", s))
	}
	if s := a.abandoner.Snapshot(); s.Running > mostLeft || s.Abandoned > s.Running {
		p.add(fmt.Errorf("the abandoning timeout runs too much: %+v", s))
	}
	if s := a.throttle.Snapshot(); s.Requests < 0 || s.Accepts < 0 || s.Probability < 0 || s.Probability >= 1 {
		p.add(fmt.Errorf("the throttle is out of order: %+v", s))
	}
}

// atRest is what holds when nobody calls any more and every operation has ended.
func (a *apart) atRest(p *problems) {
	if s := a.slots.Snapshot(); s.InFlight != 0 || s.Waiting != 0 {
		p.add(fmt.Errorf("at rest the adaptive bulkhead holds %+v", s))
	}
	if s := a.hedge.Snapshot(); s.Running != 0 || s.Left != 0 {
		p.add(fmt.Errorf("at rest the hedge has %+v", s))
	}
	if s := a.abandoner.Snapshot(); s.Running != 0 || s.Abandoned != 0 {
		p.add(fmt.Errorf("at rest the abandoning timeout has %+v", s))
	}
	// Every result has one owner.
	made, got := a.ledger.attempts.ended[succeeded].Load(), a.ledger.calls.ended[succeeded].Load()
	if discarded := a.discarded.Load(); made != got+discarded {
		p.add(fmt.Errorf("%d operations succeeded, but callers got %d results and %d were discarded", made, got, discarded))
	}
}
