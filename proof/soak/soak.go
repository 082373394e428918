package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

var errDown = errors.New("down")

const (
	perSecond  = 20_000
	burst      = 200
	mostSlots  = 48
	leastSlots = 4
	queue      = 16
	probes     = 3
)

// path is a pipeline that is soaked, and what is known about its calls and operations.
type path struct {
	name     string
	ledger   ledger
	pipeline *resilience.Pipeline
	running  atomic.Int64 // operations, and results that stay open

	opened    atomic.Uint64 // results that stayed open
	misled    atomic.Uint64 // permits or contexts that were not as they must be
	begotten  atomic.Int64  // contexts of operations
	deathless atomic.Int64  // those of them that have not ended
}

// dependency is what is soaked: the policies that stay on the goroutine of their caller, and those that do not.
type dependency struct {
	path
	breaker *breaker.Breaker
	limiter *ratelimit.Limiter
	slots   *bulkhead.Bulkhead
	retrier *retry.Retrier
	apart   *apart

	began  time.Time
	last   atomic.Uint64
	broken atomic.Uint64 // changes of the breaker that are no chain
	state  atomic.Uint32
}

func newDependency() *dependency {
	d := &dependency{path: path{name: "together"}, apart: newApart(), began: time.Now()}
	d.breaker = breaker.New(append(breakerOptions(500*time.Millisecond, 10, probes), breaker.OnChange(d.changed))...)
	d.limiter = ratelimit.New(perSecond, burst, limiterOptions()...)
	d.slots = bulkhead.New(mostSlots, slotOptions()...)
	d.retrier = retry.New(retrierOptions(3)...)
	d.pipeline = resilience.Compose(d.retrier, d.breaker, d.limiter, d.slots, timeout.Total(50*time.Millisecond),
		timeout.PerAttempt(3*time.Millisecond), resilience.Observe(&d.ledger))
	return d
}

// changed checks that changes form a chain, and then panics or exits now and then, as subscribers do.
func (d *dependency) changed(change breaker.Change) {
	if change.Number != d.last.Load()+1 || uint32(change.From) != d.state.Load() {
		d.broken.Add(1)
	}
	d.last.Store(change.Number)
	d.state.Store(uint32(change.To))
	switch change.Number % 16 {
	case 3:
		panic("a subscriber panics")
	case 7:
		runtime.Goexit()
	}
}

// soak runs for a while and returns what was soaked and every problem.
func soak(length time.Duration, workers int) (*dependency, []error) {
	before := runtime.NumGoroutine()
	d := newDependency()
	ctx, stop := context.WithTimeout(context.Background(), length)
	defer stop()
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for ctx.Err() == nil {
				d.call()
				d.apart.call()
			}
		})
	}
	running.Go(func() { d.interfere(ctx) })
	var problems problems
	running.Go(func() {
		for ctx.Err() == nil {
			d.check(&problems)
			time.Sleep(200 * time.Microsecond)
		}
	})
	running.Wait()
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // some operations have outlived their calls
	}
	problems.closing = true
	d.breaker.Reset()
	d.check(&problems)
	d.atRest(&problems)
	d.apart.atRest(&problems)
	for _, p := range d.paths() {
		for _, err := range p.ledger.balance() {
			problems.add(fmt.Errorf("%s: %w", p.name, err))
		}
	}
	if after := runtime.NumGoroutine(); after > before {
		problems.add(fmt.Errorf("%d goroutines before and %d after", before, after))
	}
	return d, problems.all
}

func (d *dependency) paths() []*path { return []*path{&d.path, &d.apart.path} }

// String returns the ledgers.
func (d *dependency) String() string {
	text := ""
	for _, p := range d.paths() {
		text += fmt.Sprintf("%s:\n%vopen results  %d\n", p.name, &p.ledger, p.opened.Load())
	}
	return text
}

// problems is what went wrong: the first few during the run, and everything at its end.
type problems struct {
	mu      sync.Mutex
	all     []error
	closing bool
}

func (p *problems) add(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing || len(p.all) < 20 {
		p.all = append(p.all, err)
	}
}

