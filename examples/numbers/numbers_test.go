package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var usual = input{
	slo: 0.999, within: time.Second, rate: 400, errors: 0.01,
	mean: 30 * time.Millisecond, p50: 20 * time.Millisecond, p999: 300 * time.Millisecond,
}

// The page shows what the program prints.
func TestPage(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(&out, usual))
	t.Log("\n" + out.String())
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "numbers.md"))
	require.NoError(t, err)
	for line := range strings.Lines(out.String()) {
		require.Contains(t, string(page), strings.TrimSpace(line))
	}
}

// Published values: Erlang B of 10 erlangs needs 18 lines for 1 %, and 10 or more heads of 20 coins come with 0.588.
func TestFormulas(t *testing.T) {
	c, err := choose(input{slo: 0.9, within: time.Second, rate: 100, errors: 0.01, mean: 100 * time.Millisecond, p50: time.Millisecond, p999: 300 * time.Millisecond})
	require.NoError(t, err)
	require.InDelta(t, 10, c.load, 1e-9)
	require.Equal(t, 18, c.slots)
	require.InDelta(t, 0.588, tail(20, 10, 0.5), 1e-3)
	require.InDelta(t, 1, tail(20, 0, 0.3), 1e-12)
	require.Equal(t, 380*time.Millisecond, round(375*time.Millisecond))
	require.Equal(t, 40*time.Millisecond, round(40*time.Millisecond))
}

func TestPromisesThatCannotBeKept(t *testing.T) {
	for _, in := range []func(*input){
		func(in *input) { in.errors = 0.4 },
		func(in *input) { in.within = 500 * time.Millisecond },
		func(in *input) { in.within, in.p999, in.slo = 110*time.Millisecond, 81*time.Millisecond, 0.9 }, // found by TestChoicesAreValid
		func(in *input) { in.slo = 1 },
		func(in *input) { in.rate = 0 },
	} {
		bad := usual
		in(&bad)
		_, err := choose(bad)
		require.Error(t, err)
	}
}

// Whatever is chosen, Compose takes, and it keeps the promise.
func TestChoicesAreValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := func(name string, least, most int) time.Duration {
			return time.Duration(rapid.IntRange(least, most).Draw(t, name)) * time.Millisecond
		}
		in := input{
			slo: rapid.Float64Range(0.9, 0.9999).Draw(t, "slo"), within: ms("within", 100, 60_000),
			rate: rapid.Float64Range(0.1, 5000).Draw(t, "rate"), errors: rapid.Float64Range(0, 0.2).Draw(t, "errors"),
			mean: ms("mean", 1, 500), p50: ms("p50", 1, 500), p999: ms("p999", 1, 5000),
		}
		c, err := choose(in)
		if err != nil {
			return
		}
		require.NoError(t, resilience.Validate(c.layers(in)...))
		require.LessOrEqual(t, c.lost, 1-in.slo)
		require.LessOrEqual(t, c.longest+time.Duration(c.attempts)*c.queue, in.within)
	})
}
