package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/examples/fromscratch/step1"
	"github.com/go-resilience/resilience/examples/fromscratch/step3"
	"github.com/go-resilience/resilience/examples/fromscratch/step4"
	"github.com/go-resilience/resilience/examples/fromscratch/step5"
	"github.com/go-resilience/resilience/examples/fromscratch/step6"
	"github.com/go-resilience/resilience/examples/fromscratch/step7"
	"github.com/go-resilience/resilience/examples/fromscratch/step8"
	"github.com/go-resilience/resilience/examples/fromscratch/step9"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

const (
	recovery = 30 * time.Second
	attempts = 4
	delay    = time.Second // before the second attempt; it doubles
)

// tell runs every step and prints what happens. It must run in a bubble of testing/synctest.
func tell(w io.Writer) {
	fmt.Fprintln(w, "1  the state machine: 3 failures open it, for 30 s")
	for i, s := range trace(step1.New(3, recovery)) {
		fmt.Fprintf(w, "     %d  %-22s %s\n", i+1, s.what, s.state)
	}

	never := func() bool { return false }
	b3 := step3.New(5, recovery)
	fmt.Fprintln(w, "\n   after a call that panics, the next one")
	row(w, 3, afterPanic(b3.Do, b3.Locked))
	row(w, 4, afterPanic(step4.New(5, recovery).Do, never))
	row(w, 0, afterPanic(library(), never))

	fmt.Fprintln(w, "\n   a blip: 6 of 1000 calls fail; refused are")
	row(w, 4, afterBlip(step4.New(5, recovery).Do))
	row(w, 5, afterBlip(step5.New(recovery).Do))
	row(w, 0, afterBlip(library()))

	fmt.Fprintln(w, "\n   100 clients when the recovery time is over: the dependency, still down, gets")
	row(w, 5, afterRecoveryTime(step5.New(recovery).Do))
	row(w, 6, afterRecoveryTime(step6.New(recovery).Do))
	row(w, 0, afterRecoveryTime(library()))

	fmt.Fprintln(w, "\n   after 30 users who were not found, one who exists")
	row(w, 6, afterNotFound(step6.New(recovery).Do))
	row(w, 7, afterNotFound(step7.New(recovery, judge7).Do))
	row(w, 0, afterNotFound(library()))

	fmt.Fprintln(w, "\n   a success of 37 s ago arrives during a probe: of 15 calls, the dead dependency gets")
	row(w, 7, afterLateResult(step7.New(recovery, judge7).Do))
	row(w, 8, afterLateResult(step8.New(recovery, judge8).Do))
	row(w, 0, afterLateResult(library()))

	fmt.Fprintln(w, "\n   retries around the breaker, the dependency is down: a caller learns it after")
	blind, listening := step8.New(recovery, judge8), step8.New(recovery, judge8)
	row(w, 8, whileDown(func(op func() error) error {
		return step9.Blind(attempts, delay, func() error { return blind.Do(op) })
	}))
	row(w, 9, whileDown(func(op func() error) error { return step9.Listening(listening, attempts, delay, op) }))
	row(w, 0, whileDown(library(again)))

	fmt.Fprintln(w, "\n   two in three attempts fail, 100 calls with retries; the circuit is")
	masked, seen := step8.New(recovery, judge8), step8.New(recovery, judge8)
	op := sick()
	for range 100 {
		_ = masked.Do(func() error { return step9.Blind(attempts, delay, op) }) // the breaker outside
	}
	row(w, 8, masked.State())
	op = sick()
	for range 100 {
		_ = step9.Listening(seen, attempts, delay, op)
	}
	row(w, 9, seen.State())
	users := newBreaker()
	call := library(again, users)
	op = sick()
	for range 100 {
		_ = call(op)
	}
	row(w, 0, users.State())
}

// row prints a result: of a step, or of the library for 0.
func row(w io.Writer, step int, result any) {
	who := "library"
	if step > 0 {
		who = fmt.Sprintf("step %d", step)
	}
	fmt.Fprintf(w, "     %-8s %v\n", who, result)
}

// moment is what happened to a breaker, and what it was then.
type moment struct {
	what  string
	state step1.State
}

// trace is the nine steps through all states.
func trace(b *step1.Breaker) (moments []moment) {
	step := func(what string, do func()) {
		do()
		moments = append(moments, moment{what, b.State()})
	}
	allow := func() { _ = b.Allow() }
	later := func() { time.Sleep(recovery); _ = b.Allow() }
	step("a call succeeds", b.Succeeded)
	step("a call fails", b.Failed)
	step("a second one fails", b.Failed)
	step("a third one fails", b.Failed)
	step("a call is refused", allow)
	step("30 s later: allowed", later)
	step("it fails", b.Failed)
	step("30 s later: allowed", later)
	step("it succeeds", b.Succeeded)
	return moments
}

func judge7(err error) step7.Verdict {
	if errors.Is(err, errNotFound) {
		return step7.Success
	}
	return step7.Failure
}

func judge8(err error) step8.Verdict { return step8.Verdict(judge7(err)) }

// The same with the library.

// again is a Retrier that waits as long as the loops of step 9, so that the results can be compared: the default has jitter.
var again = retry.New(retry.Attempts(attempts), retry.Exponential(delay, time.Minute), retry.NoJitter())

// judge says once what an error means, for every policy.
func judge(err error) policy.Class {
	if errors.Is(err, errNotFound) {
		return policy.Expected
	}
	return policy.Unclassified
}

// newBreaker returns a breaker with the rule of step 5.
func newBreaker() *breaker.Breaker {
	return breaker.New(
		breaker.FailureRate(0.5, 20),
		breaker.CountWindow(100),
		breaker.OpenFor(recovery),
	)
}

// library returns a pipeline as a caller: the given layers, or else a breaker.
func library(layers ...policy.Layer) caller {
	if len(layers) < 2 {
		layers = append(layers, newBreaker())
	}
	backend := resilience.Compose(append(layers, resilience.Classify(judge))...)
	return func(op func() error) error {
		return backend.Run(context.Background(), func(context.Context) error { return op() })
	}
}
