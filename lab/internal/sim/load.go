package sim

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Arrivals says when the next call comes: it returns the time after at. A negative one says that none comes until its
// opposite, from where it is to be asked again.
type Arrivals func(r *rand.Rand, at time.Duration) time.Duration

// Poisson is arrivals that know nothing of each other, perSecond of them on average.
func Poisson(perSecond float64) Arrivals {
	checkRate(perSecond)
	return func(r *rand.Rand, at time.Duration) time.Duration {
		return at + duration(r.ExpFloat64()/perSecond*1e9)
	}
}

// Varying is Poisson arrivals whose rate changes with time and is never above peak.
func Varying(peak float64, perSecond func(at time.Duration) float64) Arrivals {
	checkRate(peak)
	return func(r *rand.Rand, at time.Duration) time.Duration {
		for range 1 << 20 { // thinning: of arrivals at the peak rate, some do not count
			at += duration(r.ExpFloat64() / peak * 1e9)
			if at >= math.MaxInt64/2 || r.Float64()*peak < perSecond(at) { // never, or now
				return at
			}
		}
		return -at // there may be none any more, and whoever asks knows whether that is too late
	}
}

// Regular is arrivals at equal distances.
func Regular(perSecond float64) Arrivals {
	checkRate(perSecond)
	return func(_ *rand.Rand, at time.Duration) time.Duration { return at + duration(1e9/perSecond) }
}

// checkRate panics for a rate at which time would stand still, or go back. At a rate of 0 nothing ever arrives.
func checkRate(perSecond float64) {
	if !(perSecond >= 0 && perSecond <= 1e9) {
		panic(fmt.Sprintf("sim: arrivals at %v a second: must be from 0 to 1e9", perSecond))
	}
}

// Open makes calls that come by their own clock until horizon, whatever becomes of them. call makes one call, in a
// goroutine of its own, and returns how it ended.
func (w *World) Open(arrivals Arrivals, horizon time.Duration, call func(*Actor) error) *Tally {
	tally := w.Tally()
	source := w.Rand("arrivals", len(w.audits))
	act := func(a *Actor) { _ = tally.Call(a, call) }
	at := time.Duration(0)
	var arrive func()
	schedule := func() {
		for at = arrivals(source, at); at < 0 && -at < horizon; {
			at = arrivals(source, -at)
		}
		if at >= 0 && at < horizon {
			w.arriveAt(at, arrive)
		}
	}
	arrive = func() {
		w.mu.Lock()
		w.actors++
		w.living++
		number := w.actors
		w.mu.Unlock()
		schedule()
		w.begin(number, act)
	}
	schedule()
	return tally
}

// Tally counts calls and how they ended. Every call is in exactly one of Succeeded, Failed, Rejected and InFlight.
// Read it after the run, or from events and actors in turn.
type Tally struct {
	Calls     int
	Succeeded int
	Failed    int
	Rejected  int // ended with an error that matches policy.ErrRejected, without any attempt having failed
	InFlight  int

	// Ended, if not nil, hears of every call that has ended: when it came, how long it took, and its error.
	Ended func(came, took time.Duration, err error)

	world  *World
	active int           // counted by those who are active
	since  time.Duration // of the last change of InFlight
	area   float64       // integral of InFlight over time, in call seconds
	took   float64       // sum of how long calls took, in seconds
}

// Tally returns a new tally whose accounts are audited when the world ends.
func (w *World) Tally() *Tally {
	t := &Tally{world: w}
	w.audits = append(w.audits, t.audit)
	return t
}

// Call makes one call and counts it.
func (t *Tally) Call(a *Actor, call func(*Actor) error) error {
	a.Turn()
	a.setApart()
	came := a.Now()
	t.Calls++
	t.active++
	t.change(+1)
	err := call(a)
	a.Turn()
	took := a.Now() - came
	t.active--
	t.change(-1)
	t.took += took.Seconds()
	kind := uint64(0)
	switch {
	case err == nil:
		t.Succeeded++
	case refused(err):
		t.Rejected++
		kind = 1
	default:
		t.Failed++
		kind = 2
	}
	t.world.hash.add(a.call, kind, uint64(took))
	if err := t.conserved(); err != nil {
		t.world.problem(err)
	}
	if t.Ended != nil {
		t.Ended(came, took, err)
	}
	return err
}

func (t *Tally) change(by int) {
	now := t.world.Now()
	t.area += float64(t.InFlight) * (now - t.since).Seconds()
	t.since = now
	t.InFlight += by
}

// refused reports whether err is a refusal and nothing else.
func refused(err error) bool {
	outcome := policy.Outcome{Kind: policy.Returned, Err: err}
	return errors.Is(err, policy.ErrRejected) && outcome.Verdict(nil) == policy.Neutral
}

func (t *Tally) conserved() error {
	if sum := t.Succeeded + t.Failed + t.Rejected + t.InFlight; sum != t.Calls || t.active != t.InFlight {
		return fmt.Errorf("sim: %d calls, but %d succeeded + %d failed + %d rejected + %d in flight (%d active)",
			t.Calls, t.Succeeded, t.Failed, t.Rejected, t.InFlight, t.active)
	}
	return nil
}

// audit checks the accounts at the end: every call has ended, in exactly one way, and the integral of the calls in flight is
// the sum of the times that they took.
func (t *Tally) audit() error {
	if err := t.conserved(); err != nil {
		return err
	}
	if t.InFlight != 0 {
		return fmt.Errorf("sim: %d calls have not ended", t.InFlight)
	}
	if math.Abs(t.area-t.took) > 1e-6*math.Max(t.took, 1e-3) {
		return fmt.Errorf("sim: %v call seconds in flight, but the calls took %v s", t.area, t.took)
	}
	return nil
}

// Success returns the share of calls that succeeded.
func (t *Tally) Success() float64 { return float64(t.Succeeded) / float64(t.Calls) }

// MeanLatency returns how long a call took on average, however it ended.
func (t *Tally) MeanLatency() time.Duration { return duration(t.took / float64(t.Calls) * 1e9) }
