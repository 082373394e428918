package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// The ways in which a server answers badly.
var (
	ErrFailed = errors.New("the server failed")
	ErrFull   = errors.New("the server's queue is full")
)

// Unbounded is a queue without a bound.
const Unbounded = -1

// Server is a model of a dependency. Set its fields, then use [Server.Call] as the operation of calls. The zero value
// answers at once and never fails.
type Server struct {
	Service Distribution // how long a request takes; nil: no time

	// Slots is how many requests are served at a time; 0 is any number. With slots, requests queue, and the server
	// works on a request to its end even when the caller has gone: it cannot know.
	Slots     int
	Queue     int  // how many requests may wait for a slot, or Unbounded; others get ErrFull
	LastFirst bool // the youngest request is served first
	SkipGone  bool // requests whose caller has gone are not begun

	// Fails, if not nil, is the probability of a failure for a request that comes at a time.
	Fails func(at time.Duration) float64
	// Slower, if not nil, is the factor by which service is slower that begins at a time.
	Slower func(at time.Duration) float64
	// FrozenFrom and FrozenUntil bound a time in which a server with slots does no work, if not both 0.
	FrozenFrom, FrozenUntil time.Duration

	// Attempted, if not nil, hears of every request.
	Attempted func(at time.Duration)

	Requests int // that came
	Refused  int // because the queue was full
	Failures int
	Stale    int // answered after the caller had gone

	waiting []*request
	ended   []*request // to be used again
	busy    int
	source  rand.PCG // of what is drawn at the moment
	luck    *rand.Rand
}

// request is a request at a server with slots.
type request struct {
	wake    entry // of the caller
	service time.Duration
	done    func() // what happens when it has been served
}

// gone reports whether the caller has stopped waiting.
func (r *request) gone() bool { return r.wake.dead() }

// Call sends one request. It returns when the answer is there, or when ctx, which must come from an actor, ends.
func (s *Server) Call(ctx context.Context) error { return Attempt(ctx, s.Serve) }

// Serve is Call for an operation that does more than one thing.
func (s *Server) Serve(a *Actor) error {
	now := a.Now()
	s.Requests++
	if s.Attempted != nil {
		s.Attempted(now)
	}
	fails := false
	if s.Fails != nil {
		fails = s.draw(a, failures).Float64() < s.Fails(now)
	}
	if err := s.work(a, now); err != nil {
		return err
	}
	if fails {
		s.Failures++
		return ErrFailed
	}
	return nil
}

// The purposes of a server's random numbers.
var (
	failures = named("failure")
	services = named("service")
)

// draw returns [Actor.Rand] for a purpose, until the next draw.
func (s *Server) draw(a *Actor, purpose hash) *rand.Rand {
	if s.luck == nil {
		s.luck = rand.New(&s.source)
	}
	s.source.Seed(stream(a.world.seed, a.call, a.stream, purpose))
	return s.luck
}

func (s *Server) work(a *Actor, now time.Duration) error {
	var service time.Duration
	if s.Service != nil {
		service = s.Service(s.draw(a, services))
	}
	switch {
	case s.Slots > 0:
		return s.queue(a, service)
	case s.Service == nil:
		return nil
	}
	return a.Sleep(s.slowed(service, now))
}

// slowed returns how long work takes that begins now.
func (s *Server) slowed(service, now time.Duration) time.Duration {
	if s.Slower == nil {
		return service
	}
	return duration(float64(service) * s.Slower(now))
}

func (s *Server) queue(a *Actor, service time.Duration) error {
	a.work(service)
	if s.busy == s.Slots && s.Queue >= 0 && len(s.waiting) >= s.Queue {
		s.Refused++
		return ErrFull
	}
	r := s.request()
	r.service = service
	return a.park(func(e entry) {
		r.wake = e
		s.waiting = append(s.waiting, r)
		s.begin(a.world)
	})
}

// begin gives free slots to those who wait.
func (s *Server) begin(w *World) {
	for s.busy < s.Slots && len(s.waiting) > 0 {
		r := s.take()
		if r.gone() && s.SkipGone {
			s.ended = append(s.ended, r)
			continue
		}
		s.busy++
		now := w.Now()
		w.background(s.finish(now, s.slowed(r.service, now)), r.done)
	}
}

// request returns a new request, or one that has ended.
func (s *Server) request() *request {
	if last := len(s.ended) - 1; last >= 0 {
		r := s.ended[last]
		s.ended = s.ended[:last]
		return r
	}
	r := &request{}
	r.done = func() {
		w := r.wake.actor.world
		s.busy--
		if r.gone() {
			s.Stale++
		} else {
			w.resume(r.wake)
		}
		s.ended = append(s.ended, r)
		s.begin(w)
	}
	return r
}

func (s *Server) take() (r *request) {
	if last := len(s.waiting) - 1; s.LastFirst {
		r = s.waiting[last]
		s.waiting = s.waiting[:last]
		return r
	}
	r, s.waiting[0] = s.waiting[0], nil
	s.waiting = s.waiting[1:]
	return r
}

// finish returns when work that begins now is done.
func (s *Server) finish(now, service time.Duration) time.Duration {
	if now < s.FrozenUntil && now+service > s.FrozenFrom {
		return max(now, s.FrozenFrom) + (s.FrozenUntil - max(now, s.FrozenFrom)) + service - max(0, s.FrozenFrom-now)
	}
	return now + service
}

// Waiting returns how many requests wait for a slot, those included whose caller has gone.
func (s *Server) Waiting() int { return len(s.waiting) }

// Busy returns how many requests are being served.
func (s *Server) Busy() int { return s.busy }
