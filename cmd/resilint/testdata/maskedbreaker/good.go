package maskedbreaker

import (
	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

var shed = resilience.Compose(
	policy.At(policy.StageShed, bulkhead.New(64)),
	retry.New(),
	breaker.New(),
)
