package scenario

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/testsize"
)

// insensitive is the parameters that what is checked does not depend on, by much or at all.
var insensitive = map[string]string{
	"L3 cap":     "only the slowest clients without jitter ever wait so long",
	"L5 timeout": "a queue of a thousand is late for any of them",
	"L7 lagrate": "the next call comes within 20 ms, of seconds",
	"L11 fanout": "says which quantile of the leaves is looked at, and nothing about the worlds",
	"L10 hold":   "calls that hold a slot for 100 s come and go in waves: a run sees three of them",
	"L9 rate":    "trips by chance scatter by more than that",
}

// Every parameter of every scenario is changed by a fifth in the worlds, and not in what is expected of them: a check must
// notice. It logs which.
func TestMutants(t *testing.T) {
	if raceEnabled || !testsize.Whole() {
		t.Skip("plays every scenario many times; TestVerdictsBite breaks policies in a short run too")
	}
	for _, s := range All() {
		for _, p := range s.Params {
			if insensitive[s.Name+" "+p.Name] != "" {
				continue
			}
			for _, factor := range []float64{.8, 1.2} {
				t.Run(fmt.Sprintf("%s/%s×%v", s.Name, p.Name, factor), func(t *testing.T) {
					var result *Result
					var noticed []string
					for _, size := range []Size{Quick, Usual} { // the whole one is for what the quick one is too coarse for
						result = Play(s, Options{Seed: 1, Size: size, mutants: map[string]float64{p.Name: factor}})
						require.NoError(t, result.Err)
						for _, c := range result.Checks {
							if !c.Passed {
								noticed = append(noticed, c.What)
							}
						}
						if len(noticed) > 0 {
							break
						}
					}
					require.NotEmpty(t, noticed, "nothing has noticed")
					t.Logf("%d of %d checks have noticed, such as %s", len(noticed), len(result.Checks), noticed[0])
				})
			}
		}
	}
}

// The quick set has no false alarm: with six standard errors there should be one in a million runs. LAB_SEEDS says how
// many seeds are tried.
func TestNoFalseAlarms(t *testing.T) {
	if raceEnabled || !testsize.Whole() {
		t.Skip("plays every scenario many times; TestScenarios plays each of them once")
	}
	seeds := 20
	if n, err := strconv.Atoi(os.Getenv("LAB_SEEDS")); err == nil {
		seeds = n
	}
	checks := 0
	var away []float64 // of what is allowed
	for _, s := range All() {
		for seed := range uint64(seeds) {
			result := Play(s, Options{Seed: seed, Size: Quick})
			require.NoError(t, result.Err)
			for _, c := range result.Checks {
				checks++
				require.True(t, c.Passed, "seed %d, %s: %s: %s, expected %s (%s)", seed, s.Name, c.What, c.Measured, c.Expected, c.Source)
				if c.Allowed > 0 {
					away = append(away, max(c.Value-c.Reference, c.Reference-c.Value)/c.Allowed)
				}
			}
		}
	}
	slices.Sort(away)
	t.Logf("%d checks of %d seeds, no false alarm; the furthest away, in standard errors: %.1f, %.1f, %.1f; the median %.2f", checks, seeds,
		Sigmas*away[len(away)-1], Sigmas*away[len(away)-2], Sigmas*away[len(away)-3], Sigmas*away[len(away)/2])
}
