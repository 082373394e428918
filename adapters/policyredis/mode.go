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

// maxUndelivered is how many changes wait for a listener that hangs. Of more, the last ones are kept.
const maxUndelivered = 1000

// Change is a change of mode.
type Change struct {
	Number   uint64 // of the change, from 1
	Name     string // of the limiter
	From, To Mode
	At       time.Time
	Err      error // the store's last error; nil when the store answers again
}

// modeSwitch is the mode and how it changes. It leaves Shared when the store has failed several times in a row. It returns with
// the first answer, but not before a probe interval has passed, so that a store that answers now and then makes no storm of
// changes.
//
// It has a count of its own, and does not follow the breaker towards the store. The breaker says whether to call the store:
// neither ErrBusy nor an error of a server that works, such as a missing permission, opens it. The mode says who decides: in
// both cases that is not the store. And a breaker closes as soon as a probe succeeds.
type modeSwitch struct {
	failures atomic.Int64 // in a row
	away     atomic.Bool  // from Shared: what last.To says, for those without the lock

	mu          sync.Mutex
	last        Change    // which has led to the present mode; with Number 0 it is that of a new limiter
	lastShared  time.Time // the end of Shared, when it was in force last
	failureMode Mode      // the mode while the store does not answer
	listeners   []func(Change)
	undelivered []Change
	delivering  bool // a goroutine delivers changes
}

// start makes Shared the first mode.
func (m *modeSwitch) start(name string) { m.last = Change{Name: name, To: Shared, At: time.Now()} }

// lastChange returns the change which has led to the present mode.
func (m *modeSwitch) lastChange() Change {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

// failed notes that the store did not answer.
func (m *modeSwitch) failed(err error) {
	if m.failures.Add(1) < failuresInARow || m.away.Load() {
		return
	}
	m.mu.Lock()
	if m.last.To == Shared {
		m.change(m.failureMode, err)
	}
	m.mu.Unlock()
	m.deliver()
}

// answered notes that the store has answered.
func (m *modeSwitch) answered(probe time.Duration) {
	if m.failures.Load() != 0 {
		m.failures.Store(0)
	}
	if !m.away.Load() {
		return
	}
	m.mu.Lock()
	if m.last.To != Shared && time.Since(m.lastShared) >= probe {
		m.change(Shared, nil)
	}
	m.mu.Unlock()
	m.deliver()
}

// set sets who is told, and the failure mode, also while one is in force. The caller must deliver.
func (m *modeSwitch) set(failureMode Mode, listeners []func(Change)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failureMode, m.listeners = failureMode, listeners
	if m.last.To != Shared && m.last.To != failureMode {
		m.change(failureMode, m.last.Err)
	}
}

// change makes a change, and notes that listeners are to be told of it. It is called with the lock held.
func (m *modeSwitch) change(to Mode, err error) {
	c := Change{Number: m.last.Number + 1, Name: m.last.Name, From: m.last.To, To: to, At: time.Now(), Err: err}
	if c.From == Shared {
		m.lastShared = c.At
	}
	m.last = c
	m.away.Store(to != Shared)
	if len(m.listeners) == 0 {
		return
	}
	if len(m.undelivered) == maxUndelivered { // a listener hangs
		m.undelivered = m.undelivered[1:]
	}
	m.undelivered = append(m.undelivered, c)
}

// deliver tells of all changes that wait, in order, unless another goroutine does already.
func (m *modeSwitch) deliver() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.delivering {
		return
	}
	m.delivering = true
	defer func() { m.delivering = false }()
	for len(m.undelivered) > 0 {
		change := m.undelivered[0]
		m.undelivered = m.undelivered[1:]
		m.tell(change)
	}
}

// tell calls the listeners. It is called with the lock held, which it gives up meanwhile.
func (m *modeSwitch) tell(change Change) {
	listeners := m.listeners
	m.mu.Unlock()
	defer m.mu.Lock() // also when a listener calls runtime.Goexit
	for _, f := range listeners {
		contained(func() { f(change) })
	}
}

// contained calls f, and drops its panic.
func contained(f func()) {
	defer func() { _ = recover() }()
	f()
}