// call makes one call, on a goroutine of its own, which it may end.
func (p *path) call() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx := context.Background()
		if rand.IntN(8) == 0 {
			limited, cancel := context.WithCancel(ctx)
			timer := time.AfterFunc(time.Duration(rand.Int64N(int64(2*time.Millisecond))), cancel)
			defer cancel()
			defer timer.Stop()
			ctx = limited
		}
		p.ledger.calls.begun.Add(1)
		end := exited
		defer func() {
			if recover() != nil {
				end = panicked
			}
			p.ledger.calls.end(end)
		}()
		if rand.IntN(3) == 0 {
			end = fateOfError(p.open(ctx))
		} else {
			end = fateOfError(p.pipeline.Run(ctx, p.operate))
		}
		if end == refused {
			time.Sleep(100 * time.Microsecond) // or there would be little else
		}
	}()
	<-done
}

// open makes a call whose result stays open for a while, and settles it in one of the ways in which that happens.
func (p *path) open(ctx context.Context) error {
	_, permit, err := resilience.Open(ctx, p.pipeline, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, p.operate(ctx)
	})
	if (err == nil) != (permit != nil) || err != nil && permit.Done(nil) {
		p.misled.Add(1)
	}
	if err != nil {
		return err
	}
	p.opened.Add(1)
	p.running.Add(1)
	work := permit.Context()
	if rand.IntN(4) == 0 {
		time.Sleep(time.Duration(rand.Int64N(int64(5 * time.Millisecond)))) // longer than an attempt may take
	}
	settle := func() {
		p.running.Add(-1) // before the slot is free
		var first bool
		switch rand.IntN(8) {
		case 0:
			first = permit.Done(errDown)
		case 1:
			first = permit.Settle(policy.Outcome{Kind: policy.Panicked})
		case 2:
			first = permit.Settle(policy.Outcome{Kind: policy.Exited})
		case 3:
			first = permit.Done(work.Err())
		default:
			first = permit.Done(nil)
		}
		if !first || permit.Done(errDown) || work.Err() == nil {
			p.misled.Add(1)
		}
	}
	if rand.IntN(4) == 0 {
		go settle()
	} else {
		settle()
	}
	return nil
}

// operate is the operation.
func (p *path) operate(ctx context.Context) (err error) {
	p.begotten.Add(1)
	p.deathless.Add(1)
	context.AfterFunc(ctx, func() { p.deathless.Add(-1) })
	p.running.Add(1)
	defer p.running.Add(-1)
	p.ledger.attempts.begun.Add(1)
	end := exited
	defer func() { p.ledger.attempts.end(end) }()
	defer func() {
		if recovered := recover(); recovered != nil {
			end = panicked
			panic(recovered)
		}
	}()
	err = act(ctx)
	end = fateOfError(err)
	return err
}

// act ends in one of the ways in which operations end.
func act(ctx context.Context) error {
	switch draw := rand.IntN(1000); {
	case draw < 10:
		panic("the operation panics")
	case draw < 20:
		runtime.Goexit()
	case draw < 250:
		return errDown
	case draw < 260: // hangs until somebody has had enough
		<-ctx.Done()
		return ctx.Err()
	case draw < 300: // does not look at its context
		time.Sleep(time.Duration(rand.Int64N(int64(4 * time.Millisecond))))
	case draw < 600:
		runtime.Gosched()
	}
	return nil
}

// interfere does what operators do, until ctx ends.
func (d *dependency) interfere(ctx context.Context) {
	for ctx.Err() == nil {
		d.apart.interfere()
		switch rand.IntN(12) {
		case 0:
			d.breaker.Trip()
		case 1:
			d.breaker.Reset()
		case 2:
			d.breaker.ForceOpen()
			time.Sleep(time.Millisecond)
			d.breaker.Reset()
		case 3:
			d.breaker.ForceClosed()
		case 4:
			d.breaker.Shadow()
			time.Sleep(time.Millisecond)
			d.breaker.Enforce()
		default:
			d.reconfigure()
		}
		time.Sleep(time.Duration(rand.Int64N(int64(3 * time.Millisecond))))
	}
}

// What a policy is made with is given again whenever it is reconfigured.

func breakerOptions(window time.Duration, buckets, probes int) []breaker.Option {
	return []breaker.Option{breaker.FailureRate(0.6, 50), breaker.TimeWindow(window, buckets), breaker.OpenFor(5 * time.Millisecond),
		breaker.Probes(probes), breaker.Successes(2)}
}

