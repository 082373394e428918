package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestDemonstration: the limits change during the outage, the circuit stays open to its old end, a mistake changes nothing.
func TestDemonstration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		require.NoError(t, demonstrate(t.Context(), &out))
		t.Log("\n" + out.String())
		text := out.String()
		for _, line := range []string{
			"plan: users: breaker open time 2s to 3s, state kept: open for 1.6 s more",
			"plan: users: bulkhead 8 to 4",
			"reloaded: users: breaker open time 2s to 3s, state kept: open for",
			`refused: policyconfig: pipelines.json:8:66: /pipelines/users/layers/2/openFor: "3 seconds": must be a duration with a unit`,
			`pipelines.json:9:30: /pipelines/users/layers/3/limt: "limt" is not known here: did you mean "limit"?`,
			"reloaded: users: bulkhead 4 to 6",
			"the circuit is open",
			"the circuit is closed",
			"now: total timeout 1s > retry 2 > breaker > bulkhead 6 > attempt timeout 200ms",
		} {
			require.Contains(t, text, line)
		}
		require.Equal(t, 3, strings.Count(text, "reloaded: "))
	})
}

// TestF9_Plan: the difference between two files in words.
func TestF9_Plan(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	before := write("old.json", strings.Replace(pipelines, `"2s"`, `"5s"`, 1))
	after := write("new.json", strings.Replace(pipelines, `"2s"`, `"10s"`, 1))
	var out bytes.Buffer
	require.NoError(t, printPlan(&out, []string{before, after}))
	require.Equal(t, "users: breaker open time 5s to 10s\n", out.String())

	bad := write("bad.json", "{")
	require.ErrorContains(t, printPlan(&out, []string{before, bad}), bad+":1:2: ")
	require.ErrorContains(t, printPlan(&out, []string{bad, before}), bad+":1:2: ")
	require.ErrorContains(t, printPlan(&out, nil), "usage")
}
