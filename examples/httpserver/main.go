// Httpserver sends the same load to two identical HTTP servers on loopback: one without a front door, one with a limit
// per customer and a bulkhead. It prints what the customers saw, and shuts down as a server in a cluster should. It
// takes about 7 seconds and uses only loopback.
//
//	go run ./examples/httpserver
//
// Where to read: server.go is the server and its front door; load.go sends the load and prints the results. Every
// figure is measured in this run.
package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// phase is a time in which the customers send requests at constant rates.
type phase struct {
	name     string
	lasts    time.Duration
	ordinary int // requests a second of all ordinary customers together
	greedy   int // requests a second of a single one
}

func main() {
	phases := []phase{
		{name: "half the capacity", lasts: time.Second, ordinary: capacity / 2},
		{name: "one greedy customer", lasts: 2 * time.Second, ordinary: capacity / 2, greedy: capacity},
		{name: "twice the capacity", lasts: 2 * time.Second, ordinary: 2 * capacity},
	}
	if err := run(os.Stdout, phases); err != nil {
		fmt.Fprintln(os.Stderr, "httpserver:", err)
		os.Exit(1)
	}
}

// run sends the load to both servers, one after the other.
func run(out io.Writer, phases []phase) error {
	fmt.Fprintf(out, "%d workers, %v for each request: the capacity is %d requests a second\n", workers, work, capacity)
	for _, door := range []bool{false, true} {
		server, err := start(door)
		if err != nil {
			return err
		}
		if door {
			fmt.Fprintf(out, "\nwith a front door: %v\n", server.front)
		} else {
			fmt.Fprintln(out, "\nwithout a front door")
		}
		fmt.Fprintf(out, "%-22s%10s%10s%12s%12s%14s%14s\n", "", "served", "too late", "429", "503", "median", "99 % within")
		for _, phase := range phases {
			send(server.url, phase).print(out, phase)
		}
		if err := server.stop(); err != nil {
			return err
		}
	}
	return nil
}
