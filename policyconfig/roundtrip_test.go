package policyconfig_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyconfig"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
)

// draw draws options: each with even odds, in any order.
func draw[O any](t *rapid.T, options ...func() O) (drawn []O) {
	for _, option := range rapid.Permutation(options).Draw(t, "options") {
		if rapid.Bool().Draw(t, "given") {
			drawn = append(drawn, option())
		}
	}
	return drawn
}

func drawDuration(t *rapid.T, low, high time.Duration) time.Duration {
	return time.Duration(rapid.Int64Range(int64(low), int64(high)).Draw(t, "duration"))
}

func drawInt(t *rapid.T, low, high int) int { return rapid.IntRange(low, high).Draw(t, "int") }
func drawFloat(t *rapid.T, low, high float64) float64 {
	return rapid.Float64Range(low, high).Draw(t, "float")
}

func drawName(t *rapid.T) string {
	return rapid.StringMatching(`[a-zäß€"/~\\-]{1,8}`).Draw(t, "name")
}

// drawLayers draws the layers of a pipeline.
func drawLayers(t *rapid.T) []policy.Layer {
	layers := draw(t,
		func() policy.Layer { return timeout.Total(drawDuration(t, time.Hour, math.MaxInt64)) },
		func() policy.Layer {
			options := draw(t,
				func() retry.Option { return retry.Attempts(drawInt(t, 2, 9)) },
				func() retry.Option {
					return retry.Exponential(drawDuration(t, 1, time.Second), drawDuration(t, time.Second, time.Hour))
				},
				func() retry.Option { return retry.Multiplier(drawFloat(t, 1, 1e300)) },
				func() retry.Option { return retry.MaxRetryAfter(drawDuration(t, 1, time.Hour)) },
				func() retry.Option { return retry.AwaitRecovery(drawDuration(t, 1, time.Hour)) },
				func() retry.Option { return retry.RetryNested() },
				func() retry.Option { return retry.Name(drawName(t)) },
				func() retry.Option {
					return []func() retry.Option{retry.FullJitter, retry.EqualJitter, retry.DecorrelatedJitter, retry.NoJitter,
						func() retry.Option { return retry.ProportionalJitter(drawFloat(t, 1e-9, 1)) }}[drawInt(t, 0, 4)]()
				},
				func() retry.Option {
					return []func() retry.Option{
						retry.NoBudget,
						func() retry.Option {
							return retry.WithBudget(retry.NewBudget(drawFloat(t, 0, 10), drawFloat(t, 1e-9, 100)))
						},
						func() retry.Option {
							return retry.WithBudget(retry.NewTokenBudget(drawInt(t, 1, 1000), drawFloat(t, 0.001, 1000)))
						},
					}[drawInt(t, 0, 2)]()
				},
			)
			return retry.New(options...)
		},
		func() policy.Layer {
			return hedge.New(draw(t,
				func() hedge.Option { return hedge.After(drawDuration(t, 1, time.Minute)) },
				func() hedge.Option { return hedge.Quantile(drawFloat(t, 0.5, 0.999)) },
				func() hedge.Option { return hedge.Extra(drawInt(t, 1, 10)) },
				func() hedge.Option { return hedge.Idempotent() },
				func() hedge.Option { return hedge.AfterFailure() },
				func() hedge.Option { return hedge.Limit(drawFloat(t, 0, 10), drawFloat(t, 1e-9, 1e9)) },
				func() hedge.Option { return hedge.MaxRunning(drawInt(t, 11, 1000)) },
				func() hedge.Option { return hedge.Name(drawName(t)) },
			)...)
		},
		func() policy.Layer {
			return breaker.New(draw(t,
				func() breaker.Option { return breaker.ConsecutiveFailures(drawInt(t, 1, math.MaxInt32)) },
				func() breaker.Option { return breaker.FailureRate(drawFloat(t, 1e-9, 1), drawInt(t, 1, 100)) },
				func() breaker.Option { return breaker.FailureRate(drawFloat(t, 1e-9, 1), drawInt(t, 1, 100)) },
				func() breaker.Option { return breaker.OpenFor(drawDuration(t, time.Millisecond, time.Hour)) },
				func() breaker.Option { return breaker.Jitter(drawFloat(t, 0, 1)) },
				func() breaker.Option {
					return breaker.Growth(drawFloat(t, 1, 1e300), drawDuration(t, time.Hour, math.MaxInt64))
				},
				func() breaker.Option { return breaker.RetryAfter(drawDuration(t, time.Millisecond, time.Hour)) },
				func() breaker.Option { return breaker.Probes(drawInt(t, 1, 10_000)) },
				func() breaker.Option { return breaker.Successes(drawInt(t, 1, math.MaxInt32)) },
				func() breaker.Option { return breaker.FailedProbes(drawInt(t, 0, 100)) },
				func() breaker.Option { return breaker.ProbeLease(drawDuration(t, time.Millisecond, time.Hour)) },
				func() breaker.Option { return breaker.Ramp(drawDuration(t, time.Millisecond, time.Hour)) },
				func() breaker.Option { return breaker.Shadow() },
				func() breaker.Option { return breaker.Name(drawName(t)) },
			)...)
		},
		func() policy.Layer {
			return throttle.New(draw(t,
				func() throttle.Option { return throttle.K(drawFloat(t, 1, 1e300)) },
				func() throttle.Option { return throttle.Window(drawDuration(t, 1000, time.Hour), drawInt(t, 2, 1000)) },
				func() throttle.Option { return throttle.Padding(drawInt(t, 1, 1000)) },
				func() throttle.Option { return throttle.Shadow() },
				func() throttle.Option { return throttle.Name(drawName(t)) },
			)...)
		},
		func() policy.Layer {
			perSecond := rapid.OneOf(rapid.Just(math.Inf(1)), rapid.Just(0.0), rapid.Float64Range(1e-9, 1e9)).Draw(t, "rate")
			options := draw(t, func() ratelimit.Option { return ratelimit.Shadow() }, func() ratelimit.Option { return ratelimit.Name(drawName(t)) })
			if rapid.Bool().Draw(t, "waits") {
				options = append(options, ratelimit.MaxWaiters(drawInt(t, 1, math.MaxInt32)), ratelimit.MaxWait(drawDuration(t, 1, time.Hour)))
			}
			return ratelimit.New(perSecond, drawInt(t, 1, ratelimit.MaxBurst), options...)
		},
		func() policy.Layer {
			queue := func() bulkhead.Option {
				return bulkhead.Queue(drawInt(t, 1, bulkhead.MaxLimit), drawDuration(t, 1, time.Hour))
			}
			name := func() bulkhead.Option { return bulkhead.Name(drawName(t)) }
			if rapid.Bool().Draw(t, "adaptive") {
				algorithm := rapid.SampledFrom([]bulkhead.Algorithm{bulkhead.AIMD(time.Second), bulkhead.Gradient2(), bulkhead.Vegas()}).Draw(t, "algorithm")
				return bulkhead.Adaptive(algorithm, drawInt(t, 1, 9), drawInt(t, 10, 100), draw(t, queue, name)...)
			}
			return bulkhead.New(drawInt(t, 1, bulkhead.MaxLimit), draw(t, queue, name, func() bulkhead.Option { return bulkhead.Shadow() })...)
		},
		func() policy.Layer {
			if rapid.Bool().Draw(t, "from latency") {
				return timeout.FromLatency(drawFloat(t, 0.5, 0.999), drawFloat(t, 1, 100), drawDuration(t, 1, time.Microsecond), drawDuration(t, time.Microsecond, time.Millisecond))
			}
			return timeout.PerAttempt(drawDuration(t, 1, time.Millisecond))
		},
	)
	for i := range layers {
		if rapid.IntRange(0, 9).Draw(t, "moved") == 0 {
			layers[i] = policy.At(policy.Stage(drawInt(t, 1, 1100)), layers[i])
		}
	}
	return layers
}

