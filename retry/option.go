package retry

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/go-resilience/resilience/internal/random"
	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

// Option configures a [Retrier]. Of the same option given twice, the later one counts.
type Option func(*config)

// Attempts sets the most attempts of a call, the first one included. It must be at least 1, which means no retry. The
// default is 3.
func Attempts(n int) Option {
	return func(c *config) {
		c.attempts = n
		c.given.Data("Attempts", setting.Arg("n", n))
	}
}

// Exponential lets delays, before jitter, start at initial and grow by the [Multiplier] up to longest. initial must be
// positive and not above longest. The default is from 100 ms to 10 s.
func Exponential(initial, longest time.Duration) Option {
	return func(c *config) {
		c.initial, c.longest = initial, longest
		c.given.Data("Exponential", setting.Arg("initial", initial), setting.Arg("longest", longest))
	}
}

// Multiplier sets the factor by which exponential delays grow. It must be a number that is at least 1. The default is 2.
func Multiplier(factor float64) Option {
	return func(c *config) {
		c.multiplier = factor
		c.given.Data("Multiplier", setting.Arg("factor", factor))
	}
}

// Constant uses the same delay every time, before jitter. 0 means to retry at once; it must not be negative.
func Constant(delay time.Duration) Option {
	return func(c *config) {
		c.constant = delay
		c.given.Data("Constant", setting.Arg("delay", delay))
	}
}

// Delay asks f for each delay: it can depend on the number of the attempt that has failed and on its error. f is called
// on the goroutine of the call. Its answer is at most the longest delay of [Exponential], 10 s by default, a negative one
// counts as 0, and jitter is applied.
func Delay(f func(policy.Attempt) time.Duration) Option {
	return func(c *config) {
		c.function = f
		c.given.Code("Delay")
	}
}

// BackOff takes delays from a source of package backoff. newSource is called for each call that fails, from the
// goroutine of the call, and must return a new source each time, since sources have state; Reset is called before the
// first delay. A negative delay counts as 0. backoff.Stop, and a nil source, end the call with [ErrExhausted].
//
// Only the delays are used. Jitter is applied to them: add [NoJitter] when the source randomises. Note that
// backoff.NewExponentialBackOff randomises, and says stop after 15 minutes unless its MaxElapsedTime is set to 0.
//
// newSource is called at construction too, so that what can be checked is checked: nil, one instance for all calls,
// and the fields of a *backoff.ExponentialBackOff.
func BackOff(newSource func() backoff.BackOff) Option {
	return func(c *config) {
		c.source = newSource
		c.given.Code("BackOff")
	}
}

// FullJitter draws each delay evenly from 0 to the source's delay. It is the default: with many clients it makes
// the fewest attempts.
func FullJitter() Option { return jitterOption("FullJitter", fullJitter) }

// EqualJitter draws each delay evenly from half of the source's delay to all of it: never very short.
func EqualJitter() Option { return jitterOption("EqualJitter", equalJitter) }

// DecorrelatedJitter draws each delay evenly from the initial delay to three times the previous one, and then caps it.
// It replaces the growth by the multiplier, so it goes with [Exponential] only.
func DecorrelatedJitter() Option { return jitterOption("DecorrelatedJitter", decorrelatedJitter) }

// ProportionalJitter draws each delay evenly from (1 − share) to (1 + share) times the source's delay, as gRPC does with
// a share of 0.2. The delay can so be above the longest one by that share. share must be above 0 and at most 1. Clients
// that failed together spread over less time than with [FullJitter].
func ProportionalJitter(share float64) Option {
	return func(c *config) {
		c.jitter, c.share = proportionalJitter, share
		c.given.Data("ProportionalJitter", setting.Arg("share", share))
	}
}

// NoJitter waits exactly as long as the source says. Clients that failed together come back together: use it in
// tests, or with a source that randomises itself.
func NoJitter() Option { return jitterOption("NoJitter", noJitter) }

func jitterOption(name string, mode jitter) Option {
	return func(c *config) {
		c.jitter = mode
		c.given.Data(name)
	}
}

// Rand sets the source of randomness for jitter, so that a run can be repeated. The Retrier guards it: it is never used
// by two goroutines at once, unless it is given to something else too. The default is the process's own.
func Rand(source rand.Source) Option {
	return func(c *config) {
		c.randSource, c.random = source, nil
		if source != nil {
			c.random = random.Guard(source)
		}
		c.given.Code("Rand")
	}
}

// If retries only errors for which retryable returns true, whatever their class. By default errors are retried whose
// class is Transient, Throttled or not known. It is asked once for each attempt that entered the operation and failed,
// on the goroutine of the call, but not about errors that are never retried: [Permanent] ones, rejections, those of a
// retry inside, those of a [NotIdempotent] operation, and any after the context has ended.
func If(retryable func(error) bool) Option {
	return func(c *config) {
		c.retryIf = retryable
		c.given.Code("If")
	}
}

