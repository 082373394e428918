package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheTimeIsBounded(t *testing.T) {
	for _, lasts := range []time.Duration{-time.Second, 0, time.Second, time.Hour + 1} {
		require.ErrorContains(t, start(t.Context(), "127.0.0.1:0", lasts), "-for "+lasts.String())
	}
}