// drawPipeline draws a pipeline that can be composed.
func drawPipeline(t *rapid.T) *resilience.Pipeline {
	layers := drawLayers(t)
	if rapid.Bool().Draw(t, "named") {
		layers = append(layers, resilience.Name(drawName(t)))
	}
	if resilience.Validate(layers...) != nil {
		t.Skip("layers that contradict each other")
	}
	return resilience.Compose(layers...)
}

// TestRoundTrip: a pipeline is written as a file, and read again as what it was. What is written again is the same file.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		written := drawPipeline(t)
		file, err := policyconfig.From(written)
		require.NoError(t, err)
		set, err := policyconfig.Load(file, policyconfig.Registry{})
		require.NoError(t, err, "%s", file)
		require.Empty(t, validate(t, string(file)))
		read := set.Pipeline(set.Names()[0])
		require.Equal(t, written.String(), read.String())
		require.Equal(t, settings(written), settings(read), "%s", file)
		again, err := policyconfig.From(read)
		require.NoError(t, err)
		require.Equal(t, string(file), string(again))
		plan, err := set.Plan(again)
		require.NoError(t, err)
		require.True(t, plan.Empty(), plan)
	})
}

// traffic is what random calls make of a pipeline in virtual time: a line for each.
func traffic(ctx context.Context, pipeline policy.Layer, script []byte) (lines []string) {
	start := time.Now()
	for _, step := range script {
		attempts := 0
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		_, err := resilience.Do(ctx, pipeline, func(ctx context.Context) (int, error) {
			attempts++
			time.Sleep(time.Duration(step>>2&3) * time.Millisecond)
			if step&3 == 0 {
				return 0, errDown
			}
			return attempts, ctx.Err()
		})
		cancel()
		time.Sleep(time.Duration(step>>4) * 10 * time.Millisecond)
		lines = append(lines, fmt.Sprintf("%v: %d attempts, %q %v", time.Since(start), attempts, policy.Code(err), errors.Is(err, errDown)))
	}
	return lines
}

