// Package step9 retries around the breaker of step 8, first blindly, then with an eye on the breaker.
package step9

import (
	"errors"
	"time"

	"github.com/go-resilience/resilience/examples/fromscratch/step8"
)

// Blind makes up to attempts attempts and sleeps in between, whatever the error is.
//
//resilint:ignore RL2 the tutorial shows what is missing
func Blind(attempts int, delay time.Duration, op func() error) (err error) {
	for attempt := range attempts {
		if attempt > 0 {
			time.Sleep(delay)
			delay *= 2
		}
		if err = op(); err == nil {
			return nil
		}
	}
	return err
}

// Listening looks at the breaker before it sleeps: while the circuit is open another attempt is pointless. The error says
// both that the circuit is open and why.
//
//resilint:ignore RL2 the tutorial shows what is missing
func Listening(b *step8.Breaker, attempts int, delay time.Duration, op func() error) (err error) {
	for attempt := range attempts {
		if attempt > 0 {
			if b.State() == step8.Open {
				return errors.Join(step8.ErrOpen, err)
			}
			time.Sleep(delay)
			delay *= 2
		}
		if err = b.Do(op); err == nil {
			return nil
		}
	}
	return err
}
