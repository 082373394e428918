// Consumer takes messages from a queue and passes them to a dependency, which goes down for a while. Then it gets the
// signal to stop. It prints how the messages ended.
//
//	go run ./examples/consumer
//
// It takes 6 seconds and needs no server. Where to read: consumer.go is the consumer, with its shutdown;
// consumer_test.go tests it in virtual time; queue.go is a queue in memory that behaves as the real ones do.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	// SIGTERM is what an orchestrator sends before it kills. Here the time is up after 6 seconds as well.
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	stop, cancel = context.WithTimeout(stop, 6*time.Second)
	defer cancel()

	began := time.Now()
	var calls, failures atomic.Int64
	deliver := func(ctx context.Context, m message) error {
		calls.Add(1)
		if m.body == "poison" {
			return errMalformed
		}
		if at := time.Since(began); at > time.Second && at < 3*time.Second {
			failures.Add(1)
			return errors.New("connection refused")
		}
		select {
		case <-time.After(20 * time.Millisecond):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}

	q := newQueue()
	for i := range 400 {
		body := "order"
		if i%100 == 99 {
			body = "poison"
		}
		q.Send(body)
	}
	c := newConsumer(q, deliver)
	if err := c.Run(stop, 4, 2*time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "consumer:", err)
	}
	fmt.Printf("400 messages, down from second 1 to second 3: %v; the dependency was called %d times, %d of them while it was down\n",
		q.Counts(), calls.Load(), failures.Load())
}
