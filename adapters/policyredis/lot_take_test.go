package policyredis

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// An attempt that costs more than a full lot holds asks for itself alone: others may fill the lot meanwhile.
func TestAFullLotIsNotFilled(t *testing.T) {
	l := lot{amount: 10}
	require.Equal(t, decision{}, l.take(0, 20, 10, 0))
	require.True(t, l.take(0, 4, 10, 0).admitted)
	require.Equal(t, decision{fill: 4}, l.take(0, 7, 10, 0))
	require.Equal(t, decision{}, l.take(0, 7, 10, 0), "another attempt is filling it")
}
