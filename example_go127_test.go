//go:build go1.27

package resilience_test

import (
	"context"
	"fmt"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/retry"
)

// Since Go 1.27 a pipeline has Do and Open as methods.
func ExamplePipeline_Do() {
	ctx := context.Background()
	backend := resilience.Compose(retry.New(), breaker.New())

	user, err := backend.Do(ctx, fetchUser)

	fmt.Println(user.Name, err)
	// Output: Ada <nil>
}