// RetryNested retries errors of an operation that has itself retried and given up: those with an [*Error] in their tree.
// By default they are final, since three attempts at each of three levels are 27.
func RetryNested() Option {
	return func(c *config) {
		c.nested = true
		c.given.Data("RetryNested")
	}
}

// RetryRejections retries rejections that match one of reasons, the sentinels of the policies that refuse, such as
// bulkhead.ErrFull, as if the attempt had failed. By default none is. The delay is raised to the rejection's RetryAfter.
// A refused attempt counts as one of [Attempts]. A gate that refuses, such as an open breaker, ends the call all the
// same: see [AwaitRecovery]. Composing refuses the reasons of gates.
func RetryRejections(reasons ...error) Option {
	return func(c *config) {
		c.rejections = slices.Clone(reasons)
		c.given.Code("RetryRejections")
	}
}

// MaxRetryAfter sets the longest wait that an error may ask for. An error of the operation asks with a method
// RetryAfter() (time.Duration, bool) anywhere in its tree, as made from a server's answer; the delay is raised to it
// and never lowered. Up to a tenth is added at random, as far as the deadline allows, so that those who were asked to wait
// together do not come back together; not with [NoJitter]. A call that is asked for more than longest ends at once, with
// [ErrRetryAfter], since the caller's time is better spent than asleep. It must be positive. The default is 30 s.
//
// If the error also has a method Pushback() bool that answers true, as gRPC's pushback demands, the delay is exactly the
// wait that it asks for, even if that is shorter, and delays begin anew after it. With [Delay] the function alone knows
// where it begins.
func MaxRetryAfter(longest time.Duration) Option {
	return func(c *config) {
		c.maxRetryAfter = longest
		c.given.Data("MaxRetryAfter", setting.Arg("longest", longest))
	}
}

// AwaitRecovery waits for a gate that refuses, such as an open breaker, instead of ending the call, for at most
// longest and only if the deadline of the context allows. By default it does not wait. At the end of the wait there is
// one more attempt, the last. If other callers take the places of the recovering dependency first, it asks again, as long
// as longest lasts.
//
// longest bounds the wait, and is not a time to keep trying for: if the attempt after the wait fails, the call ends,
// however much of longest is left. And a gate that says that it will be ready only after longest ends the call at once. To
// go on for the whole of an outage, put the work back and do it again later, as the consumer of a queue does.
//
// The wait ends at a random moment after the gate should be ready, so that those who wait do not come as one. It is put
// off by at most an eighth of longest, and by no more than the gate says that it will be closed for: callers come back no
// faster than they came. A gate that cannot say when it will be ready, such as a half-open breaker whose probes are
// taken, is asked again after a sixteenth to three sixteenths of longest, or after 5 s to 15 s if that is sooner. With
// [NoJitter] it is the earliest moment. A caller who waits is not woken when the gate becomes ready earlier than it said.
//
// It is for work that has time and cannot be done without, such as a message that a worker already holds; a user who
// waits is better served by an error. Keep longest below the total timeout of the call, and that below the time for
// which a queue hides the message. Against a longer outage ask Pipeline.Ready before a message is taken.
//
// Every waiting call holds its goroutine and whatever the caller holds: bound the number of callers. longest must be
// positive, and [Attempts] more than 1.
func AwaitRecovery(longest time.Duration) Option {
	return func(c *config) {
		c.patience = longest
		c.given.Data("AwaitRecovery", setting.Arg("longest", longest))
	}
}

// WithBudget pays retries from budget, which may be shared: with other Retriers, and with hedges. The default is a
// budget of the Retrier's own: NewBudget(0.2, 10).
func WithBudget(budget policy.Budget) Option {
	return func(c *config) {
		c.budget = budget
		c.given.Code("WithBudget")
	}
}

// NoBudget lets the number of attempts be the only bound. When everything fails, the load is then multiplied by it.
func NoBudget() Option {
	return func(c *config) { c.given.Data("NoBudget") }
}

// OnDiscard hands f the value that an attempt returned beside its error, when another attempt follows: the body of a
// response that was answered with an error, for example. f is called just before that attempt enters the operation, which
// waits for it, on a goroutine of its own. If f panics or calls [runtime.Goexit], the operation is not entered again, and
// the caller panics or exits the same way. The value of the last attempt is the caller's. Zero values are not handed over.
func OnDiscard(f func(value any)) Option {
	return func(c *config) {
		c.discard = f
		c.given.Code("OnDiscard")
	}
}

// Name sets the name that errors, [Retrier.String] and snapshots show. By default there is none.
func Name(name string) Option {
	return func(c *config) {
		c.name = name
		c.given.Data("Name", setting.Arg("name", name))
	}
}
