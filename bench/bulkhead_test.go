package bench

import (
	"context"
	"errors"
	"time"

	eapache "github.com/eapache/go-resiliency/semaphore"
	"github.com/failsafe-go/failsafe-go"
	failsafebulkhead "github.com/failsafe-go/failsafe-go/bulkhead"
	"golang.org/x/sync/semaphore"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
)

var errFull = errors.New("full")

// The semaphore of eapache is not among those that are full: it can only wait for a timer.
func bulkheads() []subject {
	return []subject{
		{"bulkhead", ours, shared(func() call {
			pipeline := resilience.Compose(bulkhead.New(unlimitedSlots))
			return func(ctx context.Context) bool { return fetched(resilience.Do(ctx, pipeline, fetch)) }
		})},
		{"bulkhead-alone", ours, shared(func() call { // without the engine, and nothing in between
			b := bulkhead.New(unlimitedSlots)
			return func(ctx context.Context) bool {
				ctx, ticket, err := b.Admit(ctx)
				if err != nil {
					return false
				}
				b.Settle(ctx, ticket, policy.Outcome{Kind: policy.Returned})
				return true
			}
		})},
		{"bulkhead-alone", "x-sync-semaphore", shared(func() call {
			slots := semaphore.NewWeighted(unlimitedSlots)
			return func(context.Context) bool {
				if !slots.TryAcquire(1) {
					return false
				}
				slots.Release(1)
				return true
			}
		})},
		{"bulkhead-alone", "x-sync-semaphore-acquire", shared(func() call {
			slots := semaphore.NewWeighted(unlimitedSlots)
			return func(ctx context.Context) bool {
				if slots.Acquire(ctx, 1) != nil {
					return false
				}
				slots.Release(1)
				return true
			}
		})},
		{"bulkhead", "x-sync-semaphore", shared(func() call { // TryAcquire
			return inSlot(semaphore.NewWeighted(unlimitedSlots), fetched)
		})},
		{"bulkhead", "x-sync-semaphore-acquire", shared(func() call { // waits if need be, as long as the context lasts
			slots := semaphore.NewWeighted(unlimitedSlots)
			return func(ctx context.Context) bool {
				if slots.Acquire(ctx, 1) != nil {
					return false
				}
				defer slots.Release(1)
				return fetched(fetch(ctx))
			}
		})},
		{"bulkhead", "failsafe-go", failsafeExecutor(func() []failsafe.Policy[int] {
			return []failsafe.Policy[int]{failsafebulkhead.New[int](unlimitedSlots)}
		})},
		{"bulkhead", "eapache", shared(func() call {
			slots := eapache.New(unlimitedSlots, time.Second)
			return func(ctx context.Context) bool {
				if slots.Acquire() != nil {
					return false
				}
				defer slots.Release()
				return fetched(fetch(ctx))
			}
		})},

		{"bulkhead-full", ours, shared(func() call {
			b := bulkhead.New(1)
			_, err := policy.Acquire(context.Background(), b)
			mustBe(err, nil)
			pipeline := resilience.Compose(b)
			_, err = resilience.Do(context.Background(), pipeline, fetch)
			mustBe(err, bulkhead.ErrFull)
			return func(ctx context.Context) bool { return refused(resilience.Do(ctx, pipeline, fetch)) }
		})},
		{"bulkhead-full", "x-sync-semaphore", shared(func() call {
			slots := semaphore.NewWeighted(1)
			must(slots.TryAcquire(1), "the only slot")
			return inSlot(slots, refused)
		})},
		{"bulkhead-full", "failsafe-go", shared(func() call {
			b := failsafebulkhead.New[int](1)
			must(b.TryAcquirePermit(), "the only slot")
			executor := failsafe.With[int](b)
			_, err := executor.Get(func() (int, error) { return answer, nil })
			mustBe(err, failsafebulkhead.ErrFull)
			return func(ctx context.Context) bool {
				return refused(executor.WithContext(ctx).Get(func() (int, error) { return fetch(ctx) }))
			}
		})},
	}
}

// inSlot is a call inside a semaphore, as one writes it by hand: the slot is given back after a panic too.
func inSlot(slots *semaphore.Weighted, as func(int, error) bool) call {
	return func(ctx context.Context) bool {
		if !slots.TryAcquire(1) {
			return as(0, errFull)
		}
		defer slots.Release(1)
		return as(fetch(ctx))
	}
}
