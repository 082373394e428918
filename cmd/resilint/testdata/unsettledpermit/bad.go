package unsettledpermit

import (
	"context"
	"errors"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

var errEmpty = errors.New("empty")

func work(ctx context.Context) (string, error) { return "", ctx.Err() }

func onOnePath(ctx context.Context, backend policy.Layer) error {
	text, permit, err := resilience.Open(ctx, backend, work) // want "RL9d: the permit is not settled on the way to line 21"
	if err != nil {
		return err
	}
	if text == "" {
		return errEmpty
	}
	permit.Done(nil)
	return nil
}

func never(ctx context.Context, backend *resilience.Pipeline) error {
	_, err := backend.Acquire(ctx) // want "RL9d: nobody settles the permit"
	return err
}

// its context settles nothing
func asksForTheContext(ctx context.Context, guard policy.Guard) error {
	permit, err := policy.Acquire(ctx, guard) // want "RL9d: the permit is not settled on the way to line 38"
	if err != nil {
		return err
	}
	return permit.Context().Err()
}
