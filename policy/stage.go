package policy

import "fmt"

// Stage says where in a pipeline a layer stands: a lower stage is further outside. The constants leave gaps:
// a third party's layer may use any positive number.
type Stage int

// The canonical order, outermost first. docs/concepts.md gives the reason for each pair.
const (
	StageFallback       Stage = 100  // for layers of others; package fallback stands around pipelines
	StageShed           Stage = 200  // refuses at the front door, before anything is spent
	StageTotalTimeout   Stage = 300  // bounds all attempts and all waits together
	StageRetry          Stage = 400  // outside the breaker, so that the breaker sees every attempt
	StageHedge          Stage = 500  // one retry judges one group of hedged attempts
	StageBreaker        Stage = 600  // before the limits: an open breaker spends no token and fills no queue
	StageRateLimit      Stage = 700  // inside retry, since the quota counts attempts
	StageBulkhead       Stage = 800  // inside the limiter: an attempt that waits for a token holds no slot
	StageAttemptTimeout Stage = 900  // starts when the operation starts: queueing is not blamed on it
	StageChaos          Stage = 1000 // injected faults replace the operation, so that every policy reacts
)

// String returns the name of the stage, for example "breaker" or "stage 650".
func (s Stage) String() string {
	switch s {
	case StageFallback:
		return "fallback"
	case StageShed:
		return "shed"
	case StageTotalTimeout:
		return "total timeout"
	case StageRetry:
		return "retry"
	case StageHedge:
		return "hedge"
	case StageBreaker:
		return "breaker"
	case StageRateLimit:
		return "rate limit"
	case StageBulkhead:
		return "bulkhead"
	case StageAttemptTimeout:
		return "attempt timeout"
	case StageChaos:
		return "chaos"
	}
	return fmt.Sprintf("stage %d", int(s))
}

// MarshalText returns what String does.
func (s Stage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Placed is a layer that was moved to another stage. It is what [At] returns; composing takes it apart again.
type Placed struct {
	Layer Layer // the layer that was moved; never itself a Placed
	stage Stage
}

// At moves a layer to another stage and leaves everything else about it as it is. It is the only way to depart from
// the canonical order, and meant to stand out where a pipeline is composed:
//
//	policy.At(policy.StageShed, bulkhead.New(64)) // shed load before anything else is spent
//
// At panics with a [*ConfigError] when layer is nil or stage is not positive.
func At(stage Stage, layer Layer) Layer {
	problems := ConfigError{Policy: "policy.At"}
	if layer == nil {
		problems.Add("the layer is nil")
	}
	if stage <= 0 {
		problems.Add("stage %d: must be positive", int(stage))
	}
	if err := problems.Err(); err != nil {
		panic(err)
	}
	if placed, ok := layer.(Placed); ok {
		layer = placed.Layer
	}
	return Placed{Layer: layer, stage: stage}
}

// Stage returns the stage that the layer was moved to.
func (p Placed) Stage() Stage { return p.stage }
