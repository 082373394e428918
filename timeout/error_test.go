package timeout

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/engine"
)

func TestFault271_AnErrorAfterTheLimitIsOneLine(t *testing.T) {
	limit := &Error{Limit: 50 * time.Millisecond, scope: scopeAbandoned}
	err := engine.CausedBy(limit, errors.New("a\nb\r\nc "+strings.Repeat("x", 10_000)))
	require.True(t, strings.HasPrefix(err.Error(), "abandoning timeout 50ms expired: a; b; c xxx"), err.Error())
	require.Less(t, len(err.Error()), 600)
	require.ErrorIs(t, err, ErrTimeout)
}

func TestAnErrorAsJSON(t *testing.T) {
	for want, e := range map[string]*Error{
		`{"code":"timeout.attempt","kind":"attempt timeout","limit":0.3}`: {Limit: 300 * time.Millisecond, scope: scopeAttempt},
		`{"limit":1}`: {Limit: time.Second},
	} {
		text, err := json.Marshal(e)
		require.NoError(t, err)
		require.JSONEq(t, want, string(text))
	}
}
