package testsize_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/testsize"
)

func TestPick(t *testing.T) {
	for value, want := range map[string]int{"": 1, "short": 1, "whole": 1000} {
		t.Setenv(testsize.Variable, value)
		require.Equal(t, want, testsize.Pick(1, 1000), "%q", value)
	}
	t.Setenv(testsize.Variable, "hole")
	require.PanicsWithValue(t, `RESILIENCE_TESTS="hole": must be short or whole`, func() { testsize.Whole() })
}

func TestPortsAreFreeAndDiffer(t *testing.T) {
	seen := make(map[int]bool)
	for range 100 {
		port := testsize.Port(t)
		require.False(t, seen[port])
		seen[port] = true
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		require.NoError(t, err)
		require.NoError(t, listener.Close())
	}
}
