package policyredis

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Mode says who decides.
type Mode uint8

const (
	// Shared: the store decides, for all processes together.
	Shared Mode = iota
	// Local: the store does not answer, or only with errors, and each process keeps to its share; see [FailLocal].
	Local
	// Open: the same, and everything is admitted; see [FailOpen].
	Open
	// Closed: the same, and everything is refused; see [FailClosed].
	Closed
)

var modes = [...]string{"shared", "local", "fail open", "fail closed"}

// String returns the name of the mode in lower case.
func (m Mode) String() string {
	if int(m) < len(modes) {
		return modes[m]
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// MarshalText returns what String does.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// maxWaiting is how many changes wait for a listener that hangs. Of more, the last ones are kept.
const maxWaiting = 1000

// Change is a change of mode.
type Change struct {
	Number   uint64 // of the change, from 1
	Name     string // of the limiter
	From, To Mode
	At       time.Time
	Err      error // the store's last error; nil when the store answers again
}

// course is the mode and how it changes. It leaves Shared when the store has failed several times in a row, and returns with
// the first answer, but not before a probe interval has passed, so that a store that answers now and then makes no storm of
// changes.
type course struct {
	name     string       // of the limiter
	failures atomic.Int64 // in a row
	away     atomic.Bool  // from Shared

	mu        sync.Mutex
	mode      Mode
	since     time.Time
	err       error
	changes   uint64
	waiting   []Change // not delivered yet
	delivers  bool     // somebody delivers
	lastLeft  time.Time
	failure   Mode // in place of Shared
	listeners []func(Change)
}

// failed notes that the store did not answer.
func (c *course) failed(err error) {
	if c.failures.Add(1) < failuresInARow || c.away.Load() {
		return
	}
	c.mu.Lock()
	if c.mode == Shared {
		c.err = err
		c.change(c.failure, time.Now())
	}
	c.mu.Unlock()
	c.deliver()
}

// answered notes that the store has answered.
func (c *course) answered(every time.Duration) {
	if c.failures.Load() != 0 {
		c.failures.Store(0)
	}
	if !c.away.Load() {
		return
	}
	c.mu.Lock()
	if now := time.Now(); c.mode != Shared && now.Sub(c.lastLeft) >= every {
		c.err = nil
		c.change(Shared, now)
	}
	c.mu.Unlock()
	c.deliver()
}

// set sets who is told, and the failure mode, also while one is in force. It leaves the delivery to who calls.
func (c *course) set(failure Mode, listeners []func(Change)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure, c.listeners = failure, listeners
	if c.mode != Shared && c.mode != failure {
		c.change(failure, time.Now())
	}
}

// change is called with the lock held.
func (c *course) change(to Mode, now time.Time) {
	if c.mode == Shared {
		c.lastLeft = now
	}
	c.changes++
	if len(c.listeners) > 0 {
		if len(c.waiting) == maxWaiting { // a listener hangs
			c.waiting = c.waiting[1:]
		}
		c.waiting = append(c.waiting, Change{Number: c.changes, Name: c.name, From: c.mode, To: to, At: now, Err: c.err})
	}
	c.mode, c.since = to, now
	c.away.Store(to != Shared)
}

// deliver tells of all changes that wait, in order, unless somebody else does already.
func (c *course) deliver() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.delivers {
		return
	}
	c.delivers = true
	defer func() { c.delivers = false }()
	for len(c.waiting) > 0 {
		change := c.waiting[0]
		c.waiting = c.waiting[1:]
		c.tell(change)
	}
}

// tell is called with the lock held, which it gives up meanwhile.
func (c *course) tell(change Change) {
	listeners := c.listeners
	c.mu.Unlock()
	defer c.mu.Lock() // also when a listener calls runtime.Goexit
	for _, f := range listeners {
		contained(func() { f(change) })
	}
}

// contained calls f, and drops its panic.
func contained(f func()) {
	defer func() { _ = recover() }()
	f()
}
