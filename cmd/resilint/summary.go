package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/go/analysis"

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

// summarize writes all findings that go vet has with args. Where some packages cannot be loaded it writes those of the others,
// and then fails.
func summarize(w io.Writer, args []string, form func(io.Writer, []finding) error) error {
	if len(args) == 0 {
		args = []string{"./..."}
	}
	found, failed := find(args)
	if failed != nil && len(found) == 0 {
		return failed
	}
	return cmp.Or(form(w, found), failed)
}

// find runs the checks. With an error it returns the findings in the packages that could be loaded.
func find(args []string) ([]finding, error) {
	command, err := vet(append([]string{"-json"}, args...))
	if err != nil {
		return nil, err
	}
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	if err := command.Run(); err != nil {
		found, _ := parse(&out)
		return found, fmt.Errorf("%w: %s", err, bytes.TrimSpace(problems.Bytes()))
	}
	if out.Len() == 0 { // go vet before Go 1.26 writes it to the other one, below lines with the names of packages
		out.Write(heading.ReplaceAll(problems.Bytes(), nil))
	}
	return parse(&out)
}

var heading = regexp.MustCompile(`(?m)^#.*$`)

// parse reads what go vet -json writes: for each package an object, by package and then by check.
func parse(r io.Reader) ([]finding, error) {
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	seen := map[finding]bool{} // a package may be looked at with its tests too
	var found []finding
	decoder := json.NewDecoder(r)
	for {
		var packages map[string]map[string]json.RawMessage
		if err := decoder.Decode(&packages); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("output of go vet: %w", err)
		}
		for path, by := range packages {
			for _, check := range checks.All() {
				list, err := diagnostics(by[check.Name])
				if err != nil {
					return nil, fmt.Errorf("%s: %s: %w", path, check.Name, err)
				}
				for _, d := range list {
					f := d.finding(check, here)
					if !seen[f] {
						seen[f] = true
						found = append(found, f)
					}
				}
			}
		}
	}
	slices.SortFunc(found, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column), cmp.Compare(a.id, b.id))
	})
	return found, nil
}

// diagnostic is a finding as go vet writes it.
type diagnostic struct {
	Category string
	Posn     string // file:line:column
	Message  string
}

// diagnostics reads what one check says of one package.
func diagnostics(raw json.RawMessage) (list []diagnostic, err error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var failed struct{ Err string }
	if json.Unmarshal(raw, &failed) == nil && failed.Err != "" {
		return nil, errors.New(failed.Err)
	}
	return list, json.Unmarshal(raw, &list)
}

func (d diagnostic) finding(check *analysis.Analyzer, here string) finding {
	f := finding{check: check, id: d.Category, file: d.Posn, message: strings.TrimPrefix(d.Message, d.Category+": ")}
	if parts := position.FindStringSubmatch(d.Posn); parts != nil {
		f.file = parts[1]
		f.line, _ = strconv.Atoi(parts[2])
		f.column, _ = strconv.Atoi(parts[3])
	}
	if name, err := filepath.Rel(here, f.file); err == nil && filepath.IsLocal(name) {
		f.file = filepath.ToSlash(name)
	}
	return f
}

var position = regexp.MustCompile(`^(.*?):(\d+)(?::(\d+))?$`)

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
