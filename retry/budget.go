package retry

import (
	"encoding/json"
	"sync/atomic"

	"github.com/go-resilience/resilience/internal/budget"
	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

// feedback is a budget that needs to know how each attempt ended.
type feedback interface {
	Succeeded()
	Failed() // in a way that may be retried
}

// denier is a budget that counts what it denies only when it is told of it, as its Ready is a mere question.
type denier interface{ deny() }

// Budget bounds the retries of all Retriers that share it, so that a dependency that fails is not also flooded. A number
// of attempts bounds a single call; it does not help when every call fails, since the load is then multiplied by that
// number, at the worst moment.
//
// A retry that finds the budget empty is not made, and does not wait for a token: when everything fails, the calls that
// wait would only pile up. The call ends at once with [ErrBudget].
//
// Every [Retrier] has a budget of its own unless [WithBudget] or [NoBudget] says otherwise. Share one among the
// Retriers and hedges of one dependency. A Budget is safe for concurrent use.
type Budget struct {
	inner *budget.Budget
	args  atomic.Pointer[arguments]
}

var (
	_ policy.Budget   = (*Budget)(nil)
	_ policy.Reporter = (*Budget)(nil)
)

// NewBudget returns a budget that earns ratio tokens for each call, and perSecond tokens each second. A retry costs
// one token. It begins with max(1, 10 × perSecond) tokens and holds at most
//
//	max(1, 10 × perSecond) + ratio × the calls of the last 10 seconds
//
// so what good traffic has earned is there when something breaks, and is forgotten 10 seconds later. When every call
// fails, the share of calls that are retried is the ratio, exactly. In every period:
//
//	retries ≤ ratio × (calls of the period and of the 10 seconds before it) +
//		perSecond × seconds + max(1, 10 × perSecond)
//
// A call counts when the first of its attempts that entered the operation has ended, whether it failed or not; a call
// that was refused locally does not count. A retry counts when it is scheduled, before its delay; it is returned when it
// is not made after all.
//
// ratio and perSecond are from 0 to 1e9, and not both 0; NewBudget panics otherwise, see [ValidateBudget]. A Retrier's
// own budget is NewBudget(0.2, 10). After Finagle's RetryBudget.
func NewBudget(ratio, perSecond float64) *Budget {
	if err := ValidateBudget(ratio, perSecond); err != nil {
		panic(err)
	}
	b := &Budget{inner: budget.New(ratio, perSecond)}
	b.setArgs(ratio, perSecond)
	return b
}

func (b *Budget) setArgs(ratio, perSecond float64) {
	b.args.Store(argumentsOf(kindBudget, setting.Arg("ratio", ratio), setting.Arg("perSecond", perSecond)))
}

func (b *Budget) arguments() *arguments { return b.args.Load() }

// ValidateBudget returns the [*policy.ConfigError] that [NewBudget] would panic with, or nil.
func ValidateBudget(ratio, perSecond float64) error {
	problems := policy.ConfigError{Policy: "retry.NewBudget"}
	budget.Check(ratio, perSecond, &problems)
	return problems.Err()
}

func (b *Budget) isMade() bool { return b.inner != nil }

func (b *Budget) current() *budget.Budget {
	if b.inner == nil {
		panic("retry: a Budget must be made with NewBudget")
	}
	return b.inner
}

// Reconfigure changes what calls and time earn from now on. The tokens that are there stay, as far as the budget can
// still hold them. It returns what [ValidateBudget] does, and then changes nothing.
func (b *Budget) Reconfigure(ratio, perSecond float64) error {
	if err := ValidateBudget(ratio, perSecond); err != nil {
		return err
	}
	b.current().Reconfigure(ratio, perSecond)
	b.setArgs(ratio, perSecond)
	return nil
}

// Deposit says that a call was made. Pipelines do by themselves, once for each call, however many of their layers use
// the budget; the method is for calls that are made without one.
func (b *Budget) Deposit() { b.current().Deposit() }

// Withdraw asks for a retry, and reports whether it may be scheduled. A Retrier asks by itself; the method is for
// other code that adds attempts to the same dependency.
func (b *Budget) Withdraw() bool { return b.current().Withdraw() }

// Return gives back what Withdraw has taken, when the retry is not made after all.
func (b *Budget) Return() { b.current().Return() }

// Idle reports whether the budget has at least as many tokens as a new one. A budget that only calls fill is idle also
// when it was not used for a minute.
func (b *Budget) Idle() bool { return b.current().Idle() }

// Snapshot returns one consistent value. It changes nothing.
func (b *Budget) Snapshot() BudgetSnapshot { return BudgetSnapshot(b.current().Snapshot()) }

// Report returns the tokens with their limit, and how many retries were denied.
func (b *Budget) Report() policy.Report {
	return reportBudget(kindBudget, b.Snapshot(), b.arguments().ofNew)
}

// MarshalJSON writes the report.
func (b *Budget) MarshalJSON() ([]byte, error) { return json.Marshal(b.Report()) }

// String returns what is there and the most that can be there now.
func (b *Budget) String() string { return b.Snapshot().String() }
