package policyprom_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The code of this module in docs/observing.md is in example_test.go, which the compiler has seen.
func TestTheCodeInTheDocumentCompiles(t *testing.T) {
	document, err := os.ReadFile("../../docs/observing.md")
	require.NoError(t, err)
	examples, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	found := 0
	for i, block := range strings.Split(string(document), "```golang\n") {
		code, _, _ := strings.Cut(block, "```")
		if i == 0 || !strings.Contains(code, "policyprom.") {
			continue
		}
		found++
		require.Contains(t, unindent(string(examples)), unindent(code))
	}
	require.Equal(t, 1, found)
}

func unindent(code string) string {
	lines := strings.Split(code, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "\n")
}
