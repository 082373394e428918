package retry

import (
	"math"
	"sync/atomic"

	"github.com/go-resilience/resilience/policy"
)

// NewThrottle returns a budget after the retry throttling of gRPC, with the two numbers of a service's
// configuration: maxTokens and tokenRatio. It begins with maxTokens tokens; each attempt that fails in a way that may
// be retried takes one, each attempt that succeeds adds tokenRatio; a retry is made only while more than half of
// maxTokens are there. In the steady state retries are off once the share of failures exceeds tokenRatio/(1+tokenRatio).
//
// maxTokens must be from 1 to 1000. tokenRatio must be from 0.001 to 1000; as the proposal says, decimal places beyond
// the third are dropped. NewThrottle panics otherwise, see [ValidateThrottle]. See gRPC proposal A6, "gRPC Retry
// Design", Throttling Retry Attempts and Hedged RPCs.
func NewThrottle(maxTokens int, tokenRatio float64) *Budget {
	if err := ValidateThrottle(maxTokens, tokenRatio); err != nil {
		panic(err)
	}
	t := &throttle{most: int64(maxTokens) * token, ratio: thousandths(tokenRatio)}
	t.tokens.Store(t.most)
	return &Budget{t}
}

// ValidateThrottle returns the [*policy.ConfigError] that [NewThrottle] would panic with, or nil.
func ValidateThrottle(maxTokens int, tokenRatio float64) error {
	problems := policy.ConfigError{Policy: "retry.NewThrottle"}
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

// throttle is the budget of NewThrottle.
type throttle struct {
	most, ratio int64 // in thousandths of a token
	tokens      atomic.Int64
	refused     atomic.Uint64
}

func (t *throttle) heard(_, succeeded bool) {
	if succeeded {
		t.add(t.ratio)
	}
}

func (t *throttle) failed()   { t.add(-token) }
func (t *throttle) giveBack() {} // it was the failure that took a token, not the retry

func (t *throttle) withdraw() bool {
	if 2*t.tokens.Load() > t.most {
		return true
	}
	t.refused.Add(1)
	return false
}

// add adds to the tokens, within 0 and most. A healthy dependency keeps them at most, and then nothing is written.
func (t *throttle) add(change int64) {
	for {
		old := t.tokens.Load()
		sum := min(t.most, max(0, old+change))
		if sum == old || t.tokens.CompareAndSwap(old, sum) {
			return
		}
	}
}

func (t *throttle) snapshot() BudgetSnapshot {
	return BudgetSnapshot{
		Tokens:  float64(t.tokens.Load()) / token,
		Max:     float64(t.most) / token,
		Refused: t.refused.Load(),
	}
}
