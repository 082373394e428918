package target

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Whatever layers report, nothing in a reading occurs twice, and everything is text.
func TestReadingsAreFitToBeExported(t *testing.T) {
	names := rapid.OneOf(rapid.SampledFrom([]string{"", "a", "a#2", "a#3", "a#2#2", "\xff", strings.Repeat("ä", 150)}), rapid.String())
	rapid.Check(t, func(t *rapid.T) {
		var layers []policy.Report
		for range rapid.IntRange(0, 8).Draw(t, "layers") {
			r := policy.Report{Kind: rapid.SampledFrom([]string{"", "breaker", "gate\xfe"}).Draw(t, "kind"), Name: names.Draw(t, "name")}
			r.State = policy.State{Name: names.Draw(t, "state"), All: rapid.SliceOfN(names, 0, 4).Draw(t, "states")}
			for range rapid.IntRange(0, 4).Draw(t, "values") {
				r.Values = append(r.Values, policy.Value{Name: names.Draw(t, "value"), Label: names.Draw(t, "label")})
			}
			layers = append(layers, r)
		}
		found, ok := (&Target{read: func() Reading { return Reading{Layers: layers} }}).Read()
		require.True(t, ok)
		seen := map[string]bool{}
		once := func(where string, text ...string) {
			id := where + fmt.Sprintf("%q", text)
			require.False(t, seen[id], "%s occurs twice", id)
			seen[id] = true
			for _, s := range text {
				require.True(t, utf8.ValidString(s))
				require.LessOrEqual(t, len(s), 220)
			}
		}
		for i, r := range found.Layers {
			once("layer", r.Kind, r.Name)
			at := fmt.Sprint(i)
			for _, state := range r.State.All {
				once(at+" state", state)
			}
			if r.State.Name != "" {
				require.Contains(t, r.State.All, r.State.Name)
			}
			for _, v := range r.Values {
				once(at+" value", v.Name, v.Label)
			}
		}
	})
}

// A name that a policy was given stays its own: the number goes to one that has none.
func TestTheSecondOfANameGetsANumberThatIsFree(t *testing.T) {
	layers := []policy.Report{{Kind: "breaker", Name: "a"}, {Kind: "breaker", Name: "a"}, {Kind: "breaker", Name: "a#2"}, {Kind: "bulkhead", Name: "a"}}
	found, _ := (&Target{read: func() Reading { return Reading{Layers: layers} }}).Read()
	var names []string
	for _, r := range found.Layers {
		names = append(names, r.Name)
	}
	require.Equal(t, []string{"a", "a#3", "a#2", "a"}, names)
}

func TestANameThatIsNoTextIsRefused(t *testing.T) {
	reporter := reporterFunc(func() policy.Report { return policy.Report{} })
	for _, name := range []string{"\xff", "\xfe\xfd"} {
		_, err := Configure("x", []func(*Config){Registry(name, reporter)})
		require.ErrorContains(t, err, "registry 1 has no name: "+fmt.Sprintf("%q", name)+" is not UTF-8")
	}
	_, err := Configure("x", []func(*Config){Registry("", reporter)})
	require.ErrorContains(t, err, "registry 1 has no name")
	_, err = Configure("x", []func(*Config){Registry("a", nil)})
	require.ErrorContains(t, err, "registry 1 is nil")
	targets, err := Configure("x", []func(*Config){Registry("a\xff", reporter)})
	require.NoError(t, err)
	require.Equal(t, "a", targets[0].Name)
}

type reporterFunc func() policy.Report

func (f reporterFunc) Report() policy.Report { return f() }

// However many pipelines there are, and whoever asks at the same time, each is made once and there are at most 101.
func TestUM5_PipelinesAreBoundedAndMadeOnce(t *testing.T) {
	var mu sync.Mutex
	made := map[string]int{}
	p := NewByPipeline(func(name string) *string {
		mu.Lock()
		defer mu.Unlock()
		made[name]++
		return &name
	})
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for i := range 3 * MaxPipelines {
				name := fmt.Sprint("p", i)
				if found := *p.Of(name); found != name && found != OtherPipelines {
					t.Errorf("%s got what is for %s", name, found)
				}
			}
		})
	}
	wait.Wait()
	require.Len(t, made, MaxPipelines+1)
	for name, n := range made {
		require.Equal(t, 1, n, name)
	}
	for i := range 2 * fewPipelines {
		require.Equal(t, fmt.Sprint("p", i), *p.Of(fmt.Sprint("p", i)))
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { p.Of("p1"); p.Of("p99"); p.Of("p299") }))
}
