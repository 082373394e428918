package policyhttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
)

// HostPause is a guard that keeps every caller from a host that has asked for a pause. It is made by [PauseHost] and safe
// for concurrent use.
type HostPause struct {
	longest  time.Duration
	hosts    *keyed.Registry[string, *pause]
	rejected atomic.Uint64
	pauses   atomic.Uint64
}

// pause is that of one host.
type pause struct {
	until atomic.Pointer[policy.Rejection]
}

var (
	_ policy.Guard    = (*HostPause)(nil)
	_ policy.Idler    = (*HostPause)(nil)
	_ policy.Reporter = (*HostPause)(nil)
	_ fmt.Stringer    = (*HostPause)(nil)
)

// StagePause is where [PauseHost] stands: inside the breaker, outside the limits, so that a refusal takes no token.
const StagePause = (policy.StageBreaker + policy.StageRateLimit) / 2

// PauseHost returns a layer that applies a wait that a host asks for to all callers: until it is over, their attempts at that
// host are refused with [ErrPaused]. A host asks with the Retry-After of a 503 or of a response of class [policy.Throttled],
// such as 429 and 413, or with the reset of the quota that a 429 tells. Compose it into the pipeline of a [Transport]:
//
//	policyhttp.Standard("github", policyhttp.PauseHost(time.Minute))
//
// Without it, only the call that got the answer waits. That is the default, since the limit may concern a single user or
// route, which must not stop all others.
//
// longest bounds a pause, whatever the host says; it must be positive. A call that is refused is not retried, unless
// retry.RetryRejections(policyhttp.ErrPaused) says so: then it waits, if it has the time.
//
// The pause of a host is held by the layer: pipelines that share the layer share the pauses. It panics with a
// [*policy.ConfigError] when longest is not positive.
func PauseHost(longest time.Duration) *HostPause {
	if longest <= 0 {
		panic(&policy.ConfigError{Policy: "policyhttp.PauseHost", Problems: []string{
			fmt.Sprintf("longest %v: must be positive", longest)}})
	}
	return &HostPause{longest: longest, hosts: keyed.New(func(string) *pause { return new(pause) })}
}

// Stage returns [StagePause].
func (p *HostPause) Stage() policy.Stage { return StagePause }

// Admit refuses an attempt at a host that is paused.
func (p *HostPause) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if refusal := p.hosts.Get(Host(ctx)).refusal(); refusal != nil {
		p.rejected.Add(1)
		return nil, policy.Ticket{}, refusal
	}
	return ctx, policy.Ticket{}, nil
}

// Settle pauses the host of an attempt whose answer asks for it.
func (p *HostPause) Settle(ctx context.Context, _ policy.Ticket, outcome policy.Outcome) {
	if outcome.Kind != policy.Returned || outcome.Err == nil {
		return
	}
	answer, ok := errors.AsType[*Error](outcome.Err)
	if !ok || answer.class != policy.Throttled && answer.Status != 503 {
		return
	}
	if wait, ok := answer.RetryAfter(); ok && wait > 0 {
		host := Host(ctx)
		p.pauses.Add(1)
		p.hosts.Get(host).extend(&policy.Rejection{
			Kind: "host pause", Name: host, Reason: ErrPaused, Until: time.Now().Add(min(wait, p.longest)),
		})
	}
}

// Idle reports whether no host is paused.
func (p *HostPause) Idle() bool {
	for _, host := range p.hosts.All() {
		if !host.Idle() {
			return false
		}
	}
	return p.hosts.Overflow().Idle()
}

// Report says how many hosts are paused.
func (p *HostPause) Report() policy.Report {
	paused := 0
	for _, host := range p.hosts.All() {
		if !host.Idle() {
			paused++
		}
	}
	return policy.Report{
		Kind: "host pause", Stage: StagePause,
		Settings: []policy.Setting{{Name: "PauseHost", Args: []policy.Argument{{Name: "longest", Value: p.longest}}}},
		Values: []policy.Value{
			{Name: "paused", Unit: policy.UnitCount, Kind: policy.Gauge, Number: float64(paused)},
			{Name: "pauses", Unit: policy.UnitCount, Kind: policy.Counter, Number: float64(p.pauses.Load())},
			{Name: "rejected", Unit: policy.UnitCount, Kind: policy.Counter, Number: float64(p.rejected.Load())},
		},
	}
}

// MarshalJSON writes the report.
func (p *HostPause) MarshalJSON() ([]byte, error) { return json.Marshal(p.Report()) }

// String returns the kind and the limit.
func (p *HostPause) String() string { return fmt.Sprintf("host pause %v", p.longest) }

// refusal returns the refusal that an attempt gets now, nil if there is none.
func (p *pause) refusal() *policy.Rejection {
	refusal := p.until.Load()
	if refusal == nil || !time.Now().Before(refusal.Until) {
		return nil
	}
	return refusal
}

// extend lets the pause last as refusal says, unless it lasts longer already.
func (p *pause) extend(refusal *policy.Rejection) {
	for {
		before := p.until.Load()
		if before != nil && before.Until.After(refusal.Until) || p.until.CompareAndSwap(before, refusal) {
			return
		}
	}
}

// Idle implements [policy.Idler].
func (p *pause) Idle() bool { return p.refusal() == nil }
