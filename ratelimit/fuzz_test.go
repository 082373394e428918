package ratelimit_test

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

// What Validate accepts, New accepts, and works: neither debt nor gift, and every refusal is one of the limiter.
func FuzzValidate(f *testing.F) {
	f.Add(100.0, 10, int64(time.Second), 1, 3)
	f.Add(0.0, 1, int64(0), 0, 1)
	f.Add(1e9, ratelimit.MaxBurst, int64(1)<<62, ratelimit.MaxBurst, 2)
	f.Add(1e-9, 5, int64(1), -1, 2)
	f.Fuzz(func(t *testing.T, perSecond float64, burst int, wait int64, cost, calls int) {
		options := []ratelimit.Option{ratelimit.CostOf(func(context.Context) int { return cost })}
		if wait != 0 {
			options = append(options, ratelimit.MaxWait(time.Duration(wait)))
		}
		err := ratelimit.Validate(perSecond, burst, options...)
		defer func() {
			if problem := recover(); (problem != nil) != (err != nil) {
				t.Fatalf("Validate says %v, New %v", err, problem)
			}
		}()
		l := ratelimit.New(perSecond, burst, options...)
		_ = l.String()
		for range calls % 10 {
			ctx, cancel := in(time.Microsecond) // nobody waits in earnest
			_, failure := resilience.Do(ctx, l, nothing)
			cancel()
			if r, ok := failure.(*policy.Rejection); ok && r.Reason == nil {
				t.Fatalf("%v", failure)
			}
			s := l.Snapshot()
			if !(s.Tokens >= 0 && s.Tokens <= float64(burst)) || s.Waiting != 0 {
				t.Fatalf("%+v", s)
			}
		}
		err = nil
	})
}

// The limiter against a model that is obviously right: whole tokens and nanoseconds, and a list of those who wait. The
// first bytes are the quota; each three that follow are something that happens.
func FuzzModel(f *testing.F) {
	f.Add([]byte{10, 5, 20, 3, 0, 5, 0, 0, 1, 0, 0, 2, 0, 5, 0, 100, 1, 0, 0, 6, 2, 0, 3, 0, 0, 5, 0, 255})
	f.Add([]byte{3, 1, 0, 0, 0, 1, 0, 5, 77, 77, 0, 1, 0, 0, 1, 0, 2, 0, 0, 0, 1, 0})
	f.Add([]byte{0, 3, 200, 9, 0, 3, 0, 0, 1, 0, 6, 1, 0, 0, 2, 0, 7, 1, 0, 0, 3, 0, 6, 0, 0})
	f.Add([]byte{7, 4, 255, 255, 0, 4, 0, 0, 4, 0, 0, 4, 0, 0, 1, 0, 4, 0, 0, 4, 1, 0, 5, 255, 255, 2, 0, 0, 3, 0, 0})
	f.Add([]byte{10, 4, 0, 0, 0, 2, 0, 5, 100, 120, 0, 6, 0, 3, 0, 0, 0, 2, 0, 5, 0, 80, 0, 2, 0, 3, 0, 0, 3, 1, 0})
	f.Add([]byte{10, 4, 30, 5, 0, 6, 0, 0, 3, 0, 0, 2, 0, 250, 70, 5, 0, 2, 0, 241, 67, 0, 5, 0, 90, 3, 0, 0, 241, 200, 64})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 4 {
			return
		}
		bubble(t, func(t *testing.T) { newShop(data).run(t, data[4:min(len(data), 4+3*80)]) })
	})
}

// shop is the model. Its tokens are in billionths, so that a nanosecond brings a whole number of them.
type shop struct {
	limiter *ratelimit.Limiter

	rate, burst int64
	maxWait     time.Duration
	maxWaiters  int
	tokens      int64
	now         time.Duration
	guests      []*guest

	story []event // everything that moved the tokens, to be told again
	seen  int     // the moments since the bucket was full that the limiter may have to remember
}

// event is time that passed, a guest that took its tokens, or another burst.
type event struct {
	refill int64
	guest  *guest
	burst  int64
}

const token = 1_000_000_000

// guest is an attempt, as the model sees it and as it really goes.
type guest struct {
	cost   int64
	came   time.Duration
	undone bool   // its tokens went back: it never was
	state  string // of the model: "waits", "admitted", "refused", "left", "settled"
	real   atomic.Value
	permit *policy.Permit
	err    error
	cancel context.CancelFunc
}

