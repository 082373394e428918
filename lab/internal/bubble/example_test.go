package bubble_test

import (
	"fmt"
	"time"

	"github.com/go-resilience/resilience/lab/internal/bubble"
)

func ExampleRun() {
	err := bubble.Run(func() {
		start := time.Now()
		time.Sleep(24 * time.Hour)
		fmt.Println("slept for", time.Since(start))
	})
	fmt.Println(err)
	// Output:
	// slept for 24h0m0s
	// <nil>
}
