package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/cmd/resilint/checks"
)

const sample = "./testdata/lastsleep"

// built returns the path of the command, built as users build it: with -race, loading types takes ten times as long.
func built(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "resilint")
	_, said, code := output(t, "go", "build", "-o", path, ".")
	require.Zero(t, code, said)
	return path
}

// output returns what a command says, and its exit code.
func output(t *testing.T, name string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	command := exec.Command(name, args...)
	var out, errOut bytes.Buffer
	command.Stdout, command.Stderr = &out, &errOut
	err := command.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), errOut.String(), exit.ExitCode()
	}
	require.NoError(t, err)
	return out.String(), errOut.String(), 0
}

func TestCommand(t *testing.T) {
	resilint := built(t)
	t.Run("alone", func(t *testing.T) {
		_, said, code := output(t, resilint, "-lastsleep", sample)
		require.Equal(t, 1, code)
		require.Contains(t, said, "bad.go:12:3: RL3: this retry loop sleeps after its last attempt too")
	})
	t.Run("as a tool of go vet", func(t *testing.T) {
		_, said, code := output(t, "go", "vet", "-vettool="+resilint, "-lastsleep", sample)
		require.NotZero(t, code)
		require.Contains(t, said, "bad.go:12:3: RL3: this retry loop sleeps after its last attempt too")
	})
	t.Run("JSON", func(t *testing.T) {
		said, _, code := output(t, resilint, "-json", "-lastsleep", sample)
		require.Zero(t, code)
		var byPackage map[string]map[string][]struct{ Category, Posn, Message string }
		require.NoError(t, json.Unmarshal([]byte(said), &byPackage))
		require.Len(t, byPackage, 1)
		for _, byCheck := range byPackage {
			require.Len(t, byCheck["lastsleep"], 10)
			require.Equal(t, "RL3", byCheck["lastsleep"][0].Category)
		}
	})
	t.Run("SARIF", func(t *testing.T) {
		said, _, code := output(t, resilint, "-sarif", sample)
		require.Zero(t, code)
		var log struct {
			Version string
			Runs    []struct {
				Tool struct {
					Driver struct {
						Rules []struct{ ID, Name, HelpURI string }
					}
				}
				Results []struct {
					RuleID    string
					Message   struct{ Text string }
					Locations []struct {
						PhysicalLocation struct {
							ArtifactLocation struct{ URI string }
							Region           struct{ StartLine, StartColumn int }
						}
					}
				}
			}
		}
		require.NoError(t, json.Unmarshal([]byte(said), &log))
		require.Equal(t, "2.1.0", log.Version)
		require.Len(t, log.Runs[0].Tool.Driver.Rules, len(checks.All()))
		places := map[string]bool{}
		for _, result := range log.Runs[0].Results {
			at := result.Locations[0].PhysicalLocation
			places[fmt.Sprint(result.RuleID, " ", at.ArtifactLocation.URI, ":", at.Region.StartLine, ":", at.Region.StartColumn)] = true
		}
		require.True(t, places["RL3 testdata/lastsleep/bad.go:12:3"], "%v", places)
		require.True(t, places["RL2 testdata/lastsleep/bad.go:8:2"], "%v", places)
	})
	t.Run("report, worst first", func(t *testing.T) {
		said, _, code := output(t, resilint, "-report", sample)
		require.Zero(t, code)
		loops, last := strings.Index(said, "RL2: find retry loops"), strings.Index(said, "RL3: find retry loops")
		require.True(t, 0 < loops && loops < last, "%s", said)
		require.Contains(t, said, "  10  RL3: find retry loops that sleep after the last attempt (lastsleep)\n")
	})
	t.Run("no such package", func(t *testing.T) {
		_, said, code := output(t, resilint, "-report", "./nowhere")
		require.Equal(t, 1, code)
		require.Contains(t, said, "nowhere")
	})
}