func newShop(data []byte) *shop {
	s := &shop{rate: int64(data[0]), burst: 1 + int64(data[1]%8), maxWait: time.Duration(data[2]) * 100 * time.Millisecond, maxWaiters: 1 + int(data[3]%8), tokens: math.MaxInt64}
	s.happens(event{burst: s.burst})
	s.limiter = ratelimit.New(float64(s.rate), int(s.burst), append(s.options(), ratelimit.CostOf(costMark))...)
	return s
}

func (s *shop) in(state string) (all []*guest) {
	for _, g := range s.guests {
		if g.state == state {
			all = append(all, g)
		}
	}
	return all
}

func (s *shop) add(d time.Duration) {
	s.now += d
	s.happens(event{refill: s.rate * int64(d)})
}

func (s *shop) happens(e event) {
	s.story = append(s.story, e)
	s.apply(e)
}

func (s *shop) apply(e event) {
	switch {
	case e.burst > 0:
		s.seen += 2
		s.burst, s.tokens = e.burst, min(s.tokens, e.burst*token)
	case e.guest == nil:
		s.tokens = min(s.burst*token, s.tokens+e.refill)
	case !e.guest.undone:
		if s.seen++; s.tokens == s.burst*token {
			s.seen = 1
		}
		s.tokens -= e.guest.cost * token
	}
}

// admit gives a guest its tokens.
func (s *shop) admit(g *guest) {
	g.state = "admitted"
	s.happens(event{guest: g})
}

// undo takes back that a guest was ever admitted: the story is told again without it.
func (s *shop) undo(g *guest) {
	g.undone = true
	seen := s.seen
	s.tokens = math.MaxInt64
	for _, e := range s.story {
		s.apply(e)
	}
	s.seen = seen
}

// grant lets in those who wait, in order.
func (s *shop) grant() {
	for _, g := range s.in("waits") {
		if s.tokens < g.cost*token {
			return
		}
		s.admit(g)
	}
}

// until returns how long it takes until there are so many tokens, above the burst too, or false for ever.
func (s *shop) until(tokens int64) (time.Duration, bool) {
	missing := max(0, tokens*token-s.tokens)
	if missing > 0 && s.rate == 0 {
		return 0, false
	}
	return time.Duration((missing + max(1, s.rate) - 1) / max(1, s.rate)), true
}

// pass lets time go by, from one grant to the next.
func (s *shop) pass(d time.Duration) {
	end := s.now + d
	for waiting := s.in("waits"); len(waiting) > 0; waiting = s.in("waits") {
		wait, ever := s.until(waiting[0].cost)
		if !ever || s.now+wait > end {
			break
		}
		s.add(wait)
		s.grant()
	}
	s.add(end - s.now)
}

// arrive says what becomes of a new guest, and what a refused one is told to wait if it alone decides that.
func (s *shop) arrive(g *guest) (hint time.Duration) {
	waiting := s.in("waits")
	owed := g.cost
	for _, other := range waiting {
		owed += other.cost
	}
	turn, ever := s.until(owed)
	switch {
	case g.cost == 0, len(waiting) == 0 && g.cost > 0 && s.tokens >= g.cost*token:
		s.admit(g)
	case g.cost < 0 || g.cost > s.burst || !ever:
		g.state = "refused"
	case s.maxWait == 0:
		g.state = "refused"
		return turn
	case len(waiting) >= s.maxWaiters || turn > s.maxWait:
		g.state = "refused"
	default:
		g.state, g.came = "waits", s.now
	}
	return 0
}

// change sets the quota and the queue. Those who would now wait too long are refused, before which nobody can be let in.
func (s *shop) change(rate, burst int64, maxWait time.Duration, maxWaiters int) error {
	s.rate, s.maxWait, s.maxWaiters = rate, maxWait, maxWaiters
	s.happens(event{burst: burst})
	owed, kept := int64(0), 0
	for _, g := range s.in("waits") {
		turn, ever := s.until(owed + g.cost)
		late := turn > 0 && (s.now+turn > g.came+maxWait || kept == maxWaiters)
		if g.cost > burst || !ever || late {
			g.state = "refused"
			continue
		}
		owed += g.cost
		if turn > 0 {
			kept++
		}
	}
	s.grant()
	return s.limiter.Reconfigure(float64(rate), int(burst), s.options()...)
}

