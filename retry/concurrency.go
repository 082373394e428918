package retry

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/go-resilience/resilience/internal/attempt"
	"github.com/go-resilience/resilience/internal/decimal"
	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

// ConcurrencyBudget allows retries as a share of the attempts that are in flight. See [NewConcurrencyBudget].
//
// It is a guard and a gate that stands just inside the retry, where it sees how each attempt ends.
type ConcurrencyBudget struct {
	config atomic.Pointer[concurrencyConfig]

	inFlight atomic.Int64  // attempts, retries included
	retries  atomic.Int64  // how many of them are retries
	denied   atomic.Uint64 // how many retries were
	composed atomic.Bool   // it has admitted an attempt, so it is part of a pipeline
}

type concurrencyConfig struct {
	share    float64
	fraction decimal.Fraction // share
	minimum  int
	args     *arguments
}

var (
	_ policy.Guard    = (*ConcurrencyBudget)(nil)
	_ policy.Gate     = (*ConcurrencyBudget)(nil)
	_ policy.Returner = (*ConcurrencyBudget)(nil)
	_ policy.Budget   = (*ConcurrencyBudget)(nil)
	_ policy.Idler    = (*ConcurrencyBudget)(nil)
	_ denier          = (*ConcurrencyBudget)(nil)
	_ policy.Reporter = (*ConcurrencyBudget)(nil)
)

// NewConcurrencyBudget returns a budget that allows as many retries at the same time as share times the attempts in
// flight, and always minimum. It must be given to the retry and composed beside it:
//
//	budget := retry.NewConcurrencyBudget(0.2, 3)
//	backend := resilience.Compose(retry.New(retry.WithBudget(budget)), budget, breaker.New())
//
// The share counts as the decimal fraction that it is written as, rounded down: 0.29 of 100 attempts is 29.
//
// A call that waits for its next attempt is not in flight, nor is a result that stays open once the operation has returned.
// Compared with [NewBudget], it needs no time to earn anything and forgets at once. But a dependency that fails quickly has
// few attempts in flight, and then minimum is all that bounds the rate of retries: one caller whose calls all fail retries
// each of them.
//
// share must be from 0 to 1, minimum from 0 to 1e9, and not both 0; NewConcurrencyBudget panics otherwise, see
// [ValidateConcurrencyBudget]. After Envoy's retry budget, whose defaults are 0.2 and 3.
func NewConcurrencyBudget(share float64, minimum int) *ConcurrencyBudget {
	b := &ConcurrencyBudget{}
	if err := ValidateConcurrencyBudget(share, minimum); err != nil {
		panic(err)
	}
	b.configure(share, minimum)
	return b
}

// ValidateConcurrencyBudget returns the [*policy.ConfigError] that [NewConcurrencyBudget] would panic with, or nil.
func ValidateConcurrencyBudget(share float64, minimum int) error {
	problems := policy.ConfigError{Policy: "retry.NewConcurrencyBudget"}
	if !(share >= 0 && share <= 1) {
		problems.Add("share %v: must be from 0 to 1", share)
	}
	if minimum < 0 || minimum > 1e9 {
		problems.Add("minimum %d: must be from 0 to 1e9", minimum)
	}
	if share == 0 && minimum == 0 {
		problems.Add("share 0 and minimum 0: would never allow a retry: use Attempts(1)")
	}
	return problems.Err()
}

func (b *ConcurrencyBudget) configure(share float64, minimum int) {
	b.config.Store(&concurrencyConfig{
		share: share, fraction: decimal.Of(share), minimum: minimum,
		args: argumentsOf(kindConcurrencyBudget, setting.Arg("share", share), setting.Arg("minimum", minimum)),
	})
}

func (b *ConcurrencyBudget) arguments() *arguments { return b.current().args }

func (b *ConcurrencyBudget) isMade() bool { return b.config.Load() != nil }

func (b *ConcurrencyBudget) current() *concurrencyConfig {
	c := b.config.Load()
	if c == nil {
		panic("retry: a ConcurrencyBudget must be made with NewConcurrencyBudget")
	}
	return c
}

// Reconfigure changes share and minimum. Attempts in flight stay. It returns what [ValidateConcurrencyBudget] does, and
// then changes nothing.
func (b *ConcurrencyBudget) Reconfigure(share float64, minimum int) error {
	if err := ValidateConcurrencyBudget(share, minimum); err != nil {
		return err
	}
	b.current()
	b.configure(share, minimum)
	return nil
}

// limit returns how many retries may be in flight.
func (b *ConcurrencyBudget) limit() int64 {
	c := b.current()
	return max(int64(c.minimum), c.fraction.Floor(b.inFlight.Load()))
}

