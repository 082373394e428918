// Command resilint finds the retry loops of a program, says what each does to a sick dependency, and offers another one. It
// also finds misuse of github.com/go-resilience/resilience.
//
//	go vet -vettool=$(which resilint) ./...   with everything that go vet does, and its cache
//	resilint ./...                            alone
//	resilint -json ./...                      findings as JSON
//	resilint -sarif ./...                     findings as SARIF 2.1.0, for code hosts
//	resilint -report ./...                    how many of each kind, worst first
//	resilint -fix -diff ./...                 shows what the fixes would change; -fix makes them
//	resilint help                             the checks
//
// A finding is taken back by a comment on its line, on the line before, or in the comment of the function, with a reason:
//
//	//resilint:ignore RL2 the process has nothing else to do
//
// The exit code of -sarif and -report is 0 unless the packages cannot be loaded.
package main

import (
	"fmt"
	"os"

	"golang.org/x/tools/go/analysis/multichecker"

	"github.com/go-resilience/resilience/cmd/resilint/checks"
)

func main() {
	if len(os.Args) > 1 {
		if form := forms[os.Args[1]]; form != nil {
			if err := summarize(os.Stdout, os.Args[2:], form); err != nil {
				fmt.Fprintln(os.Stderr, "resilint:", err)
				os.Exit(1)
			}
			return
		}
	}
	multichecker.Main(checks.All()...)
}
