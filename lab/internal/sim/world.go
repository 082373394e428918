package sim

import (
	"fmt"
	"math"
	"runtime"
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
	start int64         // when it began, in nanoseconds
	turn  atomic.Uint64 // how often everybody was blocked: a turn lasts from one such moment to the next

	mu       sync.Mutex
	agenda   agenda
	alarm    time.Duration // until when the scheduler sleeps
	news     chan struct{} // how it hears of an entry when it waits for one without an alarm
	over     bool
	ended    time.Duration // when it was over
	living   int           // actors that have not ended
	quiet    int           // of these, who wait for nothing but their entry
	loose    bool          // somebody has left an attempt behind, which may wait for anything
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
// virtual time does not see, such as a lock that is held during a wait. In a browser, where the runtime asks for the time at
// every switch as long as there is a timer and the answer is dear, nobody watches: the page does.
const patience = 60 * time.Second

// Run makes a world from seed, lets model set it up, and runs it until the load has ended and every call has returned.
// It may be called from several goroutines at once.
//
// The error says what went wrong with the simulation: a panic, goroutines that were blocked for ever or left over, or
// an accounting identity that did not hold.
func Run(seed uint64, model func(*World)) (Record, error) {
	w := &World{seed: seed, hash: newHash(), alarm: awake}
	var record Record
	ended := make(chan error, 1)
	go func() {
		ended <- bubble.Run(func() {
			w.start = time.Now().UnixNano()
			w.news = make(chan struct{}, 1)
			model(w)
			w.run(forever)
			w.dismiss()
			record = Record{Hash: uint64(w.hash), Events: w.events.Load(), Elapsed: w.ended}
		})
	}()
	seen := int64(-1)
	var watch <-chan time.Time
	if runtime.GOOS != "js" {
		ticker := time.NewTicker(patience)
		defer ticker.Stop()
		watch = ticker.C
	}
	for {
		select {
		case err := <-ended:
			if err == nil {
				err = w.audit()
			}
			return record, err
		case <-watch:
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
func (w *World) Now() time.Duration { return time.Duration(time.Now().UnixNano() - w.start) }

// At calls event at a time, or at once if that has passed. The world does not end before. event must not block.
func (w *World) At(at time.Duration, event func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at(at, entry{event: event, rank: leaving})
}

// arriveAt is At for a call that comes.
func (w *World) arriveAt(at time.Duration, event func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at(at, entry{event: event, rank: arriving})
}

// background is At for an event that nobody waits for, and that wakes nobody: the world may end before.
func (w *World) background(at time.Duration, event func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at(at, entry{event: event, rank: leaving, background: true, wakesNobody: true})
}

func (w *World) at(at time.Duration, e entry) {
	w.serial++
	e.due, e.serial = max(at, w.Now()), w.serial
	w.push(e)
}

// Every calls event at each multiple of period, for as long as there is anything else to happen.
func (w *World) Every(period time.Duration, event func(at time.Duration)) {
	at := time.Duration(0)
	var tick func()
	schedule := func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		at += period
		w.at(at, entry{event: tick, rank: leaving, background: true})
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
	if e.due < w.alarm {
		w.hurry()
	}
}

// hurry has somebody look at the agenda though the scheduler may be asleep. The caller holds the lock.
func (w *World) hurry() {
	alarm := w.alarm
	w.alarm = awake
	switch {
	case alarm <= w.Now(): // it is awake, or wakes at this instant
	case alarm == forever:
		w.news <- struct{}{} // has room: the scheduler waits for it
	default:
		go w.guard("event", func() { w.run(alarm) })
	}
}

// run is the scheduler. It returns when the world is over.
//
// Until the next entry is due it sleeps, and a sleep cannot be cut short; a timer could be, but costs twice as much. So when
// someone whom a policy's timer has woken puts an earlier entry on the agenda, a deputy does what is due until the sleeper
// wakes, and returns then.
func (w *World) run(until time.Duration) {
	for blocked := false; ; {
		if !blocked {
			synctest.Wait() // now every other goroutine is blocked
		}
		w.turn.Add(1)
		next, wait, ok := w.next(until)
		switch {
		case !ok:
			return
		case wait == forever: // without a timer, so that synctest can tell that everybody is stuck
			<-w.news
			blocked = false
		case wait > 0:
			time.Sleep(wait)
			if !w.wake() {
				return
			}
			blocked = next.wakesNobody
		default:
			w.do(next)
			blocked = next.wakesNobody
		}
	}
}

// do lets happen what is due.
func (w *World) do(next entry) {
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

// The alarm of a scheduler that does not sleep, and of one that waits for an entry that does not exist yet.
const (
	awake   = time.Duration(-1)
	forever = time.Duration(math.MaxInt64)
)

// next takes the entry that is due off the agenda, or returns how long to wait for one. It returns false when the world is
// over, or when nothing is due before the time until which somebody else sleeps.
func (w *World) next(until time.Duration) (next entry, wait time.Duration, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.agenda.len() > 0 && w.agenda.top().dead() {
		w.agenda.pop()
	}
	now, due := w.Now(), forever
	if w.agenda.len() > 0 {
		due = w.agenda.top().due
	}
	switch {
	case w.living == 0 && w.agenda.foreground == 0 || len(w.problems) > 0:
		w.over, w.ended = true, now
		return next, 0, false
	case due <= now:
		next = w.agenda.pop()
		if next.quiet {
			w.quiet--
		}
		return next, 0, true
	case due < until:
		w.alarm = due
		// If nobody waits for anything else, no timer of a policy can wake somebody at that instant, too.
		return entry{wakesNobody: w.quiet == w.living && !w.loose}, due - now, true
	}
	w.alarm = until
	return next, forever, until == forever
}

// wake ends a sleep. It returns false if the world was over before.
func (w *World) wake() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alarm = awake
	return !w.over
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
	w.hurry()
}
