package bubble

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"testing"
	"testing/synctest"
)

// ErrExit is the error of a function that ended with [runtime.Goexit].
var ErrExit = errors.New("bubble: the function called runtime.Goexit")

// Run calls f in a new bubble and returns when f has returned. It may be called from several goroutines at once; each
// call is a bubble of its own.
//
// The error says why f did not end well: it panicked, it called [runtime.Goexit], all goroutines of the bubble were
// blocked for ever, or some were left when f returned. A panic in a goroutine that f started ends the program.
func Run(f func()) error {
	t := entrance()
	ended := make(chan error, 1)
	go func() {
		err := ErrExit
		defer func() {
			if recovered := recover(); recovered != nil { // synctest reports deadlocks and leaks by a panic
				err = fmt.Errorf("bubble: %v", recovered)
			}
			ended <- err
		}()
		synctest.Test(t, func(*testing.T) { err = inChild(f) })
	}()
	return <-ended
}

// inChild calls f in a child of the bubble's first goroutine, which must never end with runtime.Goexit: that would end
// the program.
func inChild(f func()) (err error) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = ErrExit
		defer func() {
			if recovered := recover(); recovered != nil {
				err = fmt.Errorf("bubble: panic: %v\n%s", recovered, debug.Stack())
			}
		}()
		f()
		err = nil
	}()
	<-ended
	return err
}

// entrance returns the one *testing.T of the process, which synctest wants. It is the T of a test that never ends, run
// by the public API of package testing; since it never ends, testing never prints a verdict or exits the process.
var entrance = sync.OnceValue(func() *testing.T {
	defer hideFlags()()
	found := make(chan *testing.T)
	everything := func(_, _ string) (bool, error) { return true, nil }
	forever := testing.InternalTest{Name: "virtual time", F: func(t *testing.T) {
		found <- t
		select {}
	}}
	go testing.Main(everything, []testing.InternalTest{forever}, nil, nil)
	return <-found
})

// hideFlags keeps the flags of package testing from the user's, and in a real test binary keeps this second run of
// package testing from printing, from truncating the log of the first, and from skipping what runs in virtual time (and
// then ending the process, as if all was well).
func hideFlags() (restore func()) {
	if testing.Testing() {
		return overrideFlags(map[string]string{"test.v": "false", "test.testlogfile": "", "test.skip": "", "test.shuffle": "off"})
	}
	users := flag.CommandLine
	flag.CommandLine = flag.NewFlagSet(os.Args[0], flag.ContinueOnError)
	testing.Init()
	_ = flag.CommandLine.Parse(nil)
	return func() { flag.CommandLine = users }
}

func overrideFlags(values map[string]string) (restore func()) {
	var undo []func()
	for name, value := range values {
		if f := flag.Lookup(name); f != nil {
			before := f.Value.String()
			_ = f.Value.Set(value)
			undo = append(undo, func() { _ = f.Value.Set(before) })
		}
	}
	return func() {
		for _, f := range undo {
			f()
		}
	}
}
