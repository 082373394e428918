// Fromscratch builds a circuit breaker step by step, runs into each pitfall, and fixes it. At the end it does the same
// with the library. docs/from-scratch.md tells the story.
//
//	go run ./examples/fromscratch
//
// Minutes pass in it, and it takes less than a second: it runs in virtual time, in a bubble of testing/synctest. The folders
// step1 to step9 are the steps. Each is a whole package, so that two of them can be compared:
//
//	diff -u examples/fromscratch/step3/breaker.go examples/fromscratch/step4/breaker.go
//
// scenario.go has what each breaker goes through, and story.go tells how each one fares.
package main

import (
	"os"
	"testing"
	"testing/synctest"
)

func main() {
	story := testing.InternalTest{Name: "story", F: func(t *testing.T) {
		synctest.Test(t, func(*testing.T) { tell(os.Stdout) })
	}}
	all := func(_, _ string) (bool, error) { return true, nil }
	testing.Main(all, []testing.InternalTest{story}, nil, nil) // a bubble needs a test; this prints PASS and exits
}
