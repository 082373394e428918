package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Actor is somebody who acts in a world: a call, a client, or an attempt within a call. It is the context that calls
// are made under. Its methods are for its own goroutine.
type Actor struct {
	context.Context // of an attempt: the one that the operation was given; otherwise one that never ends

	world  *World
	root   *Actor // the call or client that an attempt belongs to; of these, the actor itself
	call   uint64 // the number of the root
	child  uint64 // the number of the attempt's slot within it, from 1; 0 for the root
	stream uint64 // which random streams: attempts are counted through, slots are used again

	wake   chan struct{}
	turn   uint64 // the turn that it was woken in
	serial uint64 // of its entries
	asleep uint64 // the entry that it waits for; 0: none

	apart  time.Duration // of a root whose call came at a point of the grid: what set it apart from others
	forked bool          // an attempt that a turnstile has made, and ends
	inner  *Actor        // of a forked attempt: itself under the context of its operation
	own    bool          // it acts in the goroutine of its call or client

	free     []*Actor // of a root: attempts that have ended, to be used again
	slots    uint64
	attempts uint64
}

// Go starts an actor. Actors get their turns in the order in which they were started.
func (w *World) Go(act func(*Actor)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.actors++
	w.living++
	w.serial++
	number := w.actors
	w.push(entry{due: w.Now(), rank: arriving, call: number, serial: w.serial, event: func() { w.begin(number, act) }})
}

// begin lets an actor act, from now on, in a goroutine of its own. The scheduler calls it, at most once in a turn.
func (w *World) begin(number uint64, act func(*Actor)) {
	if last := len(w.idlers) - 1; last >= 0 {
		p := w.idlers[last]
		w.idlers = w.idlers[:last]
		p.parts <- part{number, act}
		return
	}
	p := &player{parts: make(chan part)}
	go p.play(w, part{number, act})
}

// player is a goroutine that plays one actor after the other: a new goroutine for each would have to grow its stack
// every time.
type player struct{ parts chan part }

// part is what a player is to play.
type part struct {
	number uint64
	act    func(*Actor)
}

func (p *player) play(w *World, next part) {
	a := &Actor{}
	for ok := true; ok; next, ok = <-p.parts {
		*a = Actor{Context: context.Background(), world: w, call: next.number, turn: w.turn.Load(), wake: a.wake, own: true, free: a.free, slots: a.slots}
		if a.root = a; a.wake == nil {
			a.wake = make(chan struct{})
		}
		w.guard("actor", func() { next.act(a) })
		w.mu.Lock()
		if a.slots != uint64(len(a.free)) {
			a = &Actor{} // this one has left an attempt behind, such as the loser of a hedge
			w.loose = true
		}
		w.living--
		w.idlers = append(w.idlers, p)
		if w.living == 0 {
			w.hurry() // the world may be over
		}
		w.mu.Unlock()
	}
}

// dismiss ends the players.
func (w *World) dismiss() {
	for _, p := range w.idlers {
		close(p.parts)
	}
}

type actorKey struct{}

// Value returns the actor itself to whoever looks for one, otherwise what the actor's context says.
func (a *Actor) Value(key any) any {
	if _, ok := key.(actorKey); ok {
		return a
	}
	return a.Context.Value(key)
}

// Attempt runs an operation under ctx, which a policy derived from an actor, as an actor of its own, and in turn.
func Attempt(ctx context.Context, operation func(*Actor) error) error {
	from, ok := ctx.Value(actorKey{}).(*Actor)
	if !ok {
		panic("sim: Attempt under a context that comes from no actor")
	}
	if from.forked {
		return from.operate(ctx, operation)
	}
	a := from.root.attempt(ctx)
	a.own = from.own
	a.Turn()
	defer a.root.done(a)
	return operation(a)
}

// operate runs an operation under ctx, which was derived from the forked attempt a.
func (a *Actor) operate(ctx context.Context, operation func(*Actor) error) error {
	if a.inner == nil {
		a.inner = &Actor{}
	}
	inner := a.inner
	*inner = Actor{Context: ctx, world: a.world, root: a.root, call: a.call, child: a.child, stream: a.stream,
		wake: a.wake, turn: a.turn, serial: a.serial}
	defer func() { a.turn, a.serial = inner.turn, inner.serial }()
	inner.Turn()
	return operation(inner)
}

// others reports whether other attempts of the root are under way besides one.
func (a *Actor) others() bool {
	a.world.mu.Lock()
	defer a.world.mu.Unlock()
	return int(a.slots) > len(a.free)+1
}

