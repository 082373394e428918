package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/checker"
	"golang.org/x/tools/go/packages"

	"github.com/go-resilience/resilience/cmd/resilint/checks"
)

// forms are the ways in which all findings are written together, by the flag that asks for them.
var forms = map[string]func(io.Writer, []finding) error{
	"-report": report, "--report": report,
	"-sarif": sarif, "--sarif": sarif,
}

// finding is one finding.
type finding struct {
	check   *analysis.Analyzer
	id      string // such as "RL2"
	file    string // relative to the working directory where it is below it
	line    int
	column  int
	message string // without the id
}

// summarize writes all findings in the packages that patterns name.
func summarize(w io.Writer, patterns []string, form func(io.Writer, []finding) error) error {
	if len(patterns) == 0 {
		patterns = []string{"./..."}
	}
	found, err := find(patterns)
	if err != nil {
		return err
	}
	return form(w, found)
}

// find runs every check.
func find(patterns []string) ([]finding, error) {
	loaded, err := packages.Load(&packages.Config{Mode: packages.LoadSyntax | packages.NeedModule, Tests: true}, patterns...)
	if err != nil {
		return nil, err
	}
	if len(loaded) == 0 {
		return nil, fmt.Errorf("no packages match %s", strings.Join(patterns, " "))
	}
	if problems := problemsOf(loaded); problems != nil {
		return nil, problems
	}
	graph, err := checker.Analyze(checks.All(), loaded, nil)
	if err != nil {
		return nil, err
	}
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	seen := map[finding]bool{} // a package is loaded with its tests too
	var found []finding
	for _, action := range graph.Roots {
		if action.Err != nil {
			return nil, fmt.Errorf("%s: %w", action, action.Err)
		}
		for _, d := range action.Diagnostics {
			position := action.Package.Fset.Position(d.Pos)
			f := finding{
				check: action.Analyzer, id: d.Category, file: position.Filename, line: position.Line, column: position.Column,
				message: strings.TrimPrefix(d.Message, d.Category+": "),
			}
			if name, err := filepath.Rel(here, f.file); err == nil && filepath.IsLocal(name) {
				f.file = filepath.ToSlash(name)
			}
			if !seen[f] {
				seen[f] = true
				found = append(found, f)
			}
		}
	}
	slices.SortFunc(found, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column), cmp.Compare(a.id, b.id))
	})
	return found, nil
}

// problemsOf returns why packages cannot be looked at, nil if all can.
func problemsOf(loaded []*packages.Package) error {
	var problems []error
	for _, p := range loaded {
		for _, problem := range p.Errors {
			problems = append(problems, problem)
		}
	}
	return errors.Join(problems...)
}

// report writes how many findings of each check there are, those of the most harm first, and where.
func report(w io.Writer, found []finding) error {
	var b strings.Builder
	by := map[*analysis.Analyzer][]finding{}
	for _, f := range found {
		by[f.check] = append(by[f.check], f)
	}
	fmt.Fprintf(&b, "%d findings\n", len(found))
	all := checks.All()
	slices.SortStableFunc(all, func(a, b *analysis.Analyzer) int { return cmp.Compare(harm[a.Name], harm[b.Name]) })
	for _, check := range all {
		list := by[check]
		if len(list) == 0 {
			continue
		}
		title, _, _ := strings.Cut(check.Doc, "\n")
		fmt.Fprintf(&b, "\n%4d  %s (%s)\n", len(list), title, check.Name)
		for _, f := range list {
			fmt.Fprintf(&b, "      %s:%d: %s\n", f.file, f.line, f.message)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// harm orders checks by what a finding does to a system: first what breaks it, last what slows one call.
var harm = map[string]int{
	"refusedconstant": 1, "unsettledpermit": 1, "unsafewrite": 2, "nestedretry": 3, "maskedbreaker": 3, "percall": 3, "unclosedbody": 3,
	"needsopen": 4, "droppederror": 4, "retryloop": 5, "attemptcontext": 6, "deafsleep": 6, "everyerror": 7, "gateinretry": 8, "lastsleep": 9,
}
