package maskedbreaker

import (
	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

var inside = resilience.Compose(
	breaker.New(),
	policy.At(policy.StageBreaker+1, retry.New()), // want "RL9e: the retry stands inside breakers here"
)

var outside = resilience.Compose(
	policy.At(policy.StageRetry-1, breaker.New()), // want "RL9e: the breaker stands outside retries here"
	retry.New(),
)
