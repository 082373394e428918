// Package detached runs functions on goroutines of their own, for policies whose callers may leave before a run has
// ended: the attempts of a hedge, the operation of an abandoning timeout. The goroutines are bounded and counted; no
// panic among them ends the process, and none is lost.
package detached

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// Grace is how long a caller whose context has ended still waits for its runs. A run that honours its context ends
// sooner: then its own result reaches the caller, and nothing is left behind.
const Grace = 10 * time.Millisecond

// Config is what a group is told by its policy.
type Config struct {
	Limit     int                           // the most runs at a time, those left behind included
	OnPanic   func(value any, stack []byte) // is told of every panic, may be nil
	OnDiscard func(value any)               // releases what is discarded, may be nil
}

// Group is all runs of one policy.
type Group struct {
	mu     sync.Mutex
	config Config
	counts Counts
}

// NewGroup returns a group without runs.
func NewGroup(config Config) *Group { return &Group{config: config} }

// Configure changes the configuration. Runs that have begun go on, also beyond a lower limit.
func (g *Group) Configure(config Config) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.config = config
}

// Counts tells of the runs of a group, at one moment.
type Counts struct {
	Running   int    // runs that have not ended
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

// admit counts a run that is to begin, unless the group is full.
func (g *Group) admit() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.counts.Running >= g.config.Limit {
		return false
	}
	g.counts.Running++
	return true
}

func (g *Group) count(change func(*Counts)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(&g.counts)
}

// Runs is the runs of one caller, on whose goroutine its methods must be called. Its mutex is taken before that of the group.
type Runs struct {
	group   *Group
	endings chan Ending
	started int // belongs to the caller

	mu    sync.Mutex
	ended int
	left  bool // the caller has
}

// Runs returns a new value for one caller, who will start n runs at most.
func (g *Group) Runs(n int) *Runs {
	return &Runs{group: g, endings: make(chan Ending, n)}
}

// Endings delivers the end of each run.
func (r *Runs) Endings() <-chan Ending { return r.endings }

// Go runs f on a goroutine of its own, unless the group is full.
func (r *Runs) Go(f func() error) bool {
	if !r.group.admit() {
		return false
	}
	go r.run(r.started, f)
	r.started++
	return true
}

func (r *Runs) run(index int, f func() error) {
	ending := Ending{Index: index, exited: true}
	defer func() {
		if ending.exited {
			if value := recover(); value != nil {
				ending.exited = false
				ending.panicked = &panicked{value: value, stack: debug.Stack()}
			}
		}
		r.end(ending)
	}()
	ending.Err = f()
	ending.exited = false
}

// end delivers an ending, or drops it when the caller has left.
//
// All of it happens in one piece, before Leave or after it: a run that ends before is not counted as left, and Leave finds
// its ending in the channel; one that ends after takes back what Leave has counted. The place is given back before the
// ending is delivered, so that a caller who has all endings sees none of its runs in Counts.
func (r *Runs) end(ending Ending) {
	r.mu.Lock()
	r.ended++
	r.group.count(func(c *Counts) {
		c.Running--
		if r.left {
			c.Left--
		}
		if r.left && ending.panicked != nil {
			c.Panics++
		}
	})
	if !r.left {
		r.endings <- ending // never waits: there is room for every run
	}
	r.mu.Unlock()
	if ending.panicked != nil {
		r.group.report(ending.panicked)
	}
}

// report offers a panic to OnPanic. How that ends itself is dropped: no caller is left to get a panic of it, and
// [runtime.Goexit] ends nothing else.
func (g *Group) report(p *panicked) {
	g.mu.Lock()
	handle := g.config.OnPanic
	g.mu.Unlock()
	if handle != nil {
		Wait(func() { handle(p.value, p.stack) })
	}
}

// Discard hands a result that no caller gets to OnDiscard, and waits for it. A panic there has no caller to go to: it is
// counted and reported. [runtime.Goexit] there ends nothing else: not the run that made the result, nor the caller who
// has another one.
func (g *Group) Discard(value any) {
	g.mu.Lock()
	g.counts.Discarded++
	release := g.config.OnDiscard
	g.mu.Unlock()
	if release == nil {
		return
	}
	if ending := Wait(func() { release(value) }); ending.panicked != nil {
		g.count(func(c *Counts) { c.Panics++ })
		g.report(ending.panicked)
	}
}

// Leave says that the caller will take no further ending. It must be called once, at the end.
func (r *Runs) Leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = true
	untaken := uint64(0) // panics
	for len(r.endings) > 0 {
		if ending := <-r.endings; ending.panicked != nil {
			untaken++
		}
	}
	if running := r.started - r.ended; running > 0 || untaken > 0 {
		r.group.count(func(c *Counts) {
			c.Left += running
			c.Panics += untaken
		})
	}
}

// Ending is how a run ended.
type Ending struct {
	Index int   // 0 for the run that was started first
	Err   error // of a run that returned

	panicked *panicked
	exited   bool
}

// Returned reports whether the run returned, as opposed to a panic and [runtime.Goexit].
func (e Ending) Returned() bool { return e.panicked == nil && !e.exited }

// Resume ends the caller as the run has ended: it returns the error, panics with the same value, or calls
// [runtime.Goexit]. It must be called on the caller's goroutine.
func (e Ending) Resume() error {
	switch {
	case e.panicked != nil:
		// A caller that recovers gets the second panic, with the very value of the run. Without one, a crash
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
	runs := NewGroup(Config{Limit: 1}).Runs(1)
	defer runs.Leave()
	runs.Go(func() error { f(); return nil })
	return <-runs.Endings()
}
