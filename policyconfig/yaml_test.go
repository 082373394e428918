package policyconfig_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestYAMLRecipe runs the program on the page: YAML goes through the one strict decoder.
func TestYAMLRecipe(t *testing.T) {
	page, err := os.ReadFile("../docs/configuration.md")
	require.NoError(t, err)
	program := regexp.MustCompile("(?s)```go\n(package main\n.*?)```").FindSubmatch(page)
	require.NotNil(t, program)
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	binary := filepath.Join(dir, "recipe")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, write("main.go", string(program[1])))
	build.Dir = ".."
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)

	run := func(file string) (string, error) {
		output, err := exec.CommandContext(t.Context(), binary, write("pipelines.yaml", file)).CombinedOutput()
		return string(output), err
	}
	text, err := run(`
pipelines:
  users:
    layers:
      - {kind: timeout, total: 2s}
      - kind: retry
        attempts: 4 # a comment
      - {kind: ratelimit, perSecond: 0.5, burst: 10}
`)
	require.NoError(t, err, text)
	require.Equal(t, "total timeout 2s > retry 4 > rate limit 1 per 2s burst 10\n", text)
	for file, want := range map[string]string{
		"pipelines: {users: {layers: [{kind: retry, atempts: 4}]}}":               `/pipelines/users/layers/0/atempts: "atempts" is not known here`,
		"pipelines: {users: {layers: [{kind: retry, attempts: 4, attempts: 5}]}}": "already",
		"pipelines: {users: {layers: [{kind: throttle, k: .nan}]}}":               "NaN",
	} {
		text, err := run(file)
		require.Error(t, err)
		require.Contains(t, text, want)
	}
}
