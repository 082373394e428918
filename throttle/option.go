package throttle

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Option configures a [Throttle]. Of the same option given twice, the later one counts.
type Option func(*config)

// config is a Throttle's configuration, after all options were applied.
type config struct {
	name     string
	k        float64
	window   time.Duration
	buckets  int
	padding  int
	random   func() float64 // from 0 up to, not including, 1
	classify func(error) policy.Class
	problems policy.ConfigError
}

const (
	minBuckets = 2
	maxBuckets = 1000
)

func configure(opts []Option) *config {
	c := &config{
		k:        2,
		window:   30 * time.Second,
		buckets:  30,
		padding:  8,
		random:   rand.Float64,
		problems: policy.ConfigError{Policy: "throttle"},
	}
	for i, opt := range opts {
		if opt == nil {
			c.problems.Add("option %d is nil", i+1)
			continue
		}
		opt(c)
	}
	return c
}

// K sets how many attempts the dependency gets for each one that it accepts, before others are refused [2]. It must
// be a finite number that is at least 1. Less than 1.1 refuses as soon as single attempts fail; a higher K refuses
// later and wastes more of the dependency's work on refusing, but notices a recovery sooner.
func K(k float64) Option {
	return func(c *config) {
		if !(k >= 1) || math.IsInf(k, 0) {
			c.problems.Add("K(%v): must be a finite number that is at least 1", k)
		}
		c.k = k
	}
}

// Window sets how far back attempts count, and in how many steps they are forgotten [30 s, 30]. There must be 2 to 1000
// buckets, and length must be at least a nanosecond for each. What is older than length never counts; what is
// older than length less one bucket may not. A bucket costs 32 bytes.
//
// Attempts in flight for longer than one or two buckets count as not accepted, so a bucket, length divided by buckets, should
// be longer than what an attempt normally takes.
func Window(length time.Duration, buckets int) Option {
	return func(c *config) {
		if buckets < minBuckets || buckets > maxBuckets {
			c.problems.Add("Window(%v, %d): the number of buckets must be from %d to %d", length, buckets, minBuckets, maxBuckets)
		}
		if length <= 0 || length < time.Duration(buckets) {
			c.problems.Add("Window(%v, %d): the length must be at least a nanosecond for each bucket", length, buckets)
		}
		c.window, c.buckets = length, buckets
	}
}

// Padding sets about how many attempts per window are let through to a dependency that accepts none [8]. It must be
// at least 1, which is the book's own formula. It is also how many requests the throttle needs to make up its mind:
// when none of the first n is accepted, the next is refused with probability n/(n+padding).
func Padding(n int) Option {
	return func(c *config) {
		if n < 1 {
			c.problems.Add("Padding(%d): must be at least 1", n)
		}
		c.padding = n
	}
}

// Classify refines what an error says about the dependency [every error is a failure]. [policy.Success] means that
// the dependency did the work, [policy.Failure] that it did not, [policy.Neutral] that the attempt should not count.
// classify is called on the goroutine of the call, under no lock, only for the errors that
// [policy.Outcome.Verdict] does not judge itself.
func Classify(classify func(error) policy.Class) Option {
	return func(c *config) {
		if classify == nil {
			c.problems.Add("Classify: the function is nil")
		}
		c.classify = classify
	}
}

// Rand sets the source of chance, so that a run can be repeated [the process's own]. The Throttle guards it: it is
// never used by two goroutines at once, unless it is given to something else too.
func Rand(source rand.Source) Option {
	return func(c *config) {
		if source == nil {
			c.problems.Add("Rand: the source is nil")
			return
		}
		c.random = guarded(rand.New(source))
	}
}

func guarded(random *rand.Rand) func() float64 {
	var mu sync.Mutex
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return random.Float64()
	}
}

// Name sets the name that rejections, [Throttle.String] and snapshots show [none].
func Name(name string) Option {
	return func(c *config) { c.name = name }
}
