package sim

import (
	"fmt"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/go-resilience/resilience/lab/internal/bubble"
)

// World is a simulated world. A model uses it only while it is set up and from within its actors and events.
type World struct {
	seed  uint64
	start time.Time
	turn  atomic.Uint64 // how often everybody was blocked: a turn lasts from one such moment to the next

	mu       sync.Mutex
	agenda   agenda
	idle     bool          // the scheduler is blocked and must hear of a new entry
	news     chan struct{} // how it hears
	living   int           // actors that have not ended
	serial   uint64        // of the world's own events
	actors   uint64        // numbers given out
	problems []error
	idlers   []*player     // who have nothing to play
	apart    time.Duration // the last that set a call apart from others, in half nanoseconds

	hash   hash
	events atomic.Int64
	audits []func() error
}

// Record is what is left of a world when it has ended.
type Record struct {
	Hash    uint64        // of everything that happened, in order: equal for equal runs
	Events  int64         // how much happened
	Elapsed time.Duration // virtual time
}

// maxEvents ends a world that runs away.
const maxEvents = 1 << 31

// patience is the real time without an event after which a world counts as stuck: something blocks in a way that
// virtual time does not see, such as a lock that is held during a wait.
const patience = 60 * time.Second

// Run makes a world from seed, lets model set it up, and runs it until the load has ended and every call has returned.
// It may be called from several goroutines at once.
//
// The error says what went wrong with the simulation: a panic, goroutines that were blocked for ever or left over, or
// an accounting identity that did not hold.
func Run(seed uint64, model func(*World)) (Record, error) {
	w := &World{seed: seed, hash: newHash()}
	var record Record
	ended := make(chan error, 1)
	go func() {
		ended <- bubble.Run(func() {
			w.start = time.Now()
			w.news = make(chan struct{}, 1)
			model(w)
			w.run()
			w.dismiss()
			record = Record{Hash: uint64(w.hash), Events: w.events.Load(), Elapsed: w.Now()}
		})
	}()
	seen := int64(-1)
	watch := time.NewTicker(patience)
	defer watch.Stop()
	for {
		select {
		case err := <-ended:
			if err == nil {
				err = w.audit()
			}
			return record, err
		case <-watch.C:
			if now := w.events.Load(); now == seen {
				return Record{}, fmt.Errorf("sim: stuck: nothing has happened for %v of real time", patience)
			} else {
				seen = now
			}
		}
	}
}

// audit asks, after the end, whether all accounts are in order.
func (w *World) audit() error {
	if len(w.problems) > 0 {
		return w.problems[0]
	}
	for _, check := range w.audits {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// Now returns the time since the world began.
func (w *World) Now() time.Duration { return time.Since(w.start) }

// At calls event at a time, or at once if that has passed. The world does not end before. event must not block.
func (w *World) At(at time.Duration, event func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at(at, event, leaving, false)
}

// arriveAt is At for a call that comes.
func (w *World) arriveAt(at time.Duration, event func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at(at, event, arriving, false)
}

// background is At for an event that nobody waits for: the world may end before.
func (w *World) background(at time.Duration, event func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at(at, event, leaving, true)
}

func (w *World) at(at time.Duration, event func(), rank rank, background bool) {
	w.serial++
	w.push(entry{due: max(at, w.Now()), rank: rank, serial: w.serial, event: event, background: background})
}

// Every calls event at each multiple of period, for as long as there is anything else to happen.
func (w *World) Every(period time.Duration, event func(at time.Duration)) {
	at := time.Duration(0)
	var tick func()
	schedule := func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		at += period
		w.at(at, tick, leaving, true)
	}
	tick = func() {
		event(at)
		schedule()
	}
	schedule()
}

// push puts an entry on the agenda. The caller holds the lock.
func (w *World) push(e entry) {
	w.agenda.push(e)
	w.tell()
}

// tell lets a scheduler that is blocked look again. The caller holds the lock.
func (w *World) tell() {
	if w.idle {
		w.idle = false
		w.news <- struct{}{} // has room: it was empty when the scheduler went idle
	}
}

// run is the scheduler. It returns when no actor lives and nothing but background events is left.
func (w *World) run() {
	timer := time.NewTimer(0)
	timer.Stop()
	defer timer.Stop()
	for {
		synctest.Wait() // now every other goroutine is blocked
		w.turn.Add(1)
		w.mu.Lock()
		next, wait, over := w.next()
		if over || len(w.problems) > 0 {
			w.mu.Unlock()
			return
		}
		w.idle = wait > 0
		w.mu.Unlock()
		if wait > 0 {
			w.rest(timer, wait)
			continue
		}
		if w.events.Add(1) > maxEvents {
			panic(fmt.Sprintf("sim: more than %d events", int64(maxEvents)))
		}
		w.hash.add(uint64(next.due), next.call, next.child, next.serial)
		if next.event != nil {
			next.event()
		} else {
			next.actor.wake <- struct{}{} // it is blocked on the other end
		}
	}
}

// rest blocks until the next entry is due or there is a new one.
func (w *World) rest(timer *time.Timer, wait time.Duration) {
	if wait == forever { // without a timer, so that synctest can tell that everybody is stuck
		<-w.news
		return
	}
	timer.Reset(wait)
	select {
	case <-timer.C:
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.idle { // news came at the same instant
			<-w.news
		}
		w.idle = false
	case <-w.news:
		timer.Stop()
	}
}

// forever is a wait for an entry that does not exist yet.
const forever = time.Duration(math.MaxInt64)

// next takes the entry that is due off the agenda, or returns how long to wait for one. The caller holds the lock.
func (w *World) next() (next entry, wait time.Duration, over bool) {
	for w.agenda.len() > 0 && w.agenda.top().dead() {
		w.agenda.pop()
	}
	switch {
	case w.living == 0 && w.agenda.foreground == 0:
		return next, 0, true
	case w.agenda.len() == 0:
		return next, forever, false
	}
	if wait := w.agenda.top().due - w.Now(); wait > 0 {
		return next, wait, false
	}
	return w.agenda.pop(), 0, false
}

// guard runs f, and turns a panic or runtime.Goexit into a problem of the world: in a goroutine of a bubble they
// would end the program.
func (w *World) guard(who string, f func()) {
	returned := false
	defer func() {
		if recovered := recover(); recovered != nil {
			w.problem(fmt.Errorf("sim: %s: panic: %v\n%s", who, recovered, debug.Stack()))
		} else if !returned {
			w.problem(fmt.Errorf("sim: %s: runtime.Goexit", who))
		}
	}()
	f()
	returned = true
}

func (w *World) problem(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, err)
}