// What cannot be loaded does not hide the rest. Columns of SARIF are characters, and names of files are escaped.
func TestSARIF_WhatIsThere(t *testing.T) {
	resilint := built(t)
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"go.mod":       "module example.com/m\n\ngo 1.26\n",
		"broken/b.go":  "package broken\n\nvar x = y\n",
		"good/a b%.go": "package good\n\nimport \"time\"\n\nfunc wait(call func(string) error) {\n\tfor {\n\t\tif call(`é€😀`) == nil { return }; time.Sleep(1)\n\t}\n}\n",
		"good/l.go": "package good\n\nimport \"time\"\n\nfunc other(call func(string) error) {\n//line /gen/t.y:7\n\tfor {\n" +
			"\t\tif call(`x`) == nil { return }\n\t\ttime.Sleep(1)\n\t}\n}\n",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
	said, problems, code := output(t, resilint, "-report", "./...")
	require.Equal(t, 1, code)
	require.Contains(t, problems, "undefined: y")
	require.Contains(t, said, "good/a b%.go:6: this loop retries without a bound")

	said, problems, code = output(t, resilint, "-tags=x", "-sarif", "./...") // not the first of the flags
	require.Equal(t, 1, code)
	require.Contains(t, problems, "undefined: y")
	var log struct {
		Runs []struct {
			OriginalURIBaseIDs map[string]struct{ URI string }
			Results            []struct {
				RuleIndex int
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation map[string]string
						Region           map[string]int
					}
				}
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(said), &log))
	require.Len(t, log.Runs, 1)
	require.Regexp(t, `^file:///.*/$`, log.Runs[0].OriginalURIBaseIDs["%SRCROOT%"].URI)
	require.Len(t, log.Runs[0].Results, 2)
	for i, want := range []struct {
		artifact map[string]string
		region   map[string]int
	}{
		{map[string]string{"uri": "file:///gen/t.y"}, map[string]int{"startLine": 7}},
		{map[string]string{"uri": "good/a%20b%25.go", "uriBaseId": "%SRCROOT%"}, map[string]int{"startLine": 6, "startColumn": 2}},
	} {
		result := log.Runs[0].Results[i]
		require.Equal(t, "retryloop", checks.All()[result.RuleIndex].Name)
		require.Equal(t, want.artifact, result.Locations[0].PhysicalLocation.ArtifactLocation)
		require.Equal(t, want.region, result.Locations[0].PhysicalLocation.Region)
	}
	require.Equal(t, 37, characters(finding{file: "good/a b%.go", line: 7, column: 43}))
}

// Each check has a place in the order of harm, a page, and its examples there are those of the tests. The blocks of Go are
// compared by the test of all documents; the fixes here.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/resilint.md")
	require.NoError(t, err)
	sections := regexp.MustCompile(`(?m)^## `).Split(string(page), -1)
	for _, check := range checks.All() {
		require.NotZero(t, harm[check.Name], check.Name)
		id, _, _ := strings.Cut(check.Doc, ":")
		require.True(t, strings.HasSuffix(check.URL, "#"+strings.ToLower(id)), check.URL)
		section := ""
		for _, s := range sections {
			if strings.HasPrefix(s, id+"\n") {
				section = s
			}
		}
		require.Contains(t, section, "`"+check.Name+"`: ", "docs/resilint.md has no section %s", id)
		for _, block := range regexp.MustCompile("(?s)```diff\n(.*?)```").FindAllStringSubmatch(section, -1) {
			before, err := os.ReadFile("testdata/" + check.Name + "/bad.go")
			require.NoError(t, err)
			after, err := os.ReadFile("testdata/" + check.Name + "/bad.go.golden")
			require.NoError(t, err)
			for line := range strings.Lines(block[1]) {
				text := strings.TrimSuffix(line[1:], "\n")
				if line[0] != '+' {
					require.Contains(t, string(before), text)
				}
				if line[0] != '-' {
					require.Contains(t, string(after), text)
				}
			}
		}
	}
}
