package hedge

import (
	"sync"
	"time"

	"github.com/go-resilience/resilience/internal/stopwatch"
)

// Budget bounds extra attempts, so that a dependency that has become slow for everybody is not sent twice the load. A
// retry.Budget is one. Its methods must be safe for concurrent use and must not wait.
type Budget interface {
	// Withdraw asks for one extra attempt. It takes it from the budget and returns true, or returns false.
	Withdraw() bool
	// Return gives back what Withdraw has taken, when the attempt is not made after all.
	Return()
}

// allowance is the Budget of [Limit]: a token bucket that calls and time fill.
type allowance struct {
	ratio, perSecond, most float64

	clock  stopwatch.Stopwatch
	mu     sync.Mutex
	tokens float64
	at     time.Duration // up to when time has filled it
}

func newAllowance(ratio, perSecond float64) *allowance {
	most := max(1, 10*perSecond)
	return &allowance{ratio: ratio, perSecond: perSecond, most: most, clock: stopwatch.Start(), tokens: most}
}

// deposit is told of each call.
func (a *allowance) deposit() { a.add(a.ratio) }

func (a *allowance) Return() { a.add(1) }

func (a *allowance) add(tokens float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens = min(a.most, a.tokens+tokens)
}

func (a *allowance) Withdraw() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock.Elapsed()
	a.tokens = min(a.most, a.tokens+a.perSecond*max(0, now-a.at).Seconds())
	a.at = now
	if a.tokens < 1 {
		return false
	}
	a.tokens--
	return true
}
