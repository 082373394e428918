package retry

import (
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/go-resilience/resilience/internal/saturate"
	"github.com/go-resilience/resilience/policy"
)

// jitter says how a delay is spread.
type jitter uint8

const (
	fullJitter jitter = iota
	equalJitter
	decorrelatedJitter
	proportionalJitter
	noJitter
)

// delays says how long to wait: a source of delays, then a cap, then jitter. It is function, fixed or source; if all are
// nil, delays grow from initial to longest by the multiplier.
type delays struct {
	initial, longest time.Duration
	multiplier       float64
	fixed            *backoff.ConstantBackOff           // of Constant: it has no state, so all calls share it
	source           func() backoff.BackOff             // of BackOff: a fresh one for each call
	function         func(policy.Attempt) time.Duration // of Delay
	jitter           jitter
	share            float64    // of proportional jitter
	random           *rand.Rand // over a source that is safe for concurrent use
}

// delay returns the next delay of k, after jitter, or false when the source says stop.
func (d *delays) delay(k *call, ended *policy.Attempt) (time.Duration, bool) {
	switch {
	case d.function != nil:
		return d.spread(min(d.longest, max(0, d.function(*ended)))), true
	case d.jitter == decorrelatedJitter:
		k.previous = d.decorrelate(max(d.initial, k.previous))
		return k.previous, true
	}
	if k.source == nil {
		if k.source = d.newSource(k); k.source == nil {
			return 0, false
		}
		k.source.Reset()
	}
	delay := k.source.NextBackOff()
	switch {
	case delay == backoff.Stop:
		return 0, false
	case d.source == nil && delay >= mostGrowth:
		delay = d.longest
	}
	return d.spread(max(0, delay)), true
}

// mostGrowth is how far package backoff can count: it calculates in float64, where the longest duration is none.
const mostGrowth = time.Duration(1 << 62)

// newSource returns a source of delays for k.
func (d *delays) newSource(k *call) backoff.BackOff {
	switch {
	case d.source != nil:
		return d.source()
	case d.fixed != nil:
		return d.fixed
	}
	k.growth = backoff.ExponentialBackOff{
		InitialInterval: min(d.initial, mostGrowth),
		Multiplier:      d.multiplier,
		MaxInterval:     min(d.longest, mostGrowth),
		Stop:            backoff.Stop,
		Clock:           stopped{}, // jitter and limits of time are ours: RandomizationFactor and MaxElapsedTime are 0
	}
	return &k.growth
}

// stopped is the clock of our sources. Package backoff reads it to compare with MaxElapsedTime, which we do not set.
type stopped struct{}

func (stopped) Now() time.Time { return time.Time{} }

// spread applies jitter to a delay. See Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015, for full,
// equal and decorrelated.
func (d *delays) spread(delay time.Duration) time.Duration {
	switch d.jitter {
	case fullJitter:
		return d.uniform(0, delay)
	case equalJitter:
		return d.uniform(delay/2, delay)
	case proportionalJitter:
		return d.uniform(saturate.Scale(delay, 1-d.share), saturate.Scale(delay, 1+d.share))
	}
	return delay
}

// decorrelate returns a delay between the initial one and three times the previous one, then capped.
func (d *delays) decorrelate(previous time.Duration) time.Duration {
	return min(d.longest, d.uniform(d.initial, saturate.Scale(previous, 3)))
}

// uniform returns a duration from low to high, both included.
func (d *delays) uniform(low, high time.Duration) time.Duration {
	return low + time.Duration(d.random.Uint64N(uint64(high-low)+1))
}
