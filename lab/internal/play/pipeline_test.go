package play_test

import (
	"encoding/json"
	"fmt"
	"go/format"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/lab/internal/play"
	"github.com/go-resilience/resilience/policyconfig"
)

// agree requires that the JSON of a side is a configuration that loads if and only if Compose takes the pipeline, and that it
// is the same pipeline then. It returns it, or nil.
func agree(t *testing.T, s *play.State, side int) *resilience.Pipeline {
	t.Helper()
	source := s.Source(side)
	formatted, err := format.Source([]byte("package p\n\n" + source.Go))
	require.NoError(t, err, source.Go)
	require.Equal(t, "package p\n\n"+source.Go, string(formatted), "it is formatted")
	layers := s.Layers(side)
	set, err := policyconfig.Load([]byte(source.JSON), policyconfig.Registry{})
	if refused := resilience.Validate(layers...); refused != nil {
		require.Error(t, err, "%v\n%s", refused, source.JSON)
		return nil
	}
	require.NoError(t, err, source.JSON)
	loaded := set.Pipeline("backend").Current()
	want, err := policyconfig.From(resilience.Compose(append(layers, resilience.Name("backend"))...))
	require.NoError(t, err)
	got, err := policyconfig.From(loaded)
	require.NoError(t, err)
	require.Equal(t, withoutChance.ReplaceAllString(string(want), ""), string(got))
	return loaded
}

// withoutChance is what a configuration says of the sources of chance, which the playground's policies have.
var withoutChance = regexp.MustCompile(`, "rand": "[^"]*"`)

func TestWhatIsCopied(t *testing.T) {
	s := play.Decode("a.total=1&a.retry=1&a.budget=2&a.jitter=0&a.breaker=1&a.breaker.place=1&a.limit=1&a.wait=1000&a.bulkhead=1&a.waiting=5&a.attempt=1")
	require.Equal(t, `import (
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

var backend = resilience.Compose(
	timeout.Total(2*time.Second),
	retry.New(retry.Attempts(3), retry.Exponential(100*time.Millisecond, 10*time.Second), retry.NoJitter(), retry.WithBudget(retry.NewBudget(0.1, 0))),
	policy.At(policy.StageShed, breaker.New(breaker.FailureRate(0.5, 20), breaker.OpenFor(5*time.Second))),
	ratelimit.New(100, 10, ratelimit.MaxWait(time.Second)),
	bulkhead.New(10, bulkhead.Queue(5, 100*time.Millisecond)),
	timeout.PerAttempt(500*time.Millisecond),
)
`, s.Source(0).Go)
	require.Equal(t, `{
  "budgets": {"retries": {"kind": "budget", "ratio": 0.1, "perSecond": 0}},
  "pipelines": {
    "backend": {
      "layers": [
        {"kind": "timeout", "total": "2s"},
        {"kind": "retry", "attempts": 3, "exponential": {"initial": "100ms", "longest": "10s"}, "noJitter": true, "withBudget": "retries"},
        {"kind": "breaker", "failureRate": {"rate": 0.5, "minimumCalls": 20}, "openFor": "5s", "stage": "shed"},
        {"kind": "ratelimit", "perSecond": 100, "burst": 10, "maxWait": "1s"},
        {"kind": "bulkhead", "limit": 10, "queue": {"length": 5, "wait": "100ms"}},
        {"kind": "timeout", "perAttempt": "500ms"}
      ]
    }
  }
}
`, s.Source(0).JSON)
	require.Equal(t, "import (\n\t\"github.com/go-resilience/resilience\"\n)\n\nvar backend = resilience.Compose()\n", s.Source(1).Go)
	agree(t, s, 0)
	agree(t, s, 1)
}

func TestTheJSONIsThePipeline(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	taken := 0
	for range testsize.Pick(100, 1000) {
		if agree(t, play.Decode(random(r)), r.IntN(2)) != nil {
			taken++
		}
	}
	require.Greater(t, taken, 10)
}

// The Go compiles, and is the pipeline of the JSON, option by option.
func TestTheGoIsThePipeline(t *testing.T) {
	if !testsize.Whole() {
		t.Skip("compiles a program")
	}
	r := rand.New(rand.NewPCG(7, 8))
	dir := t.TempDir()
	var main strings.Builder
	var want []string
	var files []string
	for i := 0; i < 60; {
		s := play.Decode(random(r))
		pipeline := agree(t, s, 0)
		if pipeline == nil {
			continue
		}
		text, err := policyconfig.From(pipeline)
		require.NoError(t, err)
		want = append(want, string(text))
		file := filepath.Join(dir, fmt.Sprintf("copied%d.go", i))
		code := strings.Replace(s.Source(0).Go, "var backend", fmt.Sprintf("var backend%d", i), 1)
		require.NoError(t, os.WriteFile(file, []byte("package main\n\n"+code), 0o644))
		files = append(files, file)
		fmt.Fprintf(&main, "show(backend%d)\n", i)
		i++
	}
	program := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(program, []byte(`package main

import (
	"encoding/json"
	"os"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policyconfig"
)

func show(layers *resilience.Pipeline) {
	text, err := policyconfig.From(resilience.Compose(resilience.Name("backend"), layers))
	if err != nil {
		panic(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(string(text)); err != nil {
		panic(err)
	}
}

func main() {
`+main.String()+"}\n"), 0o644))
	out, err := exec.Command("go", append([]string{"run", program}, files...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for i := range want {
		var got string
		require.NoError(t, decoder.Decode(&got))
		require.Equal(t, want[i], got)
	}
}
