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

// modeSwitch is the mode and how it changes. It leaves Shared when the store has failed several times in a row, and returns with
// the first answer, but not before a probe interval has passed, so that a store that answers now and then makes no storm of
// changes.
//
// It has a count of its own, and does not follow the breaker towards the store. The breaker says whether to call the store: neither
// ErrBusy nor an error of a server that works, such as a missing permission, opens it. The mode says who decides: in both cases
// that is not the store. And a breaker closes as soon as a probe succeeds.
type modeSwitch struct {
	name     string       // of the limiter
	failures atomic.Int64 // in a row
	away     atomic.Bool  // from Shared

	mu        sync.Mutex
	present   Mode
	since     time.Time
	err       error
	changes   uint64
	waiting   []Change  // not delivered yet
	delivers  bool      // a goroutine is delivering
	lastLeft  time.Time // from Shared
	failure   Mode      // what the present mode is while the store does not answer
	listeners []func(Change)
}

// failed notes that the store did not answer.
func (m *modeSwitch) failed(err error) {
	if m.failures.Add(1) < failuresInARow || m.away.Load() {
		return
	}
	m.mu.Lock()
	if m.present == Shared {
		m.err = err
		m.change(m.failure, time.Now())
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
	if now := time.Now(); m.present != Shared && now.Sub(m.lastLeft) >= probe {
		m.err = nil
		m.change(Shared, now)
	}
	m.mu.Unlock()
	m.deliver()
}

// set sets who is told, and the failure mode, also while one is in force. The caller must deliver.
func (m *modeSwitch) set(failure Mode, listeners []func(Change)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failure, m.listeners = failure, listeners
	if m.present != Shared && m.present != failure {
		m.change(failure, time.Now())
	}
}

// change notes a change, and who is to be told of it. It is called with the lock held.
func (m *modeSwitch) change(to Mode, now time.Time) {
	if m.present == Shared {
		m.lastLeft = now
	}
	m.changes++
	if len(m.listeners) > 0 {
		if len(m.waiting) == maxWaiting { // a listener hangs
			m.waiting = m.waiting[1:]
		}
		m.waiting = append(m.waiting, Change{Number: m.changes, Name: m.name, From: m.present, To: to, At: now, Err: m.err})
	}
	m.present, m.since = to, now
	m.away.Store(to != Shared)
}

// deliver tells of all changes that wait, in order, unless another goroutine does already.
func (m *modeSwitch) deliver() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.delivers {
		return
	}
	m.delivers = true
	defer func() { m.delivers = false }()
	for len(m.waiting) > 0 {
		change := m.waiting[0]
		m.waiting = m.waiting[1:]
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
