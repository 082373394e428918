package bulkhead_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
)

func Example() {
	ctx := context.Background()
	db := bulkhead.New(16)
	query := func(context.Context) (string, error) { return "row", nil }

	row, err := resilience.Do(ctx, db, query)
	fmt.Println(row, err)

	defer takeAll(db)() // sixteen others are inside
	_, err = resilience.Do(ctx, db, query)
	fmt.Println(err)
	fmt.Println(errors.Is(err, bulkhead.ErrFull), errors.Is(err, policy.ErrRejected))
	// Output:
	// row <nil>
	// bulkhead: all slots are taken
	// true true
}

// takeAll takes the slots that are free, and returns a function that gives them back.
func takeAll(b *bulkhead.Bulkhead) (release func()) {
	var permits []*policy.Permit
	for range b.Snapshot().Limit - b.Snapshot().InFlight {
		if permit, err := policy.Acquire(context.Background(), b); err == nil {
			permits = append(permits, permit)
		}
	}
	return func() {
		for _, permit := range permits {
			permit.Done(nil)
		}
	}
}

func ExampleNew() {
	backend := resilience.Compose(bulkhead.New(16, bulkhead.Queue(8, 100*time.Millisecond), bulkhead.Name("users-db")))
	fmt.Println(backend)
	// Output: bulkhead "users-db" 16+8
}

// At the front door a bulkhead sheds load before anything else is spent.
func ExampleNew_shed() {
	backend := resilience.Compose(
		bulkhead.New(16),
		policy.At(policy.StageShed, bulkhead.New(64, bulkhead.Name("front door"))),
	)
	fmt.Println(backend)
	// Output: bulkhead "front door" 64 > bulkhead 16
}

// rowsKey marks a context with how many rows a query will read.
type rowsKey struct{}

// Attempts that need more take more slots.
func ExampleWeightOf() {
	db := bulkhead.New(10, bulkhead.WeightOf(func(ctx context.Context) int {
		if rows, _ := ctx.Value(rowsKey{}).(int); rows > 1000 {
			return 5
		}
		return 1
	}))
	report := context.WithValue(context.Background(), rowsKey{}, 50_000)
	permit, err := policy.Acquire(report, db)
	fmt.Println(err, db.Snapshot().InFlight)
	permit.Done(nil)
	// Output: <nil> 5
}

// Reconfigure takes what New takes. What is data and not given has its default: the queue is given again.
func ExampleBulkhead_Reconfigure() {
	db := bulkhead.New(16, bulkhead.Queue(8, 100*time.Millisecond))
	fmt.Println(db.Reconfigure(0))
	fmt.Println(db.Reconfigure(32, bulkhead.Queue(8, 100*time.Millisecond)), db)
	// Output:
	// bulkhead: limit 0: must be from 1 to 2147483647
	// <nil> bulkhead 32+8
}

// At shutdown, finish what is inside and refuse the rest.
func ExampleBulkhead_Drain() {
	db := bulkhead.New(16)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := db.Drain(ctx); err != nil {
		fmt.Println("still inside:", db.Snapshot().InFlight, err)
	}
	_, err := resilience.Do(context.Background(), db, func(context.Context) (string, error) { return "row", nil })
	fmt.Println(err, errors.Is(err, bulkhead.ErrDraining))
	// Output: bulkhead: draining true
}

// Shadow mode tries a limit out on real traffic.
func ExampleShadow() {
	db := bulkhead.New(16, bulkhead.Shadow())
	query := func(context.Context) (string, error) { return "row", nil }

	defer takeAll(db)()
	row, err := resilience.Do(context.Background(), db, query) // would be refused
	fmt.Println(row, err, db.Snapshot().ShadowRejected)
	db.Enforce()
	fmt.Println(db.Snapshot().Shadow)
	// Output:
	// row <nil> 1
	// false
}

// Policy is for injection where the type of the result is known.
func ExamplePolicy() {
	var names policy.Policy[string] = bulkhead.Policy[string]{Bulkhead: bulkhead.New(4)}
	fmt.Println(names.Do(context.Background(), func(context.Context) (string, error) { return "Ada", nil }))
	// Output: Ada <nil>
}

// A limit that follows latency, for a dependency whose capacity nobody knows, or that changes.
func ExampleAdaptive() {
	search := bulkhead.Adaptive(bulkhead.Vegas(), 10, 200,
		bulkhead.Queue(20, 50*time.Millisecond),
		bulkhead.Classify(func(err error) policy.Class {
			if errors.Is(err, errNotFound) {
				return policy.Expected // an answer, whose latency counts
			}
			return policy.Unclassified
		}),
	)
	fmt.Println(search, "now", search.Snapshot().Limit)
	// Output: bulkhead vegas 10 to 200+20 now 10
}

var errNotFound = errors.New("404 not found")

// Where a function does not fit, as for a stream, the slot is held by a permit.
func Example_permit() {
	streams := bulkhead.New(100)
	permit, err := policy.Acquire(context.Background(), streams)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer permit.Settle(policy.Outcome{Kind: policy.Exited}) // does nothing after Done
	fmt.Println(streams.Snapshot().InFlight)
	permit.Done(nil)
	fmt.Println(streams.Snapshot().InFlight)
	// Output:
	// 1
	// 0
}