func limiterOptions() []ratelimit.Option {
	return []ratelimit.Option{ratelimit.MaxWait(2 * time.Millisecond)}
}

func slotOptions() []bulkhead.Option {
	return []bulkhead.Option{bulkhead.Queue(queue, 2*time.Millisecond)}
}

func retrierOptions(attempts int) []retry.Option {
	return []retry.Option{retry.Attempts(attempts), retry.Constant(100 * time.Microsecond), retry.RetryRejections(bulkhead.ErrFull)}
}

// reconfigure changes what is not checked to be constant.
func (d *dependency) reconfigure() {
	for _, err := range []error{
		d.slots.Reconfigure(leastSlots+rand.IntN(mostSlots-leastSlots+1), slotOptions()...),
		d.limiter.Reconfigure(perSecond, 1+rand.IntN(burst), limiterOptions()...),
		d.breaker.Reconfigure(breakerOptions(time.Duration(100+rand.IntN(900))*time.Millisecond, 1+rand.IntN(20), 1+rand.IntN(probes))...),
		d.retrier.Reconfigure(retrierOptions(2 + rand.IntN(3))...),
	} {
		if err != nil {
			panic(err)
		}
	}
}

// check is the invariants that hold at every moment.
func (d *dependency) check(p *problems) {
	d.apart.check(p)
	if s := d.breaker.Snapshot(); s.Requests != s.Successes+s.Failures+s.Neutral+s.Stale+s.InFlight {
		p.add(fmt.Errorf("I8: the breaker's requests do not add up: %+v", s))
	} else if s.Probes > probes {
		p.add(fmt.Errorf("I1: %d probes in flight", s.Probes))
	}
	if n := d.broken.Load(); n > 0 {
		p.add(fmt.Errorf("I7: %d changes of the breaker break the chain", n))
	}
	if s := d.slots.Snapshot(); s.PeakInFlight > mostSlots || s.Waiting > queue {
		p.add(fmt.Errorf("the bulkhead holds too much: %+v", s))
	}
	if n := d.running.Load(); n > mostSlots {
		p.add(fmt.Errorf("%d operations run at a time, the bulkhead allows %d", n, mostSlots))
	}
	s := d.limiter.Snapshot()
	if s.Tokens < 0 || s.Tokens > float64(s.Burst) {
		p.add(fmt.Errorf("the limiter holds %v tokens of %d", s.Tokens, s.Burst))
	}
	if most := burst + perSecond*time.Since(d.began).Seconds(); float64(s.Admitted-s.Returned) > most {
		p.add(fmt.Errorf("the limiter admitted %d, more than %.0f", s.Admitted-s.Returned, most))
	}
}

// atRest is what holds of the operations when nobody calls any more.
func (p *path) atRest(problems *problems) {
	if n := p.running.Load(); n != 0 {
		problems.add(fmt.Errorf("%s: at rest %d operations run", p.name, n))
	}
	if n := p.deathless.Load(); n != 0 {
		problems.add(fmt.Errorf("%s: at rest %d contexts of %d operations have not ended", p.name, n, p.begotten.Load()))
	}
	if n := p.misled.Load(); n != 0 {
		problems.add(fmt.Errorf("%s: %d permits or their contexts were not as they must be", p.name, n))
	}
}

// atRest is what holds when nobody calls any more.
func (d *dependency) atRest(p *problems) {
	if s := d.slots.Snapshot(); s.InFlight != 0 || s.Waiting != 0 {
		p.add(fmt.Errorf("at rest the bulkhead holds %+v", s))
	}
	if s := d.limiter.Snapshot(); s.Waiting != 0 {
		p.add(fmt.Errorf("at rest %d wait for tokens", s.Waiting))
	}
	if s := d.breaker.Snapshot(); s.InFlight != 0 {
		p.add(fmt.Errorf("at rest the breaker has %d probes", s.InFlight))
	}
	for _, path := range d.paths() {
		path.atRest(p)
	}
	if entered, admitted := d.ledger.attempts.begun.Load(), d.limiter.Snapshot(); entered != admitted.Admitted-admitted.Returned {
		p.add(fmt.Errorf("%d operations were entered, and %d tokens spent", entered, admitted.Admitted-admitted.Returned))
	}
}
