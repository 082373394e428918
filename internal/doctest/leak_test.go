package doctest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestEveryPackageLooksForLeaks: the tests of a package fail when they leave goroutines behind.
func TestEveryPackageLooksForLeaks(t *testing.T) {
	looks := make(map[string]bool)
	walk(t, root, ".go", func(path string) {
		if !strings.HasSuffix(path, "_test.go") {
			return
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		folder := filepath.Dir(path)
		looks[folder] = looks[folder] || strings.Contains(string(text), "\nfunc TestMain(m *testing.M) { goleak.VerifyTestMain(m) }\n")
	})
	require.Greater(t, len(looks), 15, "most packages were not found")
	for folder, does := range looks {
		assert.True(t, does, "the tests of %s do not look for goroutines that are left behind", folder)
	}
}
