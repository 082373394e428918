package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/lab/internal/report"
	"github.com/go-resilience/resilience/lab/internal/scenario"
)

func TestUsage(t *testing.T) {
	cases := map[string]struct {
		args []string
		want string
	}{
		"unknown scenario":    {[]string{"-run", "L99"}, `-run "L99": no such scenario; there are L1 (retry-amplification), `},
		"empty name":          {[]string{"-run", "L1,"}, `-run "": no such scenario`},
		"unknown flag":        {[]string{"-frobnicate"}, "flag provided but not defined"},
		"seed is no number":   {[]string{"-seed", "x"}, "invalid value"},
		"negative seed":       {[]string{"-seed", "-1"}, "invalid value"},
		"seed too large":      {[]string{"-seed", "4294967296"}, "-seed 4294967296: must be from 0 to 4294967295"},
		"an argument":         {[]string{"L1"}, `unexpected argument "L1"`},
		"no output directory": {[]string{"-out", ""}, "-out is empty"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			require.Equal(t, 2, run(c.args, &stdout, &stderr))
			require.Contains(t, stderr.String(), c.want)
			require.Empty(t, stdout.String())
		})
	}
}

func TestList(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Equal(t, 0, run([]string{"-list"}, &stdout, &stderr))
	require.Equal(t, len(scenario.All()), bytes.Count(stdout.Bytes(), []byte("\n")))
	require.Contains(t, stdout.String(), "L9   composition-order      Retry outside or inside the breaker?")
	require.Equal(t, 0, run([]string{"-help"}, &stdout, &stderr))
}

func TestExitCodes(t *testing.T) {
	for _, passes := range []bool{true, false} {
		s := &scenario.Scenario{Name: "L0", Page: "test", Run: func(lab *scenario.Lab) { lab.ExpectThat("it", passes, "", "", "") }}
		var stdout, stderr bytes.Buffer
		c := command{out: t.TempDir(), svg: t.TempDir()}
		err := c.play([]*scenario.Scenario{s}, &stdout, &stderr)
		if passes {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, "not as expected")
		}
		require.FileExists(t, filepath.Join(c.out, "report.html"))
		require.FileExists(t, filepath.Join(c.svg, "test.md"))
	}
}

func TestOneScenario(t *testing.T) {
	out := t.TempDir()
	var stdout, stderr bytes.Buffer
	require.Equal(t, 0, run([]string{"-run", "jitter", "-out", out, "-svg", out}, &stdout, &stderr), stderr.String())
	require.Contains(t, stdout.String(), "29 of 29 expectations met")
	require.FileExists(t, filepath.Join(out, "jitter.svg"))
}

// The pages of docs/tradeoffs are what the lab draws, byte for byte. That they were made in another process, perhaps
// with another number of processors, is also the proof that a seed says everything.
func TestPagesShowWhatTheCodeDoes(t *testing.T) {
	if !testsize.Whole() || raceEnabled {
		t.Skip("runs every scenario whole; TestScenarios plays each of them quickly")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the command does
	var results []*scenario.Result
	for _, s := range scenario.All() {
		r := scenario.Play(s, scenario.Options{Seed: 1})
		require.NoError(t, r.Err)
		for _, c := range r.Checks {
			require.True(t, c.Passed, "%s: %s: %s, expected %s", r.Name, c.What, c.Measured, c.Expected)
		}
		results = append(results, r)
	}
	dir := filepath.Join("..", "docs", "tradeoffs")
	pages := report.Pages(results)
	for name, want := range pages {
		got, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.True(t, want == string(got), "%s is out of date: go run ./lab -svg docs/tradeoffs", name)
	}
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, len(pages), "files that no scenario makes")
}
