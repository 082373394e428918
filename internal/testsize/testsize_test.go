package testsize_test

import (
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
