package policyredis

import (
	"context"
	"sync"

	"github.com/go-resilience/resilience/policy"
)

// maxRunning bounds the calls to a store that run at a time, and with them the goroutines.
const maxRunning = 10_000

// places are for the calls that run.
type places struct {
	mu        sync.Mutex
	taken     int
	announced int           // calls that are about to be made
	unused    chan struct{} // closed when there are neither; nil when nobody waits for that
}

// take takes a place, and reports false if there is none.
func (p *places) take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken == maxRunning {
		return false
	}
	p.taken++
	return true
}

// free gives a place back.
func (p *places) free() { p.leave(&p.taken) }

// announce calls f, which is about to make a call: who drains waits for f, too.
func (p *places) announce(f func()) {
	p.mu.Lock()
	p.announced++
	p.mu.Unlock()
	defer p.leave(&p.announced)
	f()
}

// leave takes one off a count, and tells those who drain if it was the last of all.
func (p *places) leave(count *int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*count--
	if p.empty() && p.unused != nil {
		close(p.unused)
		p.unused = nil
	}
}

// empty is called with the lock held.
func (p *places) empty() bool { return p.taken+p.announced == 0 }

func (p *places) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

// drain waits until no call runs or is about to, or ctx has ended.
func (p *places) drain(ctx context.Context) error {
	p.mu.Lock()
	if p.empty() {
		p.mu.Unlock()
		return nil
	}
	if p.unused == nil {
		p.unused = make(chan struct{})
	}
	unused := p.unused
	p.mu.Unlock()
	select {
	case <-unused:
		return nil
	case <-ctx.Done():
		return policy.ContextError(ctx)
	}
}
