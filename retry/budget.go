package retry

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
)

// Budget bounds the retries of everybody who shares it, so that a dependency that fails is not also flooded. A number
// of attempts bounds a single call; it does not help when every call fails, since the load is then multiplied by that
// number, at the worst moment.
//
// A retry that finds the budget empty is not made, and does not wait: waiting for a budget that only successes fill
// would be waiting for oneself. The call ends at once with [ErrBudget].
//
// Every [Retrier] has a budget of its own unless [WithBudget] or [NoBudget] says otherwise. Share one among the
// Retriers of one dependency. A Budget is safe for concurrent use; a call that succeeds takes no lock.
type Budget struct{ rule rule }

// rule is a kind of budget.
type rule interface {
	// heard: an attempt that entered the operation has ended, the first one of its call or a later one.
	heard(first, succeeded bool)
	// failed: it has failed in a way that may be retried.
	failed()
	// withdraw: a retry is to be scheduled; may it?
	withdraw() bool
	// giveBack: a retry that was scheduled is not made.
	giveBack()
	snapshot() BudgetSnapshot
}

// NewBudget returns a budget that earns ratio tokens for each call, and perSecond tokens each second. A retry costs
// one token. It holds at most as many tokens as it earns in 10 seconds without calls, but at least 1, and begins
// full. So in every period:
//
//	retries ≤ ratio × calls + perSecond × seconds + max(1, 10 × perSecond)
//
// A call counts when its first attempt has ended, whether it failed or not; a call that was refused locally does not
// count. A retry counts when it is scheduled, before its delay; it is returned when it is not made after all.
//
// ratio and perSecond are from 0 to 1e9, and not both 0; NewBudget panics otherwise, see
// [ValidateBudget]. A Retrier's own budget is NewBudget(0.2, 10). After Finagle's RetryBudget.
func NewBudget(ratio, perSecond float64) *Budget {
	if err := ValidateBudget(ratio, perSecond); err != nil {
		panic(err)
	}
	most := max(1, 10*perSecond)
	return &Budget{&share{ratio: ratio, perSecond: perSecond, most: most, tokens: most, clock: stopwatch.Start()}}
}

// mostBudget bounds what a budget is made of, so that its arithmetic stays exact enough.
const mostBudget = 1e9

// ValidateBudget returns the [*policy.ConfigError] that [NewBudget] would panic with, or nil.
func ValidateBudget(ratio, perSecond float64) error {
	problems := policy.ConfigError{Policy: "retry.NewBudget"}
	if !(ratio >= 0 && ratio <= mostBudget) {
		problems.Add("ratio %v: must be from 0 to %g", ratio, float64(mostBudget))
	}
	if !(perSecond >= 0 && perSecond <= mostBudget) {
		problems.Add("perSecond %v: must be from 0 to %g", perSecond, float64(mostBudget))
	}
	if ratio == 0 && perSecond == 0 {
		problems.Add("ratio 0 and perSecond 0: would never allow a retry: use Attempts(1)")
	}
	return problems.Err()
}

// Withdraw asks for a retry, and reports whether it may be scheduled. A Retrier asks by itself; the method is for
// others who add attempts to the same dependency, such as a hedge.
func (b *Budget) Withdraw() bool { return b.rule.withdraw() }

// Return gives back what Withdraw has taken, when the retry is not made after all.
func (b *Budget) Return() { b.rule.giveBack() }

// BudgetSnapshot is the state of a [Budget] at one moment.
type BudgetSnapshot struct {
	Tokens  float64 // what is there
	Max     float64 // the most that can be there
	Refused uint64  // retries that were refused since the budget was made
}

// Snapshot returns one consistent value. It changes nothing.
func (b *Budget) Snapshot() BudgetSnapshot { return b.rule.snapshot() }

// String returns what is there and the most that can be there.
func (b *Budget) String() string {
	s := b.Snapshot()
	return fmt.Sprintf("budget %.1f of %.1f", s.Tokens, s.Max)
}

// share is the budget of NewBudget. Calls are only counted; what they have earned is credited when somebody asks. So
// a success is one addition, without lock and clock, and the bound holds all the same: no token is used before
// it is credited, and what is credited at once is bounded by most.
type share struct {
	ratio, perSecond, most float64

	calls atomic.Uint64

	mu       sync.Mutex
	clock    stopwatch.Stopwatch
	credited account
	tokens   float64
	refused  uint64
}

// grain is what the sum of many small earnings may be short of a whole token.
const grain = 1e-6

// account is up to where tokens were credited.
type account struct {
	calls   uint64
	seconds float64
}

func (s *share) heard(first, _ bool) {
	if first {
		s.calls.Add(1)
	}
}

func (s *share) failed() {}

func (s *share) withdraw() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens, s.credited = s.credit()
	if s.tokens < 1-grain {
		s.refused++
		return false
	}
	s.tokens--
	return true
}

func (s *share) giveBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens++ // bounded when it is next looked at
}

// credit returns the tokens that are there now, and up to where that counts. The mutex is held.
func (s *share) credit() (float64, account) {
	now := account{calls: s.calls.Load(), seconds: s.clock.Elapsed().Seconds()}
	earned := s.ratio*float64(now.calls-s.credited.calls) + s.perSecond*max(0, now.seconds-s.credited.seconds)
	return min(s.most, s.tokens+earned), now
}

func (s *share) snapshot() BudgetSnapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	tokens, _ := s.credit()
	return BudgetSnapshot{Tokens: tokens, Max: s.most, Refused: s.refused}
}
