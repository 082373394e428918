package scenario

import "github.com/go-resilience/resilience"

// compose is [resilience.Compose], except in the tests that give a scenario a broken policy to see its verdict fail.
var compose = resilience.Compose
