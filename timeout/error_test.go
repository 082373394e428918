package timeout

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFault271_AnErrorAfterTheLimitIsOneLine(t *testing.T) {
	limit := &Error{Limit: 50 * time.Millisecond, scope: scopeAbandoned}
	err := &expiredError{cause: limit, err: errors.New("a\nb\r\nc " + strings.Repeat("x", 10_000))}
	require.True(t, strings.HasPrefix(err.Error(), "abandoning timeout 50ms expired: a; b; c xxx"), err.Error())
	require.Less(t, len(err.Error()), 600)
	require.ErrorIs(t, err, ErrTimeout)
}
