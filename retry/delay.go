package retry

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// jitter says how a delay is spread.
type jitter uint8

const (
	fullJitter jitter = iota
	equalJitter
	decorrelatedJitter
	noJitter
)

// delays says how long to wait: a source of growing delays, then jitter.
type delays struct {
	source  func() backoff.BackOff // a fresh one for each call
	initial time.Duration          // of the exponential source, for decorrelated jitter
	longest time.Duration          // of the exponential source, for decorrelated jitter
	jitter  jitter
	random  *rand.Rand // over a source that is safe for concurrent use
}

// delay returns the next delay of c, or false when the source says stop.
func (d *delays) delay(c *call) (time.Duration, bool) {
	if d.jitter == decorrelatedJitter {
		c.previous = d.decorrelate(max(c.previous, d.initial))
		return c.previous, true
	}
	if c.source == nil {
		if c.source = d.source(); c.source == nil {
			return 0, false
		}
		c.source.Reset()
	}
	delay := c.source.NextBackOff()
	if delay == backoff.Stop {
		return 0, false
	}
	return d.spread(max(0, delay)), true
}

// spread applies jitter to a delay. The result is never above it. See Brooker, "Exponential Backoff And Jitter",
// AWS Architecture Blog, 2015, for the modes and their names.
func (d *delays) spread(delay time.Duration) time.Duration {
	switch d.jitter {
	case fullJitter:
		return d.uniform(0, delay)
	case equalJitter:
		return d.uniform(delay/2, delay)
	}
	return delay
}

// decorrelate returns a delay between the initial one and three times the previous one. The bound is capped, and not
// the result: otherwise clients would gather at the cap.
func (d *delays) decorrelate(previous time.Duration) time.Duration {
	bound := d.longest
	if previous <= d.longest/3 {
		bound = 3 * previous
	}
	return d.uniform(d.initial, bound)
}

// uniform returns a duration from low to high, both included.
func (d *delays) uniform(low, high time.Duration) time.Duration {
	return low + time.Duration(d.random.Uint64N(uint64(high-low)+1))
}

// exponential returns a source that starts at initial and multiplies up to longest.
func exponential(initial time.Duration, multiplier float64, longest time.Duration) func() backoff.BackOff {
	// The source calculates in float64, where MaxInt64 rounds up to a number that is no Duration. Half of it is
	// still a hundred years.
	const limit = time.Duration(1 << 62)
	template := backoff.ExponentialBackOff{
		InitialInterval:     min(initial, limit),
		RandomizationFactor: 0, // jitter is ours, after the cap and from our random source
		Multiplier:          multiplier,
		MaxInterval:         min(longest, limit),
		MaxElapsedTime:      0, // limits are the pipeline's
		Stop:                backoff.Stop,
		Clock:               stopped{},
	}
	return func() backoff.BackOff {
		source := template
		return &source
	}
}

// stopped is a clock that is never read: the source measures a time that nobody asks for.
type stopped struct{}

func (stopped) Now() time.Time { return time.Time{} }

// constant returns a source that always answers delay. It has no state, so all calls share one.
func constant(delay time.Duration) func() backoff.BackOff {
	source := backoff.NewConstantBackOff(delay)
	return func() backoff.BackOff { return source }
}

// shared is the random source of the process, which is safe for concurrent use.
type shared struct{}

func (shared) Uint64() uint64 { return rand.Uint64() }

// guarded makes a random source safe for concurrent use.
type guarded struct {
	mu     sync.Mutex
	source rand.Source
}

func (g *guarded) Uint64() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock() // the source may panic
	return g.source.Uint64()
}
