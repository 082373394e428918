package scenario

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/testsize"
)

// Parts that use timers, parallel attempts, queues and every kind of policy.
var parts = map[string]struct {
	of   *Scenario
	part func(*Lab)
}{
	"jitter":     {&jitter, runJitter},
	"hedge":      {&hedging, tailAtScale},
	"bulkhead":   {&limiting, slowness},
	"rate limit": {&limiting, bursts},
	"breaker":    {&order, flagship},
	"storm":      {&storm, slowTime},
}

func TestSameSeedSameHash(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	for name, c := range parts {
		t.Run(name, func(t *testing.T) {
			if raceEnabled && name != "bulkhead" && name != "rate limit" || !testsize.Whole() && name != "hedge" && name != "rate limit" {
				t.Skip("takes seconds of work")
			}
			runtime.GOMAXPROCS(1)
			one := play(t, c.of, c.part, Options{Seed: 3})
			runtime.GOMAXPROCS(2)
			two := play(t, c.of, c.part, Options{Seed: 3})
			require.Equal(t, one.Hash, two.Hash)
			require.Equal(t, one.Checks, two.Checks)
			require.NotEqual(t, one.Hash, play(t, c.of, c.part, Options{Seed: 4}).Hash)
		})
	}
}
