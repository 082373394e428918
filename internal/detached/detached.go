// Package detached runs calls on goroutines of their own, for policies whose callers may leave before a call has
// ended. The goroutines are bounded and counted; no panic among them ends the process, and none is lost.
package detached

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// Grace is how long a caller whose context has ended still waits for its calls. A call that honours its context ends
// sooner: then its own result reaches the caller, and nothing is left behind.
const Grace = 10 * time.Millisecond

// Config is what a group is told by its policy.
type Config struct {
	Limit     int                           // the most calls at a time, those left behind included
	OnPanic   func(value any, stack []byte) // is told of every panic, may be nil
	OnDiscard func(value any)               // releases what is discarded, may be nil
}

// Group is all detached calls of one policy.
type Group struct {
	mu     sync.Mutex
	config Config
	counts Counts
}

// NewGroup returns a group without calls.
func NewGroup(config Config) *Group { return &Group{config: config} }

// Configure changes the configuration. Calls that run already go on, also beyond a lower limit.
func (g *Group) Configure(config Config) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.config = config
}

// Counts tells of the calls of a group, at one moment.
type Counts struct {
	Running   int    // calls on goroutines of their own that have not ended
	Left      int    // those of them whose caller has left
	Panics    uint64 // panics that reached no caller
	Discarded uint64 // results that no caller got
}

// Counts returns one consistent value.
func (g *Group) Counts() Counts {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counts
}

// enter takes a place.
func (g *Group) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.counts.Running >= g.config.Limit {
		return false
	}
	g.counts.Running++
	return true
}

// Calls is the calls of one caller.
type Calls struct {
	group   *Group
	endings chan Ending

	mu      sync.Mutex
	started int
	ended   int
	left    bool
}

// Calls returns a new value for one caller, who will make n calls at most.
func (g *Group) Calls(n int) *Calls {
	return &Calls{group: g, endings: make(chan Ending, n)}
}

// Endings delivers the end of each call.
func (c *Calls) Endings() <-chan Ending { return c.endings }

// Go starts a call on a goroutine of its own, unless the group is full.
func (c *Calls) Go(call func() error) bool {
	if !c.group.enter() {
		return false
	}
	c.mu.Lock()
	index := c.started
	c.started++
	c.mu.Unlock()
	go c.run(index, call)
	return true
}

func (c *Calls) run(index int, call func() error) {
	ending := Ending{Index: index, exited: true}
	defer func() {
		if ending.exited {
			if value := recover(); value != nil {
				ending.exited = false
				ending.panicked = &panicked{value: value, stack: debug.Stack()}
			}
		}
		c.end(ending)
	}()
	ending.Err = call()
	ending.exited = false
}

// end delivers an ending, or drops it when the caller has left.
func (c *Calls) end(ending Ending) {
	c.mu.Lock()
	c.ended++
	left := c.left
	c.group.leave(left, left && ending.panicked != nil)
	if !left {
		c.endings <- ending // never waits: there is room for every call
	}
	c.mu.Unlock()
	if ending.panicked != nil {
		c.group.report(ending.panicked)
	}
}

// leave gives a place back.
func (g *Group) leave(left, lost bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.counts.Running--
	if left {
		g.counts.Left--
	}
	if lost {
		g.counts.Panics++
	}
}

// report offers a panic to the handler. A panic of the handler itself is dropped: no caller is left to get it.
func (g *Group) report(p *panicked) {
	g.mu.Lock()
	handle := g.config.OnPanic
	g.mu.Unlock()
	if handle == nil {
		return
	}
	defer func() { _ = recover() }()
	handle(p.value, p.stack)
}

// Discard hands a result that no caller gets to OnDiscard. A panic there has no caller to go to: it is counted and
// reported. OnDiscard has a goroutine of its own, which Discard waits for, so that [runtime.Goexit] in it ends nothing
// else: not the call that made the result, nor the caller who has another one.
func (g *Group) Discard(value any) {
	g.mu.Lock()
	g.counts.Discarded++
	release := g.config.OnDiscard
	g.mu.Unlock()
	if release == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if recovered := recover(); recovered != nil {
				stack := debug.Stack()
				g.mu.Lock()
				g.counts.Panics++
				g.mu.Unlock()
				g.report(&panicked{value: recovered, stack: stack})
			}
		}()
		release(value)
	}()
	<-done
}

// Leave says that the caller will take no further ending. It must be called once, at the end.
func (c *Calls) Leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
	lost := uint64(0)
	for len(c.endings) > 0 {
		if ending := <-c.endings; ending.panicked != nil {
			lost++
		}
	}
	if behind := c.started - c.ended; behind > 0 || lost > 0 {
		c.group.mu.Lock()
		defer c.group.mu.Unlock()
		c.group.counts.Left += behind
		c.group.counts.Panics += lost
	}
}

// Ending is how a call ended.
type Ending struct {
	Index int   // 0 for the call that was started first
	Err   error // of a call that returned

	panicked *panicked
	exited   bool
}

// Returned reports whether the call returned, as opposed to a panic and [runtime.Goexit].
func (e Ending) Returned() bool { return e.panicked == nil && !e.exited }

// Resume ends the caller as the call has ended: it returns the error, panics with the same value, or calls
// [runtime.Goexit]. It must be called on the caller's goroutine.
func (e Ending) Resume() error {
	switch {
	case e.panicked != nil:
		// A caller that recovers gets the second panic, with the very value of the call. Without one, a crash
		// prints both, and the first one shows where the panic came from.
		defer func() { panic(e.panicked.value) }()
		panic(e.panicked)
	case e.exited:
		runtime.Goexit()
	}
	return e.Err
}

// panicked is a panic on another goroutine.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string {
	return fmt.Sprintf("panic on another goroutine: %v\n\n%s", p.value, p.stack)
}

// Wait runs f on a goroutine of its own, waits for it, and returns how it ended.
func Wait(f func()) Ending {
	calls := NewGroup(Config{Limit: 1}).Calls(1)
	defer calls.Leave()
	calls.Go(func() error { f(); return nil })
	return <-calls.Endings()
}