// Stage returns a stage between [policy.StageRetry] and [policy.StageHedge].
func (b *ConcurrencyBudget) Stage() policy.Stage { return (policy.StageRetry + policy.StageHedge) / 2 }

// errConcurrency is every refusal.
var errConcurrency = &policy.Rejection{Kind: kindConcurrencyBudget, Reason: ErrBudget}

// Ready implements [policy.Gate]: whether a retry would be admitted now. A first attempt always is.
func (b *ConcurrencyBudget) Ready(ctx context.Context) error {
	b.current()
	if attempt.Number(ctx) > 1 && b.retries.Load() >= b.limit() {
		return errConcurrency
	}
	return nil
}

// Admit implements [policy.Guard].
func (b *ConcurrencyBudget) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	b.current()
	if !b.composed.Load() {
		b.composed.Store(true)
	}
	number := int64(firstInFlight)
	if attempt.Number(ctx) > 1 {
		if !b.take() {
			return nil, policy.Ticket{}, errConcurrency
		}
		number = retryInFlight
	}
	b.inFlight.Add(1)
	return ctx, policy.Ticket{Number: number}, nil
}

// What the attempt of a ticket holds. The zero ticket, which Returned hands out, holds nothing.
const (
	firstInFlight = 1
	retryInFlight = 2
)

// take counts one more retry in flight, if there may be one more.
func (b *ConcurrencyBudget) take() bool {
	for {
		retries := b.retries.Load()
		if retries >= b.limit() {
			b.deny()
			return false
		}
		if b.retries.CompareAndSwap(retries, retries+1) {
			return true
		}
	}
}

// Returned implements [policy.Returner]: an attempt is over when the operation has returned, also if its result stays open.
func (b *ConcurrencyBudget) Returned(ctx context.Context, ticket policy.Ticket) policy.Ticket {
	b.Settle(ctx, ticket, policy.Outcome{Kind: policy.Returned})
	return policy.Ticket{}
}

// Settle implements [policy.Guard].
func (b *ConcurrencyBudget) Settle(_ context.Context, ticket policy.Ticket, _ policy.Outcome) {
	b.current()
	switch ticket.Number {
	case retryInFlight:
		b.retries.Add(-1)
		fallthrough
	case firstInFlight:
		b.inFlight.Add(-1)
	}
}

// Deposit does nothing: attempts in flight are what allows retries.
func (b *ConcurrencyBudget) Deposit() { b.current() }

// Withdraw reports whether a retry would be admitted now. It takes nothing: Admit does. A budget that was given to a
// Retrier and is not composed allows none.
func (b *ConcurrencyBudget) Withdraw() bool {
	if b.retries.Load() < b.limit() && b.composed.Load() {
		return true
	}
	b.deny()
	return false
}

// deny counts a retry that is not made for lack of budget.
func (b *ConcurrencyBudget) deny() { b.denied.Add(1) }

// Return does nothing, as Withdraw takes nothing.
func (b *ConcurrencyBudget) Return() { b.current() }

// Idle reports whether no attempt is in flight.
func (b *ConcurrencyBudget) Idle() bool {
	b.current()
	return b.inFlight.Load() == 0
}

// Snapshot returns, as tokens, how many more retries could be in flight now, and of how many. It changes nothing.
func (b *ConcurrencyBudget) Snapshot() BudgetSnapshot {
	limit := b.limit()
	return BudgetSnapshot{
		Tokens: float64(max(0, limit-b.retries.Load())), Limit: float64(limit), Denied: b.denied.Load(),
	}
}

// Report returns the attempts and the retries in flight, and how many retries were denied.
func (b *ConcurrencyBudget) Report() policy.Report {
	return policy.Report{
		Kind: kindConcurrencyBudget, Stage: b.Stage(), Settings: b.arguments().ofNew,
		Values: []policy.Value{
			{Name: "in_flight", Unit: policy.UnitCount, Kind: policy.Gauge, Number: float64(b.inFlight.Load())},
			{Name: "retries_in_flight", Unit: policy.UnitCount, Kind: policy.Gauge,
				Number: float64(b.retries.Load()), Limit: float64(b.limit())},
			{Name: "denied", Unit: policy.UnitCount, Kind: policy.Counter, Number: float64(b.denied.Load())},
		},
	}
}

// MarshalJSON writes the report.
func (b *ConcurrencyBudget) MarshalJSON() ([]byte, error) { return json.Marshal(b.Report()) }

// String returns the share and the minimum.
func (b *ConcurrencyBudget) String() string {
	c := b.current()
	return fmt.Sprintf("retry concurrency budget %v, at least %d", c.share, c.minimum)
}
