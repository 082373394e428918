package scenario

import (
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/testsize"
)

// insensitive is the parameters that what is checked does not depend on, by much or at all.
var insensitive = map[string]string{
	"L3 cap":       "only the slowest clients without jitter ever wait so long",
	"L5 timeout":   "a queue of a thousand is late for any of them",
	"L7 lagrate":   "the next call comes within 20 ms, of seconds",
	"L11 fanout":   "a fifth moves the quantile that it decides by a tenth",
	"L10 hold":     "calls that hang for 100 s come and go in waves: a run sees three of them",
	"L9 threshold": "at p = 0.3 a breaker inside trips as soon as it may, and one outside never",
	"L9 rate":      "trips by chance scatter by more than that",
}

// Every parameter of every scenario is changed by a fifth in the worlds, and not in what is expected of them: a check must
// notice. It logs which. LAB_MUTANTS=usual also changes them the other way.
func TestMutants(t *testing.T) {
	if raceEnabled || !testsize.Whole() {
		t.Skip("plays every scenario many times; TestVerdictsBite breaks policies in a short run too")
	}
	factors := []float64{1.2}
	if os.Getenv("LAB_MUTANTS") == "usual" {
		factors = []float64{.8, 1.2}
	}
	for _, s := range All() {
		t.Run(s.Page, func(t *testing.T) {
			for _, p := range s.Params {
				if insensitive[s.Name+" "+p.Name] != "" {
					continue
				}
				for _, factor := range factors {
					noticed := ""
					for _, size := range []Size{Quick, Usual} { // the whole one is for what the quick one is too coarse for
						result := Play(s, Options{Seed: 1, Size: size, mutants: map[string]float64{p.Name: factor}, untilFailure: true})
						require.NoError(t, result.Err)
						for _, c := range result.Checks {
							if !c.Passed {
								noticed = c.What
							}
						}
						if noticed != "" {
							break
						}
					}
					assert.NotEmpty(t, noticed, "%s × %v: nothing has noticed", p.Name, factor)
					t.Logf("%s × %v: noticed by %s", p.Name, factor, noticed)
				}
			}
		})
	}
}

// What is not sharp enough for a fifth of itself notices a fifth of a parameter.
func TestBluntChecksNoticeAParameter(t *testing.T) {
	if os.Getenv("LAB_MUTANTS") != "usual" {
		t.Skip("plays scenarios whole; set LAB_MUTANTS=usual")
	}
	type played struct {
		scenario, param string
		factor          float64
	}
	results := map[played]*Result{}
	for name, blunt := range BluntChecks {
		if blunt.Param == "" {
			continue
		}
		of, what, _ := strings.Cut(name, " ")
		key := played{of, blunt.Param, blunt.Factor}
		if results[key] == nil {
			for _, s := range All() {
				if s.Name == of {
					alone := *s
					alone.Run = blunt.part
					results[key] = Play(&alone, Options{Seed: 1, mutants: map[string]float64{blunt.Param: blunt.Factor}})
				}
			}
		}
		require.NoError(t, results[key].Err)
		i := slices.IndexFunc(results[key].Checks, func(c Check) bool { return c.What == what })
		require.GreaterOrEqual(t, i, 0, name)
		c := results[key].Checks[i]
		assert.False(t, c.Passed, "%s × %v: %s: %s, expected %s", blunt.Param, blunt.Factor, name, c.Measured, c.Expected)
	}
}

// The quick set has no false alarm: there should be fewer than one in a thousand runs. LAB_SEEDS says how many seeds are
// tried.
func TestNoFalseAlarms(t *testing.T) {
	if raceEnabled || !testsize.Whole() {
		t.Skip("plays every scenario many times; TestScenarios plays each of them once")
	}
	seeds := uint64(20)
	if n, err := strconv.ParseUint(os.Getenv("LAB_SEEDS"), 10, 64); err == nil {
		seeds = n
	}
	for _, s := range All() {
		t.Run(s.Page, func(t *testing.T) {
			var away []float64 // in standard errors
			checks, most, furthest := 0, 0.0, ""
			for seed := range seeds {
				result := Play(s, Options{Seed: seed, Size: Quick})
				require.NoError(t, result.Err)
				for _, c := range result.Checks {
					checks++
					assert.True(t, c.Passed, "seed %d: %s: %s, expected %s (%s)", seed, c.What, c.Measured, c.Expected, c.Source)
					if c.Allowed > 0 {
						off := Sigmas * math.Abs(c.Value-c.Reference) / c.Allowed
						if away = append(away, off); off > most {
							most, furthest = off, c.What
						}
					}
				}
			}
			slices.Sort(away)
			if len(away) > 1 {
				t.Logf("%d checks of %d seeds; the furthest away, in standard errors: %.1f (%s), %.1f; the median %.2f",
					checks, seeds, away[len(away)-1], furthest, away[len(away)-2], away[len(away)/2])
			}
		})
	}
}
