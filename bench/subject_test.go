package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// call is one use of a subject. It reports whether the result was right, which every measured loop checks.
type call func(context.Context) bool

// subject is something that does a piece of work.
type subject struct {
	work, name string
	// make sets up what all goroutines share, and returns what makes the call of one goroutine.
	make func() func() call
}

// shared returns the make of a subject whose goroutines all use the same call.
func shared(make func() call) func() func() call {
	return func() func() call {
		c := make()
		return func() call { return c }
	}
}

// ours is the name of this library among the subjects; other names that begin with it are other ways to use it.
const ours = "resilience"

// subjects is all work, each piece with everybody who does it.
func subjects() []subject {
	var all []subject
	all = append(all, pipelines()...) // the honest row first
	all = append(all, breakers()...)
	all = append(all, retries()...)
	all = append(all, limiters()...)
	all = append(all, bulkheads()...)
	all = append(all, timeouts()...)
	all = append(all, perKeyLimiters(100_000)...)
	all = append(all, keyedLimiters(100_000)...)
	return all
}

// What nobody reaches in a benchmark.
const (
	unlimitedRate  = 1e9
	unlimitedBurst = math.MaxInt32
	unlimitedSlots = 1 << 20
)

const answer = 42

var errBackend = errors.New("backend failed")

// fetch is the operation. It is kept from being inlined into anybody.
//
//go:noinline
func fetch(context.Context) (int, error) { return answer, nil }

func fail(context.Context) (int, error) { return 0, errBackend }

func fetched(value int, err error) bool { return value == answer && err == nil }

func refused(value int, err error) bool { return value == 0 && err != nil }

// thirdTime returns an operation that fails twice, then succeeds, and so on. It belongs to one goroutine.
func thirdTime() func(context.Context) (int, error) {
	n := 0
	return func(context.Context) (int, error) {
		if n++; n%3 != 0 {
			return 0, errBackend
		}
		return answer, nil
	}
}

// mustBe panics unless err matches target: a subject was not set up as it should be.
func mustBe(err, target error) {
	if !errors.Is(err, target) {
		panic(fmt.Sprintf("bench: got %v instead of %v", err, target))
	}
}

func must(ok bool, what string) {
	if !ok {
		panic("bench: " + what)
	}
}
