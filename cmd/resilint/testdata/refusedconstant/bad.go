package refusedconstant

import (
	"time"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

var (
	_ = breaker.New(breaker.FailureRate(50, 20), breaker.Name("db")) // want "RL9f: New panics: .*50"
	_ = retry.New(retry.Attempts(0))                                 // want "RL9f: New panics: .*0"
	_ = timeout.Total(-time.Second)                                  // want "RL9f: Total panics: .*-1s"
	_ = ratelimit.New(100, 0)                                        // want "RL9f: New panics: .*0"
	_ = bulkhead.New(0, bulkhead.Queue(10, time.Second))             // want "RL9f: New panics: .*0"
)
