package proof

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/throttle"
)

// twin is a pipeline with one policy that can be in shadow.
type twin struct {
	pipeline *resilience.Pipeline
	counts   func() any // without what the modes have to differ in
	refused  func() (enforced, shadow uint64)
}

// twins make a policy, enforcing or in shadow, for each kind whose shadow is exact.
func twins(seed uint64) map[string]func(shadow bool) twin {
	of := func(layer policy.Layer, counts func() any, refused func() (uint64, uint64)) twin {
		return twin{resilience.Compose(layer, &timeless{}), counts, refused}
	}
	return map[string]func(shadow bool) twin{
		"breaker": func(shadow bool) twin {
			options := []breaker.Option{breaker.FailureRate(0.5, 5), breaker.CountWindow(10), breaker.OpenFor(time.Second), breaker.Jitter(0),
				breaker.Probes(2), breaker.Successes(2)}
			if shadow {
				options = append(options, breaker.Shadow())
			}
			b := breaker.New(options...)
			return of(b, func() any {
				s := b.Snapshot()
				s.Rejected, s.ShadowRejected, s.Shadow = s.Rejected+s.ShadowRejected, 0, false
				return s
			}, func() (uint64, uint64) { s := b.Snapshot(); return s.Rejected, s.ShadowRejected })
		},
		"limiter": func(shadow bool) twin {
			var options []ratelimit.Option
			if shadow {
				options = append(options, ratelimit.Shadow())
			}
			l := ratelimit.New(2, 3, options...)
			return of(l, func() any {
				s := l.Snapshot()
				s.Rejected, s.ShadowRejected, s.Shadow = s.Rejected+s.ShadowRejected, 0, false
				return s
			}, func() (uint64, uint64) { s := l.Snapshot(); return s.Rejected, s.ShadowRejected })
		},
		"bulkhead": func(shadow bool) twin {
			var options []bulkhead.Option
			if shadow {
				options = append(options, bulkhead.Shadow())
			}
			b := bulkhead.New(3, options...)
			return of(b, func() any {
				s := b.Snapshot()
				s.Rejected, s.ShadowRejected, s.Shadow = s.Rejected+s.ShadowRejected, 0, false
				return s
			}, func() (uint64, uint64) { s := b.Snapshot(); return s.Rejected, s.ShadowRejected })
		},
		"throttle": func(shadow bool) twin {
			options := []throttle.Option{throttle.Window(4*time.Second, 4), throttle.Padding(1), throttle.Rand(rand.NewPCG(seed, 1))}
			if shadow {
				options = append(options, throttle.Shadow())
			}
			b := throttle.New(options...)
			return of(b, func() any {
				s := b.Snapshot()
				s.Rejected, s.ShadowRejected, s.Shadow = s.Rejected+s.ShadowRejected, 0, false
				return s
			}, func() (uint64, uint64) { s := b.Snapshot(); return s.Rejected, s.ShadowRejected })
		},
	}
}

// bubble is a test inside a synctest bubble, where the deadline of the test binary cannot be asked for.
type bubble struct{ *testing.T }

func (bubble) Deadline() (deadline time.Time, ok bool) { return deadline, false }

// timeless is a guard that does nothing; it makes the pipeline more than one policy.
type timeless struct{}

func (*timeless) Stage() policy.Stage { return policy.StageChaos }
func (*timeless) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, nil
}
func (*timeless) Settle(context.Context, policy.Ticket, policy.Outcome) {}

// On the same trace of calls, open results and acquisitions, a pipeline in shadow counts what its enforcing twin counts. It
// refuses nothing, and nobody waits.
func TestAShadowPipelineIsItsEnforcingTwin(t *testing.T) {
	for name := range twins(0) {
		t.Run(name, func(t *testing.T) {
			refusals := uint64(0)
			synctest.Test(t, func(t *testing.T) {
				rapid.Check(bubble{t}, func(r *rapid.T) {
					make := twins(rapid.Uint64().Draw(r, "seed"))[name]
					enforcing, shadow := make(false), make(true)
					type pair struct{ enforced, shadowed *policy.Permit }
					var held []pair
					end := func(at int, err error) {
						held[at].enforced.Done(err)
						held[at].shadowed.Done(err)
						held = append(held[:at], held[at+1:]...)
					}
					for range rapid.IntRange(1, 60).Draw(r, "steps") {
						err := rapid.SampledFrom([]error{nil, nil, errDown, errDown, refuse}).Draw(r, "error")
						op := func(context.Context) (int, error) { return 1, err }
						before := time.Now()
						var p pair
						var enforced, shadowed error
						switch rapid.SampledFrom([]string{"do", "open", "acquire", "end", "sleep"}).Draw(r, "step") {
						case "do":
							_, enforced = resilience.Do(t.Context(), enforcing.pipeline, op)
							_, shadowed = resilience.Do(t.Context(), shadow.pipeline, op)
						case "open":
							_, p.enforced, enforced = resilience.Open(t.Context(), enforcing.pipeline, op)
							_, p.shadowed, shadowed = resilience.Open(t.Context(), shadow.pipeline, op)
						case "acquire":
							p.enforced, enforced = enforcing.pipeline.Acquire(t.Context())
							p.shadowed, shadowed = shadow.pipeline.Acquire(t.Context())
							err = nil
						case "end":
							if len(held) > 0 {
								end(rapid.IntRange(0, len(held)-1).Draw(r, "which"), err)
							}
							continue
						case "sleep":
							time.Sleep(time.Duration(rapid.IntRange(1, 1500).Draw(r, "ms")) * time.Millisecond)
							before = time.Now()
						}
						if p.shadowed != nil {
							held = append(held, p)
						}
						if !errors.Is(shadowed, err) && shadowed != nil || time.Since(before) != 0 {
							r.Fatalf("in shadow: %v after %v", shadowed, time.Since(before))
						}
						if want, got := enforcing.counts(), shadow.counts(); want != got {
							r.Fatalf("enforcing: %+v\nin shadow: %+v", want, got)
						}
						if n, _ := shadow.refused(); n != 0 {
							r.Fatal("a shadow has refused")
						}
						if enforced != nil && errors.Is(enforced, policy.ErrRejected) && !errors.Is(enforced, refuse) {
							refusals++
						}
					}
					for len(held) > 0 {
						end(0, nil)
					}
					if want, got := enforcing.counts(), shadow.counts(); want != got {
						r.Fatalf("in the end: enforcing: %+v\nin shadow: %+v", want, got)
					}
				})
			})
			require.Greater(t, refusals, uint64(100), "the enforcing twin has refused next to nothing")
		})
	}
}

// refuse is the error of an operation that was itself refused: neutral.
var refuse error = &policy.Rejection{Kind: "elsewhere", Reason: errFurtherIn}
