// Command lab runs the library's policies in virtual time, under simulated load, and compares what it measures with
// closed forms, published numbers, and second simulations that share no code with the library.
//
//	go run ./lab                          every scenario: verdicts, and a report in lab-report/report.html
//	go run ./lab -list                    what there is
//	go run ./lab -run L9                  one scenario, or several (-run L2,storm), with plots and every number
//	go run ./lab -run L9 -params          what can be changed in it
//	go run ./lab -run L9 -set rate=200 -set p=0.2
//	go run ./lab -run L9 -csv             every point of every picture, for a spreadsheet; or -json
//	go run ./lab -seed 7                  other arrivals and other luck, the same verdicts
//	go run ./lab -full                    the seeds and horizons of the published experiments; takes minutes
//	go run ./lab -out DIR                 where the report goes
//	go run ./lab -svg DIR                 also every picture as an SVG file, and a page for each lesson
//	go run ./lab playground               a page to play with, which runs the library itself; -out FILE writes it
//	go run ./lab replay -help             what would these policies have done to the traffic of that log?
//
// The exit code is 0 when everything was as expected, 1 when something was not, 2 for a usage error, and 130 for a run that
// was interrupted. A scenario of your own is a program of some 30 lines: see package scenario.
package main

import (
	"os"

	"github.com/go-resilience/resilience/lab/internal/command"
	"github.com/go-resilience/resilience/lab/internal/playground"
	replay "github.com/go-resilience/resilience/lab/internal/replay/command"
	"github.com/go-resilience/resilience/lab/internal/scenario"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "playground" {
		os.Exit(playground.Command(os.Args[2:], os.Stdout, os.Stderr))
	}
	if len(os.Args) > 1 && os.Args[1] == "replay" {
		os.Exit(replay.Run(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(command.Run(scenario.All(), os.Args[1:], os.Stdout, os.Stderr))
}
