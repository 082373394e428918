package retry

import (
	"encoding/json"
	"math"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/budget"
	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
)

// TokenBudget is a budget after the retry throttling of gRPC. See [NewTokenBudget].
type TokenBudget struct {
	config atomic.Pointer[tokenConfig]
	clock  stopwatch.Stopwatch

	tokens      atomic.Int64 // in thousandths, as the numbers of the config
	denied      atomic.Uint64
	lastFailure atomic.Int64 // when it took a token
}

type tokenConfig struct {
	most, ratio int64
	args        *arguments
}

var (
	_ policy.Budget   = (*TokenBudget)(nil)
	_ policy.Reporter = (*TokenBudget)(nil)
	_ feedback        = (*TokenBudget)(nil)
)

// NewTokenBudget returns a budget after the retry throttling of gRPC, with the two numbers of a service's
// configuration: maxTokens and tokenRatio. It begins with maxTokens tokens; each attempt that fails in a way that may
// be retried takes one, each attempt that succeeds adds tokenRatio; a retry is made only while more than half of
// maxTokens are there. In the steady state retries are off once the share of failures exceeds tokenRatio/(1+tokenRatio).
//
// It learns how attempts end from Retriers. A hedge can ask it, and tells it nothing: see [TokenBudget.Failed].
//
// maxTokens must be from 1 to 1000. tokenRatio must be from 0.001 to 1000; as the proposal says, decimal places beyond
// the third are dropped. NewTokenBudget panics otherwise, see [ValidateTokenBudget]. See gRPC proposal A6, "gRPC Retry
// Design", Throttling Retry Attempts and Hedged RPCs.
func NewTokenBudget(maxTokens int, tokenRatio float64) *TokenBudget {
	if err := ValidateTokenBudget(maxTokens, tokenRatio); err != nil {
		panic(err)
	}
	b := &TokenBudget{clock: stopwatch.Start()}
	b.configure(maxTokens, tokenRatio)
	b.tokens.Store(b.config.Load().most)
	return b
}

// ValidateTokenBudget returns the [*policy.ConfigError] that [NewTokenBudget] would panic with, or nil.
func ValidateTokenBudget(maxTokens int, tokenRatio float64) error {
	problems := policy.ConfigError{Policy: "retry.NewTokenBudget"}
	if maxTokens < 1 || maxTokens > 1000 {
		problems.Add("maxTokens %d: must be from 1 to 1000", maxTokens)
	}
	if !(tokenRatio > 0 && tokenRatio <= 1000) || thousandths(tokenRatio) == 0 {
		problems.Add("tokenRatio %v: must be from 0.001 to 1000", tokenRatio)
	}
	return problems.Err()
}

// token is one token in the unit that is counted in.
const token = 1000

// thousandths returns ratio in thousandths, without what is beyond them. What is written as 0.1 is a little less or
// more than that in binary, hence the rounding at the ninth place.
func thousandths(ratio float64) int64 { return int64(math.Round(ratio*1e9) / 1e6) }

func (b *TokenBudget) configure(maxTokens int, tokenRatio float64) {
	b.config.Store(&tokenConfig{
		most: int64(maxTokens) * token, ratio: thousandths(tokenRatio),
		args: argumentsOf(kindTokenBudget, setting.Arg("maxTokens", maxTokens), setting.Arg("tokenRatio", tokenRatio)),
	})
}

func (b *TokenBudget) arguments() *arguments { return b.current().args }

func (b *TokenBudget) isMade() bool { return b.config.Load() != nil }

func (b *TokenBudget) current() *tokenConfig {
	c := b.config.Load()
	if c == nil {
		panic("retry: a TokenBudget must be made with NewTokenBudget")
	}
	return c
}

// Reconfigure changes the two numbers. The tokens that are there stay, as far as the budget can still hold them. It
// returns what [ValidateTokenBudget] does, and then changes nothing.
func (b *TokenBudget) Reconfigure(maxTokens int, tokenRatio float64) error {
	if err := ValidateTokenBudget(maxTokens, tokenRatio); err != nil {
		return err
	}
	b.current()
	b.configure(maxTokens, tokenRatio)
	b.add(0)
	return nil
}

// Succeeded says that an attempt has succeeded. Retriers do so by themselves; the method, like [TokenBudget.Failed], is for
// attempts that no Retrier is told of, such as those of a hedge.
func (b *TokenBudget) Succeeded() { b.add(b.current().ratio) }

// Failed says that an attempt has failed in a way that may be retried, or that the server has asked not to retry.
func (b *TokenBudget) Failed() {
	b.lastFailure.Store(int64(b.clock.Elapsed()))
	b.add(-token)
}

// add adds to the tokens, within 0 and most. A healthy dependency keeps them at most, and then nothing is written.
func (b *TokenBudget) add(change int64) {
	for {
		old := b.tokens.Load()
		sum := min(b.current().most, max(0, old+change))
		if sum == old || b.tokens.CompareAndSwap(old, sum) {
			return
		}
	}
}

// Deposit does nothing: attempts that succeed are what adds tokens.
func (b *TokenBudget) Deposit() { b.current() }

// Withdraw reports whether more than half of the tokens are there. It takes none: failures do.
func (b *TokenBudget) Withdraw() bool {
	if 2*b.tokens.Load() > b.current().most {
		return true
	}
	b.denied.Add(1)
	return false
}

// Return does nothing, as Withdraw takes nothing.
func (b *TokenBudget) Return() { b.current() }

// Idle reports whether all tokens are there, or no attempt has failed for a minute.
func (b *TokenBudget) Idle() bool {
	return b.tokens.Load() >= b.current().most || b.clock.Elapsed()-time.Duration(b.lastFailure.Load()) >= budget.Forget
}

// Snapshot returns the tokens and how many retries were denied. It changes nothing.
func (b *TokenBudget) Snapshot() BudgetSnapshot {
	return BudgetSnapshot{
		Tokens: float64(b.tokens.Load()) / token,
		Limit:  float64(b.current().most) / token,
		Denied: b.denied.Load(),
	}
}

// Report returns what Snapshot does, and the two numbers.
func (b *TokenBudget) Report() policy.Report {
	return reportBudget(kindTokenBudget, b.Snapshot(), b.arguments().ofNew)
}

// MarshalJSON writes the report.
func (b *TokenBudget) MarshalJSON() ([]byte, error) { return json.Marshal(b.Report()) }

// String returns what is there and the most that can be there.
func (b *TokenBudget) String() string { return b.Snapshot().String() }
