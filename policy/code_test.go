package policy_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policy"
)

// coded is an error with a code.
type coded string

func (c coded) Error() string { return "coded" }
func (c coded) Code() string  { return string(c) }

func TestCode(t *testing.T) {
	open := policy.NewReason("breaker.open", "circuit open")
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"nil":                         {nil, ""},
		"of the operation":            {errBackend, ""},
		"a rejection's reason":        {&policy.Rejection{Kind: "breaker", Reason: fmt.Errorf("%w: forced", open)}, "breaker.open"},
		"a rejection that says none":  {&policy.Rejection{Kind: "maintenance"}, "rejected"},
		"the outermost counts":        {fmt.Errorf("x: %w", errors.Join(errBackend, coded("retry.budget"), open)), "retry.budget"},
		"an empty one does not count": {errors.Join(coded(""), open), "breaker.open"},
		"the caller left":             {fmt.Errorf("get: %w", context.Canceled), "canceled"},
		"the caller's deadline":       {context.DeadlineExceeded, "deadline"},
		"a code beside a deadline":    {errors.Join(context.DeadlineExceeded, coded("timeout.attempt")), "timeout.attempt"},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, policy.Code(c.err)) })
	}
	require.NotErrorIs(t, open, policy.NewReason("breaker.open", "circuit open"), "each reason is one of its own")
	require.EqualError(t, open, "circuit open")
}
