//go:build go1.27

package resilience_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
)

func TestAPipelineHasDoAndOpenAsMethods(t *testing.T) {
	p := resilience.Compose(&probe{name: "guard"})
	value, err := p.Do(t.Context(), answer(7, nil))
	require.NoError(t, err)
	require.Equal(t, 7, value)

	value, permit, err := p.Open(t.Context(), answer(8, nil))
	require.NoError(t, err)
	require.Equal(t, 8, value)
	require.True(t, permit.Done(nil))
}
