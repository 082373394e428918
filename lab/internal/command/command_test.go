package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/report"
	"github.com/go-resilience/resilience/lab/internal/scenario"
	"github.com/go-resilience/resilience/lab/internal/sim"
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
		"set, but of what":    {[]string{"-set", "p=.2"}, "-set: must go with -run and the name of one scenario"},
		"no such parameter":   {[]string{"-run", "L9", "-set", "q=1"}, "-set q: L9 has no such parameter; see -run L9 -params"},
		"out of range":        {[]string{"-run", "L9", "-set", "p=2"}, "-set p=2: must be a number from 0.1 to 0.95"},
		"no whole number":     {[]string{"-run", "L1", "-set", "attempts=2.5"}, "-set attempts=2.5: must be a whole number from 1 to 8"},
		"not a number":        {[]string{"-run", "L9", "-set", "p=NaN"}, "-set p=NaN: must be a number"},
		"no number":           {[]string{"-run", "L9", "-set", "p"}, "must be NAME=NUMBER"},
		"set twice":           {[]string{"-run", "L9", "-set", "p=.2", "-set", "p=.3"}, "p is set twice"},
		"pages of another":    {[]string{"-run", "L9", "-set", "p=.2", "-svg", "x"}, "the pages show the scenario as it is"},
		"pictures of numbers": {[]string{"-csv", "-svg", "x"}, "-svg goes with neither -csv nor -json"},
		"two forms":           {[]string{"-csv", "-json"}, "-csv and -json: choose one"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			require.Equal(t, 2, Run(scenario.All(), c.args, &stdout, &stderr))
			require.Contains(t, stderr.String(), c.want)
			require.Empty(t, stdout.String())
		})
	}
}

func TestList(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Equal(t, 0, Run(scenario.All(), []string{"-list"}, &stdout, &stderr))
	require.Equal(t, len(scenario.All()), bytes.Count(stdout.Bytes(), []byte("\n")))
	require.Contains(t, stdout.String(), "L9   composition-order      Retry outside or inside the breaker?")
	require.Equal(t, 0, Run(scenario.All(), []string{"-help"}, &stdout, &stderr))
}

// small is a scenario with one check, one parameter and one picture.
func small(passes bool) *scenario.Scenario {
	return &scenario.Scenario{
		Name: "L0", Page: "test", Question: "Does it?", Params: []scenario.Param{{Name: "height", What: "of the line", Unit: "m", Default: 1, High: 9}},
		Run: func(lab *scenario.Lab) {
			lab.ExpectThat("it", passes, "this", "that", "here")
			lab.Draw(&plot.Figure{Title: "picture", Panels: []plot.Panel{{Title: "p", Series: []plot.Series{{Name: "s", X: []float64{0, 1}, Y: []float64{math.NaN(), lab.Param("height")}}}}}})
		},
	}
}

