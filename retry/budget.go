package retry

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

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

// share is the budget of NewBudget. What calls and time have earned is credited when somebody asks for a retry.
//
// A call is counted only as long as calls can still earn something: a full budget earns nothing. So while nothing
// fails, a call costs one load of a word that nobody writes; counting every call would cost it an atomic addition, 7 of
// 20 ns, and all cores would write to one cache line. The bound holds all the same: no token is used before it is
// credited, and what is there is bounded by most.
type share struct {
	ratio, perSecond, most float64

	owed atomic.Int64 // so many more calls would fill the budget; at or below 0, calls are not counted

	mu       sync.Mutex
	clock    stopwatch.Stopwatch
	credited time.Duration // up to when time was credited
	missing  int64         // owed as it was last set: the calls that would have filled the budget then
	tokens   float64
	refused  uint64
}

// grain is what the sum of many small earnings may be short of a whole token.
const grain = 1e-6

func (s *share) heard(first, _ bool) {
	if first && s.owed.Load() > 0 {
		s.owed.Add(-1)
	}
}

func (s *share) failed() {}

func (s *share) withdraw() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	owed, now := s.owed.Load(), s.clock.Elapsed()
	s.tokens = s.credit(owed, now)
	enough := s.tokens >= 1-grain
	if enough {
		s.tokens--
	} else {
		s.refused++
	}
	s.credited = now
	s.missing = s.toFill()
	s.owed.Add(s.missing - owed) // and not Store: calls that end meanwhile count
	return enough
}

func (s *share) giveBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens++ // bounded when it is next looked at
}

// credit returns the tokens that are there at now, when owed calls would still fill the budget. The mutex is held.
func (s *share) credit(owed int64, now time.Duration) float64 {
	calls := float64(s.missing - max(0, owed))
	seconds := max(0, now-s.credited).Seconds()
	return min(s.most, s.tokens+s.ratio*calls+s.perSecond*seconds)
}

// toFill returns how many calls fill the budget from where it is. The mutex is held.
func (s *share) toFill() int64 {
	if s.ratio == 0 {
		return 0
	}
	return int64(min(math.Ceil((s.most-s.tokens)/s.ratio), 1<<62))
}

func (s *share) snapshot() BudgetSnapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return BudgetSnapshot{Tokens: s.credit(s.owed.Load(), s.clock.Elapsed()), Max: s.most, Refused: s.refused}
}
