package policy_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/policy"
)

var classes = []policy.Class{
	policy.Unclassified, policy.Transient, policy.Permanent, policy.Expected, policy.Throttled, policy.Ignored,
}

// classed is an error with a class, and maybe others inside.
type classed struct {
	class policy.Class
	inner []error
}

func (c classed) Error() string       { return c.class.String() }
func (c classed) Class() policy.Class { return c.class }
func (c classed) Unwrap() []error     { return c.inner }

func TestClassOf(t *testing.T) {
	rejection := &policy.Rejection{Kind: "bulkhead", Reason: errSentinel}
	expected, permanent := classed{class: policy.Expected}, classed{class: policy.Permanent}
	for name, c := range map[string]struct {
		err  error
		want policy.Class
	}{
		"nil":                            {nil, policy.Unclassified},
		"says nothing":                   {errBackend, policy.Unclassified},
		"wrapped":                        {fmt.Errorf("a: %w", fmt.Errorf("b: %w", expected)), policy.Expected},
		"does not know, but inside":      {classed{inner: []error{expected}}, policy.Expected},
		"the outermost counts":           {classed{class: policy.Permanent, inner: []error{expected}}, policy.Permanent},
		"joined: the gravest":            {errors.Join(expected, permanent, classed{class: policy.Ignored}), policy.Permanent},
		"joined with one that says none": {errors.Join(errBackend, expected), policy.Expected},
		"a rejection":                    {fmt.Errorf("inner: %w", rejection), policy.Ignored},
		"rejections":                     {errors.Join(rejection, rejection), policy.Ignored},
		"failed, then refused":           {errors.Join(rejection, errBackend), policy.Unclassified},
		"answered, then refused":         {errors.Join(rejection, expected), policy.Expected},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, policy.ClassOf(c.err)) })
	}
}

func TestGraverIsAnOrder(t *testing.T) {
	order := []policy.Class{
		policy.Unclassified, policy.Ignored, policy.Expected, policy.Permanent, policy.Throttled, policy.Transient,
	}
	for i, low := range order {
		for _, high := range order[i:] {
			require.Equal(t, high, low.Graver(high))
			require.Equal(t, high, high.Graver(low))
		}
	}
	require.Equal(t, policy.Transient, policy.Class(200).Graver(policy.Transient))
	require.Equal(t, policy.Transient, policy.Transient.Graver(policy.Class(200)))
}

// The class of joined errors does not depend on how they are nested, and wrapping changes nothing.
func TestClassOfTreesAsAProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		leaves := rapid.SliceOfN(rapid.SampledFrom(classes[1:]), 1, 6).Draw(t, "classes")
		want := policy.Unclassified
		var flat []error
		var nested error
		for _, class := range leaves {
			want = want.Graver(class)
			flat = append(flat, classed{class: class})
			nested = errors.Join(fmt.Errorf("wrapped: %w", classed{class: class}), nested)
		}
		require.Equal(t, want, policy.ClassOf(errors.Join(flat...)))
		require.Equal(t, want, policy.ClassOf(nested))
	})
}

func TestVerdict(t *testing.T) {
	rejection := &policy.Rejection{Kind: "bulkhead", Reason: errSentinel}
	says := func(class policy.Class) func(error) policy.Class { return func(error) policy.Class { return class } }
	returned := func(err error) policy.Outcome {
		return policy.Outcome{Kind: policy.Returned, Class: policy.Transient, Err: err}
	}
	left := returned(errors.New("canceling statement"))
	left.Canceled = true
	for name, c := range map[string]struct {
		outcome  policy.Outcome
		classify func(error) policy.Class
		want     policy.Verdict
	}{
		"not called":                         {policy.Outcome{}, nil, policy.Neutral},
		"FAULT 59: a panic is a failure":     {policy.Outcome{Kind: policy.Panicked}, nil, policy.Failure},
		"a panic after a cancellation":       {policy.Outcome{Kind: policy.Panicked, Canceled: true}, nil, policy.Failure},
		"an exit":                            {policy.Outcome{Kind: policy.Exited}, nil, policy.Failure},
		"success":                            {policy.Outcome{Kind: policy.Returned}, says(policy.Permanent), policy.Success},
		"success after a cancellation":       {policy.Outcome{Kind: policy.Returned, Canceled: true}, nil, policy.Success},
		"an error":                           {returned(errBackend), nil, policy.Failure},
		"an error of no class":               {policy.Outcome{Kind: policy.Returned, Err: errBackend}, nil, policy.Failure},
		"FAULT 75: the caller's cancel":      {left, nil, policy.Neutral},
		"FAULT 85: whatever the option says": {left, says(policy.Permanent), policy.Neutral},
		"Canceled while the caller waits":    {returned(context.Canceled), nil, policy.Failure},
		"FAULT 76: a deadline is a failure":  {returned(context.DeadlineExceeded), nil, policy.Failure},
		"a nested rejection":                 {returned(fmt.Errorf("inner: %w", rejection)), says(policy.Permanent), policy.Neutral},
		"a rejection after a failed attempt": {returned(errors.Join(rejection, errBackend)), nil, policy.Failure},
		"the option says transient":          {returned(errBackend), says(policy.Transient), policy.Failure},
		"the option says permanent":          {returned(errBackend), says(policy.Permanent), policy.Failure},
		"the option says expected":           {returned(errBackend), says(policy.Expected), policy.Success},
		"the option says throttled":          {returned(errBackend), says(policy.Throttled), policy.Neutral},
		"the option says ignored":            {returned(errBackend), says(policy.Ignored), policy.Neutral},
		"the option does not know":           {policy.Outcome{Kind: policy.Returned, Class: policy.Expected, Err: errBackend}, says(policy.Unclassified), policy.Success},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, c.outcome.Verdict(c.classify)) })
	}
}
