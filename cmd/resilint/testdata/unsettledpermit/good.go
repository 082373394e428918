package unsettledpermit

import (
	"context"
	"errors"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

func deferred(ctx context.Context, backend *resilience.Pipeline) (err error) {
	permit, err := backend.Acquire(ctx)
	if err != nil {
		return err
	}
	defer func() { permit.Done(err) }()
	return nil
}

func onAllPaths(ctx context.Context, backend policy.Layer) error {
	text, permit, err := resilience.Open(ctx, backend, work)
	if err != nil {
		return err
	}
	if text == "" {
		permit.Done(errEmpty)
		return errEmpty
	}
	permit.Done(nil)
	return nil
}

// its owner settles it
func handedOn(ctx context.Context, backend *resilience.Pipeline) (*policy.Permit, error) {
	permit, err := backend.Acquire(ctx)
	return permit, err
}

func ifThereIsOne(ctx context.Context, backend policy.Layer) error {
	_, permit, err := resilience.Open(ctx, backend, work)
	if permit != nil {
		permit.Done(err)
	}
	return err
}

// there is no permit where there is one of these errors
func asksWhich(ctx context.Context, guard policy.Guard) error {
	permit, err := policy.Acquire(ctx, guard)
	switch {
	case errors.Is(err, policy.ErrRejected):
		return nil
	case err != nil:
		return err
	}
	permit.Done(nil)
	return nil
}