func TestExitCodes(t *testing.T) {
	for code, passes := range []bool{true, false} {
		out, svg := t.TempDir(), t.TempDir()
		var stdout, stderr bytes.Buffer
		require.Equal(t, code, Run([]*scenario.Scenario{small(passes)}, []string{"-out", out, "-svg", svg}, &stdout, &stderr), stderr.String())
		require.FileExists(t, filepath.Join(out, "report.html"))
		require.FileExists(t, filepath.Join(svg, "test.md"))
		if !passes {
			require.Contains(t, stderr.String(), "not as expected")
			require.Contains(t, stdout.String(), "FAIL L0   it: this, expected that (here)\n")
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// What could not be written is a failure, whatever the form.
func TestOutputThatFails(t *testing.T) {
	for _, form := range []string{"-list", "-params", "-csv", "-json", "-run=L0"} {
		var stderr bytes.Buffer
		require.Equal(t, exitUnexpected, Run([]*scenario.Scenario{small(true)}, []string{form, "-out", t.TempDir()}, full{}, &stderr), form)
		require.Contains(t, stderr.String(), "no space left", form)
	}
}

// A folder that cannot be is refused before anything runs.
func TestFoldersAreMadeFirst(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, flags := range [][]string{{"-out", file}, {"-out", t.TempDir(), "-svg", file}} {
		played := small(true)
		played.Run = func(*scenario.Lab) { t.Error("it runs") }
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitUnexpected, Run([]*scenario.Scenario{played}, flags, &stdout, &stderr))
		require.Contains(t, stderr.String(), "not a directory")
	}
}

// A whole run fits a screen, also when everything fails.
func TestWholeRunFitsAScreen(t *testing.T) {
	var many []*scenario.Scenario
	for i := range len(scenario.All()) {
		many = append(many, &scenario.Scenario{Name: fmt.Sprint("L", i), Page: fmt.Sprint("test-", i), Run: func(lab *scenario.Lab) {
			for range 30 {
				lab.ExpectThat("it", false, "", "", "")
			}
		}})
	}
	var terminal bytes.Buffer
	require.Equal(t, exitUnexpected, Run(many, []string{"-out", t.TempDir()}, &terminal, &terminal))
	require.LessOrEqual(t, bytes.Count(terminal.Bytes(), []byte("\n")), 60)
}

func TestParameters(t *testing.T) {
	run := func(args ...string) string {
		var stdout, stderr bytes.Buffer
		require.Zero(t, Run([]*scenario.Scenario{small(true)}, append(args, "-out", t.TempDir()), &stdout, &stderr), stderr.String())
		return stdout.String()
	}
	require.Equal(t, "L0 test\n  -set height=1         0 to 9 m                 of the line\n", run("-params"))
	require.Equal(t, "scenario,figure,panel,series,x,y,low,high,x_axis,y_axis\nL0,test,p,s,0,,,,,\nL0,test,p,s,1,3,,,,\n", run("-run", "L0", "-set", "height=3", "-csv"))
	var results []map[string]any
	require.NoError(t, json.Unmarshal([]byte(run("-json")), &results))
	require.Equal(t, "L0", results[0]["name"])
	require.NotContains(t, results[0], "set")
	require.Contains(t, run("-run", "L0"), "picture")
}

// A run with a changed parameter says so, whatever the form.
func TestChangedParametersAreShown(t *testing.T) {
	folder := t.TempDir()
	run := func(args ...string) string {
		var stdout, stderr bytes.Buffer
		require.Zero(t, Run([]*scenario.Scenario{small(true)}, append(args, "-run", "L0", "-set", "height=3", "-out", folder), &stdout, &stderr), stderr.String())
		return stdout.String()
	}
	require.Contains(t, run(), "seed 1, height=3, ")
	html, err := os.ReadFile(filepath.Join(folder, "report.html"))
	require.NoError(t, err)
	require.Contains(t, string(html), "This run had height=3.")
	require.Contains(t, string(html), "L0 with height=3 · seed 1", "below the picture")
	var results []map[string]any
	require.NoError(t, json.Unmarshal([]byte(run("-json")), &results))
	require.Equal(t, map[string]any{"height": 3.0}, results[0]["set"])
}

// A parameter that is set to its default is not changed.
func TestADefaultIsNoChange(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Zero(t, Run([]*scenario.Scenario{small(true)}, []string{"-run", "L0", "-set", "height=1", "-json"}, &stdout, &stderr), stderr.String())
	require.NotContains(t, stdout.String(), `"set"`)
	require.NotContains(t, scenario.Play(small(true), scenario.Options{Set: map[string]float64{"height": 1}}).Figures[0].Footer, "with")
}

// A panic of a scenario from outside is a failure that says of what: the scenario, and how to see it again.
func TestScenariosThatPanic(t *testing.T) {
	world := func(setUp, show func()) func(*scenario.Lab) {
		return func(lab *scenario.Lab) {
			scenario.Runs(lab, 1, 1, func(*sim.World, int) func() int { setUp(); return func() int { show(); return 0 } })
		}
	}
	boom, nothing := func() { panic("boom") }, func() {}
	for name, play := range map[string]func(*scenario.Lab){
		"in Run":                func(*scenario.Lab) { boom() },
		"in a world":            world(boom, nothing),
		"in what a world shows": world(nothing, boom),
	} {
		s := small(true)
		s.Run = play
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitUnexpected, Run([]*scenario.Scenario{s}, []string{"-run", "L0", "-set", "height=3", "-seed", "7", "-out", t.TempDir()}, &stdout, &stderr), name)
		require.Regexp(t, `lab: the simulation went wrong: L0, seed 7, height=3: .*panic: boom\n`, stderr.String(), name)
		require.Contains(t, stderr.String(), "command_test.go", "where, for whoever has to mend it")
		require.Regexp(t, `the simulation +L0, seed 7, height=3: .*panic: boom +no error`, stdout.String(), name)
	}
	s := small(true)
	s.Run = func(*scenario.Lab) { runtime.Goexit() }
	var stderr bytes.Buffer
	require.Equal(t, exitUnexpected, Run([]*scenario.Scenario{s}, []string{"-csv"}, io.Discard, &stderr))
	require.Contains(t, stderr.String(), "L0 called runtime.Goexit")
}

// Whoever is interrupted says so at once, and leaves nothing behind.
func TestInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	goOn, ended := make(chan struct{}), make(chan struct{})
	s := small(true)
	s.Run = func(*scenario.Lab) {
		defer close(ended)
		interrupt()
		<-goOn
	}
	folder := t.TempDir()
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitInterrupted, runUntil(ctx, []*scenario.Scenario{s}, []string{"-out", folder}, &stdout, &stderr))
	require.Equal(t, "lab: interrupted: nothing was written\n", stderr.String())
	require.Empty(t, stdout.String())
	files, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Empty(t, files)
	close(goOn)
	<-ended
}

