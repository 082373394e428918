package scenario

import "github.com/go-resilience/resilience/lab/internal/sim"

// compose is [sim.Compose], except in the tests that give a scenario a broken policy to see its verdict fail.
var compose = sim.Compose
