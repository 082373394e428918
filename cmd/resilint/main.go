// Command resilint finds the retry loops of a program, says what each does to a failing dependency, and offers a better
// one. It also finds misuse of github.com/go-resilience/resilience.
//
//	resilint ./...              the findings
//	resilint -json ./...        as JSON
//	resilint -sarif ./...       as SARIF 2.1.0, for code hosts
//	resilint -report ./...      how many of each kind, worst first
//	resilint -fix -diff ./...   shows what the fixes would change; -fix makes them
//	resilint help               the checks
//
// All of these run go vet with resilint as its tool: only one package at a time is in memory, results are cached, and
// the flags are those of go vet, such as -tags, and of the checks. To do the same by hand:
//
//	go vet -vettool=$(which resilint) ./...
//
// To suppress a finding, write a comment with a reason on its line, on the line before, or in the function's comment:
//
//	//resilint:ignore RL2 the process has nothing else to do
//
// The exit code is that of go vet: 1 if there are findings or a package cannot be loaded. With -json, -sarif and
// -report it is 0 unless packages cannot be loaded; even then the findings in the other packages are written.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis/unitchecker"

	"github.com/go-resilience/resilience/cmd/resilint/checks"
)

const usage = `usage: resilint [-json | -sarif | -report | -fix [-diff]] [flags of go vet and of checks] packages
       resilint help [check]
`

func main() {
	args := os.Args[1:]
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if slices.Contains([]string{"-h", "-help", "--help"}, args[0]) {
		fmt.Print(usage)
		return
	}
	if isTool(args) {
		unitchecker.Main(checks.All()...)
	}
	for i, arg := range args {
		if form := forms[arg]; form != nil {
			if err := summarize(os.Stdout, slices.Delete(args, i, i+1), form); err != nil {
				fmt.Fprintln(os.Stderr, "resilint:", err)
				os.Exit(1)
			}
			return
		}
	}
	os.Exit(run(args))
}

// isTool reports whether the arguments are those with which go vet runs its tool, or ask for help.
func isTool(args []string) bool {
	last := args[len(args)-1]
	return args[0] == "help" || args[0] == "-flags" || strings.HasPrefix(args[0], "-V") || strings.HasSuffix(last, ".cfg")
}

// run runs go vet, which says itself what it finds, and returns its exit code.
func run(args []string) int {
	command, err := vet(args)
	if err == nil {
		command.Stdout, command.Stderr = os.Stdout, os.Stderr
		err = command.Run()
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "resilint:", err)
		return 1
	}
	return 0
}

// vet returns a command that runs go vet with this program as its tool.
func vet(args []string) (*exec.Cmd, error) {
	tool, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.Command("go", append([]string{"vet", "-vettool=" + tool}, args...)...), nil
}