// TestRoundTripDecides: a pipeline from a file makes the same decisions on the same traffic. Chance is left out: it is
// each policy's own.
func TestRoundTripDecides(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		compose := []func() policy.Layer{
			func() policy.Layer { return timeout.Total(3 * time.Second) },
			func() policy.Layer {
				return retry.New(retry.NoJitter(), retry.Exponential(time.Millisecond, time.Second))
			},
			func() policy.Layer {
				return breaker.New(breaker.Jitter(0), breaker.OpenFor(100*time.Millisecond), breaker.FailureRate(0.5, 4), breaker.Successes(2))
			},
			func() policy.Layer { return ratelimit.New(20, 5, ratelimit.MaxWait(20*time.Millisecond)) },
			func() policy.Layer { return bulkhead.New(1) },
			func() policy.Layer { return timeout.PerAttempt(2500 * time.Microsecond) }, // no tie with the operation
		}
		var layers []policy.Layer
		for _, layer := range compose {
			if rapid.Bool().Draw(r, "given") {
				layers = append(layers, layer())
			}
		}
		script := rapid.SliceOfN(rapid.Byte(), 1, 60).Draw(r, "script")
		written := resilience.Compose(layers...)
		file, err := policyconfig.From(written)
		require.NoError(r, err)
		var first, second []string
		synctest.Test(t, func(t *testing.T) {
			first = traffic(t.Context(), fresh(t, file), script)
		})
		synctest.Test(t, func(t *testing.T) { second = traffic(t.Context(), remake(compose, layers), script) })
		require.Equal(r, second, first, "%s", file)
	})
}

