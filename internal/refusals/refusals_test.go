package refusals_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/internal/refusals"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/timeout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		reason         error
		quota, lasting bool
	}{
		{ratelimit.ErrLimited, true, false},
		{ratelimit.ErrCost, true, true},
		{ratelimit.ErrExhausted, true, true},
		{policy.NewReason("ratelimit.shared", "of another limiter"), true, false},
		{breaker.ErrOpen, false, false},
		{breaker.ErrForced, false, true},
		{bulkhead.ErrFull, false, false},
		{timeout.ErrTimeout, false, false},
		{errors.New("of a third party"), false, false},
	} {
		rejection := &policy.Rejection{Kind: "test", Reason: c.reason}
		for _, err := range []error{rejection, fmt.Errorf("around: %w", rejection)} {
			require.Equal(t, c.quota, refusals.IsQuota(err), "%v", err)
			require.Equal(t, c.lasting, refusals.IsLasting(err), "%v", err)
		}
	}
}
