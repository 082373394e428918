package gateinretry

import (
	"errors"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/retry"
)

var _ = retry.New(retry.If(func(err error) bool {
	return !errors.Is(err, breaker.ErrOpen) // want "RL10: a retry never asks about a refusal of a policy inside it: this test decides nothing"
}))
