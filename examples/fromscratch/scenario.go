package main

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// caller runs an operation, or refuses it.
type caller func(op func() error) error

var (
	errDown     = errors.New("connection refused")
	errNotFound = errors.New("no such user")
)

func succeed() error { return nil }
func fail() error    { return errDown }

// afterPanic makes a call that panics, as in a handler of net/http, whose server recovers. It says how the next call fares.
// locked tells whether the breaker's lock is still taken.
func afterPanic(call caller, locked func() bool) string {
	func() {
		defer func() { _ = recover() }()
		_ = call(func() error { panic("nil map") })
	}()
	if locked() {
		return "waits for ever"
	}
	if call(succeed) != nil {
		return "is refused"
	}
	return "is served"
}

// afterBlip makes 100 calls a second for 10 seconds, of which 6 in a row fail. It returns how many were refused.
func afterBlip(call caller) (refused int) {
	for i := range 1000 {
		reached := false
		_ = call(func() error {
			if reached = true; i >= 200 && i < 206 {
				return errDown
			}
			return nil
		})
		if !reached {
			refused++
		}
		time.Sleep(10 * time.Millisecond)
	}
	return refused
}

// afterRecoveryTime opens the circuit, waits until the recovery time is over, and lets 100 clients call at once. It returns how
// many of them reach the dependency, which is still down.
func afterRecoveryTime(call caller) int {
	for range 20 {
		_ = call(fail)
	}
	time.Sleep(recovery + recovery/10)
	var reached atomic.Int64
	var clients sync.WaitGroup
	for range 100 {
		clients.Go(func() {
			_ = call(func() error {
				reached.Add(1)
				time.Sleep(time.Second)
				return errDown
			})
		})
	}
	clients.Wait()
	return int(reached.Load())
}

// afterNotFound asks 30 times for users who do not exist. It says how the next call, for one who does, fares.
func afterNotFound(call caller) string {
	for range 30 {
		_ = call(func() error { return errNotFound })
	}
	if call(succeed) != nil {
		return "is refused"
	}
	return "is served"
}

// afterLateResult begins a call while all is well, which succeeds 37 seconds later. Meanwhile the dependency dies, the circuit
// opens, and a probe is on its way. It returns how many of 15 further calls reach the dead dependency before the probe has
// its answer.
func afterLateResult(call caller) (reached int) {
	var others sync.WaitGroup
	others.Go(func() {
		_ = call(func() error { time.Sleep(37 * time.Second); return nil })
	})
	for range 20 { // the circuit opens within 2 seconds
		time.Sleep(100 * time.Millisecond)
		_ = call(fail)
	}
	time.Sleep(33 * time.Second)
	others.Go(func() {
		_ = call(func() error { time.Sleep(5 * time.Second); return errDown }) // the probe
	})
	time.Sleep(3 * time.Second) // the late result has come, the probe's answer has not
	for range 15 {
		_ = call(func() error { reached++; return errDown })
		time.Sleep(10 * time.Millisecond)
	}
	others.Wait()
	return reached
}

// whileDown makes 40 calls with retries while the dependency is down. It returns how long the last caller waited for
// its error.
func whileDown(call caller) time.Duration {
	var start time.Time
	for range 40 {
		start = time.Now()
		_ = call(fail)
	}
	return time.Since(start)
}

// sick returns an operation of which two in three attempts fail.
func sick() func() error {
	attempt := 0
	return func() error {
		if attempt++; attempt%3 != 0 {
			return errDown
		}
		return nil
	}
}
