package policygrpc

import (
	"math"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// What the policies of a service config are made of: layers, by the rules of gRPC proposal A6.

// maxAttempts is the most that gRPC proposal A6 allows, whatever the config says.
const maxAttempts = 5

// layers returns the layers that do what the retry policy says.
func (p *retryPolicyJSON) layers(at section, throttle *retry.TokenBudget) []policy.Layer {
	attempts := attemptsOf(at.field("maxAttempts"), p.MaxAttempts)
	initial := p.InitialBackoff.positive(at.field("initialBackoff"))
	longest := p.MaxBackoff.positive(at.field("maxBackoff"))
	if !(p.BackoffMultiplier > 0) || math.IsInf(p.BackoffMultiplier, 0) {
		at.field("backoffMultiplier").addValue(p.BackoffMultiplier, "must be positive")
	}
	retryable := p.RetryableStatusCodes.set(at.field("retryableStatusCodes"))
	if len(retryable) == 0 {
		at.field("retryableStatusCodes").add("there are none")
	}
	if at.isBad() {
		return nil
	}
	budget := retry.NoBudget()
	if throttle != nil {
		budget = retry.WithBudget(throttle)
	}
	return []policy.Layer{retry.New(
		retry.Attempts(attempts),
		retry.BackOff(func() backoff.BackOff {
			return &configBackoff{initial: float64(initial), longest: float64(longest), multiplier: p.BackoffMultiplier}
		}),
		retry.ProportionalJitter(0.2),
		retry.If(func(err error) bool { return retryable[Status(err).Code()] }),
		budget,
	)}
}

// layers returns the layers that do what the hedging policy says, and its non-fatal codes.
func (p *hedgingPolicyJSON) layers(at section, throttle *retry.TokenBudget) (layers []policy.Layer, nonFatal codeSet) {
	attempts := attemptsOf(at.field("maxAttempts"), p.MaxAttempts)
	delay := max(1, p.HedgingDelay.valid(at.field("hedgingDelay")))
	nonFatal = p.NonFatalStatusCodes.set(at.field("nonFatalStatusCodes"))
	if at.isBad() {
		return nil, nil
	}
	budget := policy.Budget(unlimited{})
	if throttle != nil {
		budget = throttle
	}
	return []policy.Layer{
		hedge.New(hedge.Idempotent(), hedge.Extra(attempts-1), hedge.After(delay), hedge.AfterFailure(),
			hedge.WithBudget(budget)),
		&pushbackGuard{delay},
		resilience.Classify(func(err error) policy.Class { return hedgeClass(err, nonFatal) }),
	}, nonFatal
}

// hedgeClass returns the class of an error by what a hedging policy says of its code.
func hedgeClass(err error, nonFatal codeSet) policy.Class {
	class := Classify(err)
	mayMend := class == policy.Transient || class == policy.Throttled
	switch code := Status(err).Code(); {
	case nonFatal[code] && !mayMend:
		return policy.Transient
	case !nonFatal[code] && mayMend:
		return policy.Permanent
	}
	return class
}

// budget returns the token budget of the throttling, nil if there is none.
func (t *retryThrottlingJSON) budget(at section) *retry.TokenBudget {
	if t == nil {
		return nil
	}
	if t.MaxTokens != math.Trunc(t.MaxTokens) || math.Abs(t.MaxTokens) > 1e6 {
		at.field("maxTokens").addValue(t.MaxTokens, "must be a whole number from 1 to 1000")
		return nil
	}
	if err := retry.ValidateTokenBudget(int(t.MaxTokens), t.TokenRatio); err != nil {
		at.addError(err)
		return nil
	}
	return retry.NewTokenBudget(int(t.MaxTokens), t.TokenRatio)
}

// attemptsOf returns how many attempts a policy allows.
func attemptsOf(at section, attempts float64) int {
	if !(attempts >= 2) || attempts != math.Trunc(attempts) {
		at.addValue(attempts, "must be a whole number of at least 2")
		return 2
	}
	return int(min(attempts, maxAttempts))
}

// configBackoff is the backoff of a retry policy without its jitter: min(initial × multiplier^(n−1), longest).
type configBackoff struct {
	initial, longest, multiplier float64
	retries                      int // so far
}

func (b *configBackoff) NextBackOff() time.Duration {
	delay := min(b.initial*math.Pow(b.multiplier, float64(b.retries)), b.longest)
	b.retries++
	return time.Duration(min(delay, float64(math.MaxInt64/2)))
}

func (b *configBackoff) Reset() { b.retries = 0 }

// unlimited is a budget that allows everything: the number of attempts is the only bound of a hedging policy.
type unlimited struct{}

func (unlimited) Deposit()       {}
func (unlimited) Withdraw() bool { return true }
func (unlimited) Return()        {}
