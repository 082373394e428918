package policyredis

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// An attempt that costs more than a full lot holds asks for itself alone: others may fill the lot meanwhile.
func TestAFullLotIsNotFilled(t *testing.T) {
	l := lot{amount: 10}
	missing := func(wanted amount) amount {
		v, missing := l.take(0, wanted, 10, 0)
		require.Equal(t, verdict{}, v)
		return missing
	}
	require.Zero(t, missing(20))
	v, _ := l.take(0, 4, 10, 0)
	require.Equal(t, granted, v.kind)
	require.EqualValues(t, 4, missing(7))
	require.Zero(t, missing(7), "another attempt is filling it")
}
