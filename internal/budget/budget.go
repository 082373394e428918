// Package budget is the arithmetic of the budgets that retries and hedges share: what calls earn, what time earns, what
// is kept of it, and what extra attempts cost.
package budget

import (
	"sync"
	"time"

	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
)

// Most bounds ratio and perSecond, so that the sums stay exact enough.
const Most = 1e9

// seconds is for how long calls count towards what a budget can hold.
const seconds = 10

// grain is what the sum of many small earnings may be short of a whole token.
const grain = 1e-6

// Budget is a bucket of tokens. Each call earns ratio tokens, each second earns perSecond, an extra attempt costs one.
// It holds at most
//
//	max(1, 10 × perSecond) + ratio × the calls of the last 10 seconds
//
// and begins with the first term. So what was earned in good times lasts for 10 seconds, and where extra attempts are
// always wanted there are as many as calls and time have earned, whatever the ratio. After Finagle's RetryBudget.
//
// Every call is counted. The second that it is counted in is exact up to 256 calls a second; beyond that a
// small part of one second's calls may be counted later, when a batch is full or a token is asked for.
type Budget struct {
	tally tally

	mu       sync.Mutex
	clock    stopwatch.Stopwatch
	balance  balance
	lastUsed time.Duration
	denied   uint64
}

var _ policy.Budget = (*Budget)(nil)

// New returns a budget. ratio and perSecond must be such that [Check] finds no problem.
func New(ratio, perSecond float64) *Budget {
	b := &Budget{clock: stopwatch.Start()}
	b.tally.init()
	b.balance.ratio, b.balance.perSecond = ratio, perSecond
	b.balance.tokens = b.balance.floor()
	return b
}

// Check notes what is wrong with the arguments of [New].
func Check(ratio, perSecond float64, problems *policy.ConfigError) {
	if !(ratio >= 0 && ratio <= Most) {
		problems.Add("ratio %v: must be from 0 to %g", ratio, float64(Most))
	}
	if !(perSecond >= 0 && perSecond <= Most) {
		problems.Add("perSecond %v: must be from 0 to %g", perSecond, float64(Most))
	}
	if ratio == 0 && perSecond == 0 {
		problems.Add("ratio 0 and perSecond 0: would never allow an extra attempt")
	}
}

// Reconfigure changes what calls and time earn from now on. What is there stays, as far as the budget can hold it.
func (b *Budget) Reconfigure(ratio, perSecond float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settle()
	b.balance.ratio, b.balance.perSecond = ratio, perSecond
	b.balance.tokens = min(b.balance.tokens, b.balance.limit())
}

// Deposit says that a call was made.
func (b *Budget) Deposit() {
	if b.tally.add() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.settle()
		b.tally.adapt()
	}
}

// Withdraw takes a token, and reports whether there was one.
func (b *Budget) Withdraw() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settle()
	if b.balance.tokens < 1-grain {
		b.denied++
		return false
	}
	b.balance.tokens = max(0, b.balance.tokens-1)
	return true
}

// Return gives back what Withdraw has taken.
func (b *Budget) Return() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.balance.tokens = min(b.balance.tokens+1, b.balance.limit())
}

// settle brings the balance up to date. The mutex is held.
func (b *Budget) settle() {
	now := b.clock.Elapsed() // under the lock, so that time does not go back
	b.lastUsed = now
	if b.balance.advance(now) {
		b.tally.beginSecond()
	}
	b.balance.earn(b.tally.take())
}

// view returns the balance as it would be now, without changing it. The mutex is held.
func (b *Budget) view() balance {
	balance := b.balance
	balance.advance(b.clock.Elapsed())
	balance.earn(b.tally.count())
	return balance
}

// Snapshot is a budget at one moment.
type Snapshot struct {
	Tokens float64 // what is there
	Limit  float64 // the most that can be there now
	Denied uint64  // extra attempts that were not allowed since the budget was made
}

// Snapshot returns one consistent value. It changes nothing.
func (b *Budget) Snapshot() Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	balance := b.view()
	return Snapshot{Tokens: balance.tokens, Limit: balance.limit(), Denied: b.denied}
}

// Forget is for how long a budget that time does not fill must be unused until it is idle.
const Forget = time.Minute

// Idle reports whether a new budget in the place of this one would allow nothing that this one denies: it has at least
// as many tokens as a new one. One that is filled by calls alone is idle too when it was not used for [Forget].
func (b *Budget) Idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	balance := b.view()
	return balance.tokens >= balance.floor()-grain ||
		balance.perSecond == 0 && b.tally.count() == 0 && b.clock.Elapsed()-b.lastUsed >= Forget
}

// balance is what a budget has, without lock and clock.
type balance struct {
	ratio, perSecond float64

	tokens float64
	at     time.Duration      // up to when time has earned tokens
	calls  [seconds + 1]int64 // of each second, in a ring; the current one is not over yet
	sum    int64              // of calls
}

// floor is what the budget holds without calls.
func (b *balance) floor() float64 { return max(1, seconds*b.perSecond) }

func (b *balance) limit() float64 { return b.floor() + b.ratio*float64(b.sum) }

// advance lets time pass until now, and reports whether another second has begun. When the clock was exchanged for an
// earlier one, as inside a synctest bubble, no time has passed, and it goes on from there: moments can be negative.
func (b *balance) advance(now time.Duration) (newSecond bool) {
	if now > b.at {
		second := b.at / time.Second
		over := min(now/time.Second-second, seconds+1) // seconds that have passed; so many clear the whole ring
		for ; over > 0; over-- {
			second++
			newSecond = true
			b.sum -= b.calls[ring(second)]
			b.calls[ring(second)] = 0
		}
		b.tokens = min(b.tokens+b.perSecond*(now-b.at).Seconds(), b.limit())
	}
	b.at = now
	return newSecond
}

// earn credits calls that were made now.
func (b *balance) earn(calls int64) {
	b.calls[ring(b.at/time.Second)] += calls
	b.sum += calls
	b.tokens += b.ratio * float64(calls)
}

// ring returns the place of a second, which can be negative.
func ring(second time.Duration) int {
	const length = seconds + 1
	return int((second%length + length) % length)
}
