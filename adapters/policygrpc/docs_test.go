package policygrpc_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The code of this module in docs/grpc.md is in the examples, which the compiler has seen.
func TestTheCodeInTheDocumentCompiles(t *testing.T) {
	document, err := os.ReadFile("../../docs/grpc.md")
	require.NoError(t, err)
	examples := ""
	for _, pattern := range []string{"example_test.go", "../../examples/grpc/*.go"} {
		paths, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, path := range paths {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			examples += string(text)
		}
	}
	found := 0
	for i, block := range strings.Split(string(document), "```golang\n") {
		code, _, _ := strings.Cut(block, "```")
		if i > 0 {
			found++
			require.Contains(t, unindent(examples), unindent(code))
		}
	}
	require.Equal(t, 6, found)
}

func unindent(code string) string {
	lines := strings.Split(code, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "\n")
}
