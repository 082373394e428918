// Quickstart sends the same traffic to two identical HTTP servers on loopback that fail and recover: through the retry
// loop that people write by hand, and through a pipeline of this library. It prints events as they happen, and ends
// with a table. It takes 11 seconds and uses only loopback.
//
//	go run ./examples/quickstart
//
// With -page it takes a bit more than a minute, and serves a live page about both, on loopback. The page stays until
// you interrupt the program.
//
//	go run ./examples/quickstart -page
//
// Where to read: loop.go and pipeline.go are the two ways to call; server.go is what they call; traffic.go runs the
// experiment; timeline.go and table.go print it; page.go serves the page. Every figure is measured in this run.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

// What both ways to call have in common, so that neither is given an advantage.
const (
	attempts   = 4                      // for each call, the first included
	firstDelay = 100 * time.Millisecond // before the second attempt; it doubles
	limit      = 300 * time.Millisecond // for one attempt
)

func main() {
	page := flag.Bool("page", false, "serve a live page about both ways to call, on loopback, until interrupted")
	flag.Parse()
	phases := []phase{
		{name: "healthy", lasts: time.Second},
		{name: "fails 30 %", lasts: 2 * time.Second, failing: 0.3},
		{name: "dead", lasts: 3 * time.Second, dead: true},
		{name: "slow", lasts: 3 * time.Second, work: 100 * time.Millisecond},
		{name: "healthy again", lasts: 2 * time.Second},
	}
	var err error
	if *page {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		err = runWithPage(ctx, os.Stdout, slower(phases, 6), 10*time.Millisecond, 5*time.Second)
	} else {
		err = run(os.Stdout, phases, 10*time.Millisecond, time.Second)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}
