package breaker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

// A registry may forget a breaker when a new one would let nothing through that this one refuses, or when nobody has
// called for as long as the breaker can still refuse anything.
func TestIdle(t *testing.T) {
	for name, test := range map[string]struct {
		opts []breaker.Option
		act  func(t *testing.T, b *breaker.Breaker)
		idle bool
	}{
		"new":               {act: func(*testing.T, *breaker.Breaker) {}, idle: true},
		"with failures":     {act: func(_ *testing.T, b *breaker.Breaker) { failTimes(b, 1) }, idle: true},
		"open":              {act: func(_ *testing.T, b *breaker.Breaker) { b.Trip(); time.Sleep(D - 1) }},
		"open time is over": {act: func(_ *testing.T, b *breaker.Breaker) { b.Trip(); time.Sleep(D) }, idle: true},
		"a probe in flight": {act: func(t *testing.T, b *breaker.Breaker) { b.Trip(); time.Sleep(D); admit(t, b) }},
		"a probe was neutral, for less than the open time": {
			opts: []breaker.Option{breaker.ProbeLease(time.Second)},
			act: func(t *testing.T, b *breaker.Breaker) {
				b.Trip()
				time.Sleep(D)
				admit(t, b).Settle(policy.Outcome{Kind: policy.NotCalled})
				time.Sleep(D - 1)
			},
		},
		"a probe was neutral, for the open time": {
			opts: []breaker.Option{breaker.ProbeLease(time.Second)},
			act: func(t *testing.T, b *breaker.Breaker) {
				b.Trip()
				time.Sleep(D)
				admit(t, b).Settle(policy.Outcome{Kind: policy.NotCalled})
				time.Sleep(D)
			},
			idle: true,
		},
		"a probe hangs, for less than its lease": {
			opts: []breaker.Option{breaker.ProbeLease(time.Minute)},
			act: func(t *testing.T, b *breaker.Breaker) {
				b.Trip()
				time.Sleep(D)
				admit(t, b)
				time.Sleep(time.Minute - 1)
			},
		},
		"a probe hangs, for longer than its lease": {
			opts: []breaker.Option{breaker.ProbeLease(time.Minute)},
			act:  func(t *testing.T, b *breaker.Breaker) { b.Trip(); time.Sleep(D); admit(t, b); time.Sleep(time.Minute) },
			idle: true,
		},
		"recovered": {act: func(_ *testing.T, b *breaker.Breaker) { b.Trip(); time.Sleep(D); _ = do(b, ok) }, idle: true},
		"recovering": {
			opts: []breaker.Option{breaker.Ramp(time.Minute)},
			act: func(_ *testing.T, b *breaker.Breaker) {
				b.Trip()
				time.Sleep(D)
				_ = do(b, ok)
				time.Sleep(time.Minute - 1)
			},
		},
		"recovered, although nobody has called since": {
			opts: []breaker.Option{breaker.Ramp(time.Minute)},
			act: func(_ *testing.T, b *breaker.Breaker) {
				b.Trip()
				time.Sleep(D)
				_ = do(b, ok)
				time.Sleep(time.Minute)
			},
			idle: true,
		},
		"forced open":           {act: func(_ *testing.T, b *breaker.Breaker) { b.ForceOpen() }},
		"forced closed":         {act: func(_ *testing.T, b *breaker.Breaker) { b.ForceClosed() }},
		"shadow":                {act: func(_ *testing.T, b *breaker.Breaker) { b.Shadow() }},
		"shadow from the start": {opts: []breaker.Option{breaker.Shadow()}, act: func(*testing.T, *breaker.Breaker) {}, idle: true},
		"enforcing by hand":     {opts: []breaker.Option{breaker.Shadow()}, act: func(_ *testing.T, b *breaker.Breaker) { b.Enforce() }},
		"reconfigured":          {act: func(t *testing.T, b *breaker.Breaker) { require.NoError(t, b.Reconfigure()) }},
		"a probe was throttled, for less than it asks": {
			opts: []breaker.Option{breaker.Classify(func(error) policy.Class { return policy.Throttled })},
			act: func(t *testing.T, b *breaker.Breaker) {
				b.Trip()
				time.Sleep(D)
				admit(t, b).Done(hint(func() time.Duration { return 30 * time.Second }))
				time.Sleep(30*time.Second - 1)
			},
		},
		"shadow, and would be open again": {act: func(_ *testing.T, b *breaker.Breaker) {
			b.Shadow()
			failTimes(b, 3)
			time.Sleep(D)
		}},
		"reset": {act: func(_ *testing.T, b *breaker.Breaker) { b.ForceOpen(); b.Reset() }, idle: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := tripAt(3, test.opts...)
				test.act(t, b)
				before := b.Snapshot()
				require.Equal(t, test.idle, b.Idle())
				require.Equal(t, before, b.Snapshot(), "it is only a question")
			})
		})
	}
}
