// Soak runs every policy under everything at once, for as long as it is told, and prints a ledger that must balance.
//
//	go run ./soak            # 10 s
//	go run ./soak -for 10m
//
// 64 goroutines make calls through two pipelines, some with results that stay open, and hang up, panic, call runtime.Goexit, are slow, and fail; others
// reconfigure, reset, force and delete; an observer checks the invariants all the while. It exits with 1 when one of them is broken, when the
// ledger does not balance, or when goroutines are left behind.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	length := flag.Duration("for", 10*time.Second, "how long to run")
	workers := flag.Int("workers", 64, "how many goroutines make calls")
	flag.Parse()
	if *length <= 0 || *workers <= 0 {
		fmt.Fprintln(os.Stderr, "soak: -for and -workers must be positive")
		os.Exit(2)
	}
	d, problems := soak(*length, *workers)
	fmt.Print(d)
	for _, problem := range problems {
		fmt.Fprintln(os.Stderr, problem)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
}