func (s *shop) options() (options []ratelimit.Option) {
	if s.maxWait > 0 {
		options = append(options, ratelimit.MaxWait(s.maxWait), ratelimit.MaxWaiters(s.maxWaiters))
	}
	return options
}

func (s *shop) run(t *testing.T, steps []byte) {
	defer func() {
		for _, g := range s.guests {
			g.cancel()
		}
	}()
	for ; len(steps) >= 3; steps = steps[3:] {
		what, value := steps[0]%8, int64(steps[1])+int64(steps[2])<<8
		pick := func(state string) *guest {
			if all := s.in(state); len(all) > 0 {
				return all[value%int64(len(all))]
			}
			return &guest{} // nobody
		}
		if steps[0] >= 240 { // everything changes
			what = 8
		}
		switch what {
		case 0, 1: // an attempt comes
			ctx, cancel := context.WithCancel(context.Background())
			g := &guest{cost: value%11 - 1, cancel: cancel}
			g.real.Store("waits")
			hint := s.arrive(g)
			s.guests = append(s.guests, g)
			go g.ask(costing(ctx, int(g.cost)), s.limiter)
			synctest.Wait()
			if told, _ := policy.RetryAfter(g.err); hint > 0 && told != hint {
				t.Fatalf("told to wait %v instead of %v", told, hint)
			}
		case 2: // somebody who waits gives up
			if g := pick("waits"); g.state != "" {
				g.state = "left"
				g.cancel()
				s.grant()
			}
		case 3: // an attempt was refused further in
			if g := pick("admitted"); g.state != "" {
				g.state = "settled"
				g.permit.Settle(neverCalled)
				s.undo(g)
				s.grant()
				if s.seen > 4 { // the limiter may give back less
					synctest.Wait()
					if s.gaveLess(t) {
						return
					}
				}
			}
		case 4: // an attempt was made
			if g := pick("admitted"); g.state != "" {
				g.state = "settled"
				g.permit.Done(nil)
			}
		case 5:
			d := time.Duration(value) * time.Duration(value) // up to 4 s
			s.pass(d)
			time.Sleep(d)
		case 6:
			changed(t, s.change(value%256, s.burst, s.maxWait, s.maxWaiters))
		case 7:
			changed(t, s.change(s.rate, 1+value%8, s.maxWait, s.maxWaiters))
		case 8:
			changed(t, s.change(value%32, 1+value/32%8, time.Duration(value/256%16)*500*time.Millisecond, 1+int(value/4096)))
		}
		synctest.Wait()
		s.compare(t)
	}
}

func changed(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (g *guest) ask(ctx context.Context, l *ratelimit.Limiter) {
	g.permit, g.err = policy.Acquire(ctx, l)
	switch {
	case g.err == nil:
		g.real.Store("admitted")
	case errors.Is(g.err, ratelimit.ErrLimited):
		g.real.Store("refused")
	default:
		g.real.Store("left")
	}
}

// gaveLess reports whether the limiter has less than the model, counting the guests that it has let in. It must never
// have more.
func (s *shop) gaveLess(t *testing.T) bool {
	less := float64(s.tokens)/token - s.limiter.Snapshot().Tokens
	for _, g := range s.guests {
		if g.state == "admitted" && g.real.Load() == "waits" {
			less += float64(g.cost)
		}
	}
	if less < -1e-6 {
		t.Fatalf("at %v the limiter has %v tokens more", s.now, -less)
	}
	return less > 1e-6
}

func (s *shop) compare(t *testing.T) {
	for i, g := range s.guests {
		if real := g.real.Load(); real != g.state && g.state != "settled" {
			t.Fatalf("at %v attempt %d is %v, but %v in the model", s.now, i, real, g.state)
		}
	}
	is := s.limiter.Snapshot()
	if tokens := float64(s.tokens) / token; math.Abs(is.Tokens-tokens) > 1e-6 || is.Waiting != len(s.in("waits")) {
		t.Fatalf("at %v: %+v, want %v tokens and %d waiting", s.now, is, tokens, len(s.in("waits")))
	}
}