// fresh loads a file within a bubble.
func fresh(t *testing.T, file []byte) policy.Layer {
	set, err := policyconfig.Load(file, policyconfig.Registry{})
	require.NoError(t, err)
	return set.Pipeline("pipeline")
}

// remake makes the same layers anew, within a bubble.
func remake(compose []func() policy.Layer, like []policy.Layer) policy.Layer {
	var layers []policy.Layer
	for _, layer := range compose {
		made := layer()
		for _, other := range like {
			if fmt.Sprint(made) == fmt.Sprint(other) {
				layers = append(layers, made)
			}
		}
	}
	return resilience.Compose(layers...)
}

func jsonOf(value any) (string, error) {
	text, err := json.Marshal(value)
	return string(text), err
}

// alike has things that nothing uses, and whose names are those of others in part.
const alike = `{
	"budgets": {"b": {"kind": "budget", "ratio": 0.1, "perSecond": 1}, "big": {"kind": "budget", "ratio": 0.2, "perSecond": 1}, "retry": {"kind": "budget", "ratio": 0.3, "perSecond": 1}},
	"policies": {"db": {"kind": "breaker"}, "db2": {"kind": "breaker"}, "off": {"kind": "retry", "withBudget": "retry", "enabled": false}},
	"pipelines": {"budgetB": {"layers": [{"kind": "retry", "withBudget": "big"}, {"use": "db2"}, {"use": "off"}]}}}`

// TestGoSource: the same configuration as Go source compiles, and is the same pipelines. A few samples; many when
// RESILIENCE_TESTS=whole is set.
func TestGoSource(t *testing.T) {
	files := []string{layersOf(users), everything, layersOf(""), alike}
	samples := 5
	if long() {
		samples = 200
	}
	for i := range samples {
		pipeline := rapid.Custom(drawPipeline).Example(i)
		file, err := policyconfig.From(pipeline)
		require.NoError(t, err)
		files = append(files, string(file))
	}
	dir, arguments := t.TempDir(), []string{"run"}
	write := func(name, source string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(source), 0o600))
		arguments = append(arguments, path)
	}
	var main, want strings.Builder
	main.WriteString("package main\n\nimport (\n\"encoding/json\"\n\"fmt\"\n\"maps\"\n\"slices\"\n\"time\"\n\n\"github.com/go-resilience/resilience\"\n")
	for i, file := range files {
		source, err := policyconfig.Go([]byte(file))
		require.NoError(t, err, file)
		renamed := strings.Replace(string(source), "package pipelines", "package main", 1)
		write(fmt.Sprintf("p%d.go", i), strings.Replace(renamed, "func Pipelines", fmt.Sprintf("func pipelines%d", i), 1))
	}
	source, err := policyconfig.Go([]byte(withCode))
	require.NoError(t, err)
	write("code.go", strings.Replace(string(source), "package pipelines", "package main", 1)) // compiled, and not called
	main.WriteString(`)

func show(pipelines map[string]*resilience.Pipeline) {
	for _, name := range slices.Sorted(maps.Keys(pipelines)) {
		report := pipelines[name].Report()
		for i := range report.Layers {
			report.Layers[i].State.Since, report.Layers[i].Values = time.Time{}, nil
		}
		text, err := json.Marshal(report)
		fmt.Println(name, pipelines[name], string(text), err)
	}
}

func main() {
`)
	for i, file := range files {
		fmt.Fprintf(&main, "show(pipelines%d())\n", i)
		set := load(t, file)
		for _, name := range set.Names() {
			text, err := jsonOf(settings(set.Pipeline(name)))
			fmt.Fprintln(&want, name, set.Pipeline(name), text, err)
		}
	}
	main.WriteString("}\n")
	write("main.go", main.String())
	command := exec.CommandContext(t.Context(), "go", arguments...)
	command.Dir = ".."
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s", output)
	require.Equal(t, want.String(), string(output))
}
