package main

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// input is what you have promised and measured.
type input struct {
	slo             float64
	within          time.Duration
	rate, errors    float64
	mean, p50, p999 time.Duration
}

const (
	cut     = 0.001 // the share of healthy attempts above the 99.9th percentile
	openFor = 5 * time.Second
	year    = 365 * 24 * 3600 // seconds
)

// choice is the options that follow.
type choice struct {
	attempt, delay, longest, queue, seen time.Duration
	attempts, slots, minimum             int
	failing, lost, load, falseTrips      float64
}

// choose computes the options.
func choose(in input) (c choice, err error) {
	if in.slo <= 0 || in.slo >= 1 || in.errors < 0 || in.errors >= 0.5 || in.rate <= 0 ||
		min(in.mean, in.p50, in.p999, in.within) <= 0 {
		return choice{}, errors.New("the SLO must lie between 0 and 1, errors below 0.5, and everything else must be positive")
	}
	c.attempt = round(in.p999 * 5 / 4)
	c.delay = round(2 * in.p50)

	// Attempts: the fewest whose failures, independent of each other, keep the promise.
	c.failing = in.errors + cut
	for c.attempts = 1; math.Pow(c.failing, float64(c.attempts)) > 1-in.slo; c.attempts++ {
		if c.attempts == 4 {
			return choice{}, fmt.Errorf("with %.2g of attempts failing, 4 attempts do not reach %v: the dependency has to become better, or the promise smaller",
				c.failing, in.slo)
		}
	}
	c.lost = math.Pow(c.failing, float64(c.attempts))
	c.longest = time.Duration(c.attempts)*c.attempt + c.delay*time.Duration(1<<(c.attempts-1)-1)
	if c.longest >= in.within { // Compose wants an attempt timeout below the total one
		return choice{}, fmt.Errorf("%d attempts of %v and the delays take up to %v, which is not less than %v: promise more time, or cut attempts earlier and accept that healthy ones are cut",
			c.attempts, c.attempt, c.longest, in.within)
	}

	// Slots: the fewest for which Erlang's formula refuses a tenth of what may fail.
	c.load = in.rate * in.mean.Seconds()
	for refused := 1.0; refused > (1-in.slo)/10; {
		c.slots++
		refused = c.load * refused / (float64(c.slots) + c.load*refused)
	}
	c.queue = (in.within - c.longest) / time.Duration(c.attempts)

	// Breaker: the smallest minimum at which healthy traffic opens it less than once a year.
	for c.minimum = 20; ; c.minimum += 10 {
		c.falseTrips = tail(c.minimum, c.minimum/2, c.failing) * in.rate * year
		if c.falseTrips < 1 {
			break
		}
	}
	c.seen = time.Duration(float64(c.minimum) / in.rate * float64(time.Second)).Round(time.Millisecond)
	return c, nil
}

// layers is the pipeline.
func (c choice) layers(in input) []policy.Layer {
	slots := []bulkhead.Option{}
	if c.queue > 0 {
		slots = append(slots, bulkhead.Queue(c.slots, c.queue))
	}
	return []policy.Layer{
		timeout.Total(in.within),
		retry.New(retry.Attempts(c.attempts), retry.Exponential(c.delay, max(c.delay, in.within/4))),
		breaker.New(breaker.FailureRate(0.5, c.minimum), breaker.CountWindow(2*c.minimum), breaker.OpenFor(max(openFor, c.attempt))),
		bulkhead.New(c.slots, slots...),
		timeout.PerAttempt(c.attempt),
	}
}

func (c choice) trips() string {
	return fmt.Sprintf("chance opens it %.1g times a year", c.falseTrips)
}

// tail is the probability that of n attempts, of which each fails with probability p, at least k fail.
func tail(n, k int, p float64) (sum float64) {
	for ; k <= n; k++ {
		a, _ := math.Lgamma(float64(n + 1))
		b, _ := math.Lgamma(float64(k + 1))
		c, _ := math.Lgamma(float64(n - k + 1))
		sum += math.Exp(a - b - c + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
	}
	return sum
}

// round rounds up to two digits, as a person would write it.
func round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 100 {
		unit *= 10
	}
	return (d + unit - 1) / unit * unit
}
