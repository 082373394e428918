package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const sampleCode = `package sample

import "context"

type Counter[T any] struct{ n int }

// Add is tested well.
func (c *Counter[T]) Add(_ context.Context, n ...int) (total int) {
	for _, one := range n {
		if one > 0 {
			c.n += one
		}
	}
	return c.n
}

// Untested is not.
func Untested[T any](value T, flag bool) T {
	if flag {
		return value
	}
	return *new(T)
}
`

const sampleTest = `package sample

import (
	"context"
	"testing"
)

func TestAdd(t *testing.T) {
	var c Counter[int]
	if got := c.Add(context.Background(), 1, 2, -5, 0); got != 3 {
		t.Fatal(got)
	}
	c = Counter[int]{}
	if got := c.Add(context.Background(), 1); got != 1 {
		t.Fatal(got)
	}
}
`

// sample writes a module and returns its folder.
func sample(t *testing.T, code, test string) string {
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module sample\n\ngo 1.26.0\n", "sample.go": code, "sample_test.go": test} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

func TestARun(t *testing.T) {
	dir, memory := sample(t, sampleCode, sampleTest), t.TempDir()
	var out bytes.Buffer
	err := run([]string{"-root", dir, "-state", memory, "."}, &out)
	require.ErrorContains(t, err, "only", "the untested function is too large a share")
	require.Contains(t, out.String(), "Untested: SURVIVED: flag → not")
	require.Contains(t, out.String(), "sample.go:10: Counter.Add: SURVIVED: one > 0 → >=", "adding 0 is the same")
	require.NotContains(t, out.String(), "SURVIVED: one > 0 → <=")
	require.NotContains(t, out.String(), "SURVIVED: c.n += one")
	first, _, _ := strings.Cut(out.String(), "\n.:")
	require.Contains(t, out.String(), ".: 6 mutants, 4 killed, 0 equivalent, 2 survived", out.String())
	unchanged, err := os.ReadFile(filepath.Join(dir, "sample.go"))
	require.NoError(t, err)
	require.Equal(t, sampleCode, string(unchanged), "never in place")

	// What was killed is remembered, as long as the function stays the same.
	out.Reset()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sample_test.go"), []byte("package sample\n\nimport \"testing\"\n\nfunc TestNothing(*testing.T) {}\n"), 0o600))
	require.Error(t, run([]string{"-root", dir, "-state", memory, "."}, &out))
	second, _, _ := strings.Cut(out.String(), "\n.:")
	require.Equal(t, first, second)
	out.Reset()
	require.Error(t, run([]string{"-root", dir, "-state", memory, "-fresh", "."}, &out))
	require.Contains(t, out.String(), ".: 6 mutants, 0 killed, 0 equivalent, 6 survived")
}

// Tests that break down on the way, here because of a file that every run of them finds, have killed nothing.
func TestTestsThatBeginToFail(t *testing.T) {
	const remember = `
func TestMain(m *testing.M) {
	runs, _ := os.ReadFile("runs")
	if len(runs) > 5 {
		os.Exit(1)
	}
	_ = os.WriteFile("runs", append(runs, '.'), 0o600)
	os.Exit(m.Run())
}
`
	test := strings.Replace(sampleTest, "import (\n", "import (\n\t\"os\"\n", 1) + remember
	memory := t.TempDir()
	require.ErrorContains(t, run([]string{"-root", sample(t, sampleCode, test), "-state", memory, "."}, &bytes.Buffer{}), "fail without a mutation")
	remembered, err := os.ReadFile(filepath.Join(memory, "..killed"))
	require.NoError(t, err)
	require.Empty(t, remembered)
}

func TestTestsThatTakeLongCanKillToo(t *testing.T) {
	const pause = "import (\n\t\"context\"\n\t\"time\"\n"
	test := strings.Replace(sampleTest, "import (\n\t\"context\"\n", pause, 1)
	test = strings.Replace(test, "var c", "time.Sleep(100 * time.Millisecond)\n\tvar c", 1)
	dir := sample(t, sampleCode, test+"\nfunc TestQuick(*testing.T) {}\n")
	var out bytes.Buffer
	require.ErrorContains(t, run([]string{"-root", dir, "-state", t.TempDir(), "."}, &out), "only")
	require.Contains(t, out.String(), ".: 6 mutants, 4 killed, 0 equivalent, 2 survived", out.String())

	s := suite{skip: []string{"TestSkipped"}}
	s.dir, s.binary = dir, "/bin/true"
	require.NoError(t, s.divide("--- PASS: TestA (0.05s)\n    --- PASS: TestB/slow (9.00s)\n--- PASS: TestB (0.04s)\n--- SKIP: TestC (1.00s)\n", time.Minute))
	require.Len(t, s.phases, 2)
	require.Equal(t, []string{"TestSkipped", "TestA"}, s.phases[0].skip)
	require.Nil(t, s.phases[0].only)
	require.Equal(t, []string{"TestA"}, s.phases[1].only)
	require.NoError(t, s.divide("--- PASS: TestA (0.00s)\n", time.Minute))
	require.Len(t, s.phases, 1)
}

func TestARunOfNothingIsAnError(t *testing.T) {
	for name, c := range map[string]struct{ code, test, want string }{
		"no mutants":         {"package sample\n\ntype T struct{}\n", sampleTest, "there are no mutants"},
		"tests that fail":    {sampleCode, strings.Replace(sampleTest, "var c", "panic(0); var c", 1), "fail without a mutation"},
		"no tests":           {sampleCode, "package sample\n", "there are no tests"},
		"code with an error": {sampleCode + "\nvar x int = nil\n", sampleTest, "does not compile"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := sample(t, c.code, c.test)
			err := run([]string{"-root", dir, "-state", t.TempDir(), "."}, &bytes.Buffer{})
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestEquivalents(t *testing.T) {
	reasons, err := equivalents("# comment\n\na.go | F | x → y | it is the same\n")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a.go | F | x → y": "it is the same"}, reasons)
	_, err = equivalents("a.go | F\n")
	require.Error(t, err)
	_, err = equivalents(equivalentText)
	require.NoError(t, err)
}
