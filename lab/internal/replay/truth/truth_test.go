package truth

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/lab/internal/replay"
	"github.com/go-resilience/resilience/lab/internal/replay/logs"
)

const (
	testdata = "../../../replay/testdata"
	page     = "../../../../docs/replay.md"
)

// What is firm deserves it, and a band holds the truth: for a few of the worlds that lab/internal/replay/truth/write tries
// all of, with the result in docs/replay.md.
func TestY5_PredictionsAgainstTheTruth(t *testing.T) {
	names := []string{"recorded with 2 tries, 2 % errors", "2.5 % of calls are bad"}
	if testsize.Whole() {
		names = append(names, "90 % errors for a while, fast", "4 times slower, 8 slots")
	}
	var all []*Case
	for _, w := range Fresh() {
		for _, name := range names {
			if !strings.Contains(w.Name, name) {
				continue
			}
			w.Horizon = testsize.Pick(w.Horizon/2, w.Horizon)
			cases, err := Evaluate(w, 1, 2, Candidates()[:testsize.Pick(1, 3)])
			require.NoError(t, err)
			all = append(all, cases...)
		}
	}
	require.Len(t, all, testsize.Pick(2, 12))
	score := ScoreOf(all)
	require.Equal(t, score.Firm, score.Within2, Table(all))
	require.Positive(t, score.Firm, Table(all))
	require.Positive(t, score.Marked, Table(all))
	require.GreaterOrEqual(t, score.InBand*10, score.Marked*8, Table(all))
}

// The logs of the incidents are what the lab makes, byte for byte.
func TestIncidentsAreMadeByTheLab(t *testing.T) {
	for _, i := range Incidents() {
		file, err := os.ReadFile(filepath.Join(testdata, i.File))
		require.NoError(t, err)
		require.Greater(t, len(file), 1_000_000, i.File)
		require.Less(t, len(file), 2_000_000, i.File)
		log, err := i.Read(testdata)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(log.Notes.Format, i.Format), log.Notes.Format)
		require.Zero(t, log.Notes.Bad)
		if i.File == "storm.log" || testsize.Whole() {
			made, err := i.Log()
			require.NoError(t, err)
			require.True(t, bytes.Equal(file, made), "%s is not what go run ./lab/internal/replay/truth/write makes", i.File)
		}
	}
}

// The storm was recorded with the first of its candidates by our own recorder: replayed with the same chance it is what it was.
func TestTheStormIsItself(t *testing.T) {
	storm := Incidents()[2]
	log, err := storm.Read(testdata)
	require.NoError(t, err)
	require.True(t, log.Numbered)
	pipeline, err := layers(storm.World.Policies)
	require.NoError(t, err)
	recorded := log.Recorded()
	again, err := replay.Run(log, pipeline, replay.Trace(), seedOfIncidents, nil)
	require.NoError(t, err)
	require.Equal(t, recorded.Succeeded, again.Succeeded)
	require.Equal(t, recorded.Attempts, again.Attempts)
	require.Zero(t, again.Lost+again.Gained)
}

func TestThePageHasPlacesForTheTables(t *testing.T) {
	content, err := os.ReadFile(page)
	require.NoError(t, err)
	for _, name := range []string{"incidents", "fresh", "tuned"} {
		once, err := Put(content, name, "text")
		require.NoError(t, err)
		again, err := Put(once, name, "text")
		require.NoError(t, err)
		require.Equal(t, string(once), string(again))
	}
	_, err = Put(content, "nothing", "text")
	require.Error(t, err)
}

func TestProblems(t *testing.T) {
	for want, c := range map[string]Case{
		"":                                 {Verdict: replay.Firm, Predicted: .9, Truth: .91, P99In: true},
		"success off by -3.0 points":       {Verdict: replay.Firm, Predicted: .9, Truth: .93, P99In: true},
		"p99 outside of its band":          {Verdict: replay.Firm, Predicted: .9, Truth: .9},
		"the truth spreads by 5.0 points":  {Verdict: replay.Firm, Predicted: .9, Truth: .9, Spread: .05, P99In: true},
		"refused off by +2.0 points":       {Verdict: replay.Firm, Refused: .02, P99In: true},
		"attempts off by -6.0 %":           {Verdict: replay.Firm, Attempts: -.06, P99In: true},
		"busy off by +30 %":                {Verdict: replay.Firm, Busy: .3, P99In: true},
		"the truth is outside of the band": {Verdict: replay.CannotTell, Low: .5, High: .8, Truth: .82},
		"success off by +2.5 points, attempts off by +10.0 %": {Verdict: replay.Firm, Predicted: .025, Attempts: .1, P99In: true},
	} {
		require.Equal(t, want, c.Problem())
	}
	inside := Case{Verdict: replay.Marked, Low: .5, High: .8, Truth: .809}
	require.Empty(t, inside.Problem())
	var _ logs.Source = (*source)(nil)
}