// Operation returns an operation, as the policies want it, that runs f as an [Attempt].
func Operation(f func(*Actor) error) func(context.Context) error {
	return func(ctx context.Context) error { return Attempt(ctx, f) }
}

func (a *Actor) attempt(ctx context.Context) *Actor {
	w := a.world
	w.mu.Lock()
	defer w.mu.Unlock()
	var child *Actor
	if last := len(a.free) - 1; last >= 0 {
		child = a.free[last]
		a.free = a.free[:last]
	} else {
		a.slots++
		child = &Actor{world: w, root: a, child: a.slots, wake: make(chan struct{})}
	}
	a.attempts++
	child.call = a.call
	child.stream = a.attempts
	child.Context = ctx
	child.turn, child.forked, child.own = 0, false, false
	// The only attempt of a call whose turn it is goes on in that turn. A parent that had others under way may have
	// been woken by one of them.
	if int(a.slots) == len(a.free)+1 {
		child.turn = a.turn
	}
	return child
}

func (a *Actor) done(child *Actor) {
	a.world.mu.Lock()
	defer a.world.mu.Unlock()
	child.Context = nil
	a.free = append(a.free, child)
	if int(a.slots) == len(a.free) {
		a.turn = child.turn // the call goes on in the turn of its only attempt
	}
}

// Now returns the time since the world began.
func (a *Actor) Now() time.Duration { return a.world.Now() }

// World returns the world that the actor lives in.
func (a *Actor) World() *World { return a.world }

// Number returns the number of the call or client, from 1.
func (a *Actor) Number() int { return int(a.call) }

// Turn waits for the actor's turn, unless it is its turn already.
func (a *Actor) Turn() {
	if a.turn != a.world.turn.Load() {
		a.sleep(nil, 0)
	}
}

// Sleep waits for d, in virtual time, and for the actor's turn after it. It stops when the actor's context ends, and
// returns why.
func (a *Actor) Sleep(d time.Duration) error {
	a.work(d)
	if !a.sleep(a.Done(), d) {
		return policy.ContextError(a)
	}
	return nil
}

func (a *Actor) sleep(done <-chan struct{}, d time.Duration) bool {
	return a.sleepIn(done, d, done == nil)
}

// hold is sleep in the middle of a pipeline, where a timer of a policy may end the context of the call meanwhile.
func (a *Actor) hold(d time.Duration) { a.sleepIn(nil, d, false) }

func (a *Actor) sleepIn(done <-chan struct{}, d time.Duration, quiet bool) bool {
	w := a.world
	w.mu.Lock()
	e := a.entry(w.Now()+max(0, d), quiet)
	if d > 0 && a.child == 0 {
		e.rank = arriving // a client that has waited, and begins something
	}
	w.push(e)
	w.mu.Unlock()
	return a.wait(done)
}

// entry returns the end of a wait that begins now. The caller holds the lock. A call or client itself is never quiet: it does
// not know under which timers of policies it waits.
func (a *Actor) entry(due time.Duration, quiet bool) entry {
	a.serial++
	a.asleep = a.serial
	quiet = quiet && a.own && a.child != 0
	if quiet {
		a.world.quiet++
	}
	return entry{due: due, call: a.call, child: a.child, serial: a.serial, actor: a, quiet: quiet}
}

// wait waits until the scheduler wakes the actor, or until done. The scheduler only does so while everybody is blocked,
// so it is never both.
func (a *Actor) wait(done <-chan struct{}) bool {
	if done == nil { // which costs less
		<-a.wake
		a.turn = a.world.turn.Load()
		return true
	}
	select {
	case <-a.wake:
		a.turn = a.world.turn.Load()
		return true
	case <-done:
	}
	a.world.mu.Lock()
	a.asleep = 0
	a.world.mu.Unlock()
	a.sleep(nil, 0)
	return false
}

// park waits until the entry is pushed on the agenda, or until the actor's context ends. begin gets the entry.
func (a *Actor) park(begin func(entry)) error {
	w, done := a.world, a.Done()
	w.mu.Lock()
	e := a.entry(0, done == nil)
	w.mu.Unlock()
	begin(e)
	if !a.wait(done) {
		return policy.ContextError(a)
	}
	return nil
}

// resume ends a wait that was begun with park.
func (w *World) resume(e entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.due = w.Now()
	w.push(e)
}

// Rand returns the actor's random numbers for a purpose. It begins anew each time: keep it to draw more than once.
func (a *Actor) Rand(purpose string) *rand.Rand {
	return rand.New(rand.NewPCG(stream(a.world.seed, a.call, a.stream, named(purpose))))
}

// String returns the number of the actor.
func (a *Actor) String() string { return fmt.Sprintf("actor %d.%d", a.call, a.child) }