// What is wrong with scenarios is said before anything runs: they may come from outside.
func TestScenariosThatCannotBe(t *testing.T) {
	with := func(change func(*scenario.Scenario)) []*scenario.Scenario {
		s := small(true)
		change(s)
		return []*scenario.Scenario{s}
	}
	for want, scenarios := range map[string][]*scenario.Scenario{
		"there is no scenario": nil,
		"scenario 1 is nil":    {nil},
		`scenario 2, "L0": the name must not be empty, and no other scenario may have it`: {small(true), small(true)},
		`"": the name must not be empty`:              with(func(s *scenario.Scenario) { s.Name = "" }),
		`Page "../../evil": must be lower-case words`: with(func(s *scenario.Scenario) { s.Page = "../../evil" }),
		"Run is nil":                                 with(func(s *scenario.Scenario) { s.Run = nil }),
		`parameter "height": the name`:               with(func(s *scenario.Scenario) { s.Params = append(s.Params, s.Params...) }),
		"the default is out of its range: height=-1": with(func(s *scenario.Scenario) { s.Params[0].Default = -1 }),
		"nothing was expected, so nothing is shown":  with(func(s *scenario.Scenario) { s.Run = func(*scenario.Lab) {} }),
	} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitUnexpected, Run(scenarios, []string{"-out", t.TempDir()}, &stdout, &stderr), want)
		require.Contains(t, stderr.String(), want)
	}
}

// Every parameter can be set to the ends of its range, as far as it can be seen without playing.
func TestEveryParameterHasARange(t *testing.T) {
	for _, s := range scenario.All() {
		require.NotEmpty(t, s.Params, s.Name)
		for _, p := range s.Params {
			require.NotEmpty(t, p.What)
			require.Less(t, p.Low, p.High, p.Name)
			require.NoError(t, p.Validate(p.Default))
			require.NoError(t, p.Validate(p.Low))
			require.NoError(t, p.Validate(p.High))
			require.Error(t, p.Validate(p.High*1.1+1))
		}
	}
}

// The pages of docs/tradeoffs are what the lab draws, byte for byte. That they were made in another process, perhaps
// with another number of processors, is also the proof that a seed says everything.
func TestPagesShowWhatTheCodeDoes(t *testing.T) {
	if !testsize.Whole() || raceEnabled {
		t.Skip("runs every scenario whole; TestScenarios plays each of them quickly")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the command does
	var results []*scenario.Result
	blunt := map[string]bool{}
	for _, s := range scenario.All() {
		r := scenario.Play(s, scenario.Options{Seed: 1})
		require.NoError(t, r.Err)
		for _, c := range r.Checks {
			require.True(t, c.Passed, "%s: %s: %s, expected %s", r.Name, c.What, c.Measured, c.Expected)
			if name := r.Name + " " + c.What; !c.Sharp() {
				blunt[name] = true
				require.Contains(t, scenario.BluntChecks, name, "%s, expected %s: a change by a fifth would pass", c.Measured, c.Expected)
			}
		}
		results = append(results, r)
	}
	for name := range scenario.BluntChecks {
		require.Contains(t, blunt, name, "it is sharp, or not checked any more")
	}
	dir := filepath.Join("..", "..", "..", "docs", "tradeoffs")
	pages := report.Pages(results, scenario.All())
	for name, want := range pages {
		got, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.True(t, want == string(got), "%s is out of date: go run ./lab -svg docs/tradeoffs", name)
	}
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, len(pages), "files that no scenario makes")
}
