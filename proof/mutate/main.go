package main

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// suites says whose tests can kill the mutants of a package: its own come first.
var suites = map[string][]string{
	".":                 {"."},
	"policy":            {"policy", ".", "policytest", "breaker"},
	"internal/engine":   {".", "retry", "hedge"},
	"internal/keytable": {"internal/keytable", "ratelimit"},
	"breaker":           {"breaker", "."},
	"retry":             {"retry", "."},
	"ratelimit":         {"ratelimit", "."},
	"bulkhead":          {"bulkhead", "."},
}

// order is the packages that are mutated when none is named.
var order = []string{"policy", "internal/engine", ".", "bulkhead", "internal/keytable", "ratelimit", "retry", "breaker"}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string, out io.Writer) error {
	flags := flag.NewFlagSet("mutate", flag.ContinueOnError)
	root := flags.String("root", "..", "the module to mutate")
	memory := flags.String("state", filepath.Join(os.TempDir(), "resilience-mutants"), "where to remember what was killed")
	fresh := flags.Bool("fresh", false, "forget what was killed before")
	least := flags.Float64("least", 0.9, "the share of mutants that must be killed in each package")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	packages := flags.Args()
	if len(packages) == 0 {
		packages = order
	}
	reasons, err := equivalents(equivalentText)
	if err != nil {
		return err
	}
	var failures []error
	for _, pkg := range packages {
		c := campaign{root: *root, pkg: filepath.ToSlash(filepath.Clean(pkg)), memory: *memory, fresh: *fresh, reasons: reasons, out: out}
		r, err := c.run()
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", pkg, err))
			continue
		}
		fmt.Fprintln(out, r)
		if share := r.share(); share < *least {
			failures = append(failures, fmt.Errorf("%s: only %.1f %% of the mutants were killed", pkg, 100*share))
		}
	}
	return errors.Join(failures...)
}

// campaign is the mutation of one package.
type campaign struct {
	root, pkg, memory string
	fresh             bool
	reasons           map[string]string
	out               io.Writer
}

// result is what became of the mutants of one package.
type result struct {
	pkg                                  string
	mutants, killed, equivalent, survive int
}

// share is that of the killed among those that can be killed.
func (r result) share() float64 { return float64(r.killed) / float64(max(1, r.mutants-r.equivalent)) }

func (r result) String() string {
	return fmt.Sprintf("%s: %d mutants, %d killed, %d equivalent, %d survived (%.1f %% of those that can be killed)",
		r.pkg, r.mutants, r.killed, r.equivalent, r.survive, 100*r.share())
}

func (c *campaign) run() (r result, err error) {
	r.pkg = c.pkg
	temporary, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return r, err
	}
	defer func() { _ = os.RemoveAll(temporary) }()
	tree := filepath.Join(temporary, "tree")
	if err := copyTree(c.root, tree); err != nil {
		return r, err
	}
	keys, err := keysOf(tree, c.pkg)
	if err != nil {
		return r, err
	}
	mutants, err := writeMutants(tree, c.pkg)
	if err != nil {
		return r, err
	}
	if len(mutants) == 0 {
		return r, errors.New("there are no mutants")
	}
	tests, err := c.build(tree, temporary)
	if err != nil {
		return r, err
	}
	remembered, err := openState(c.memory, c.pkg, c.fresh)
	if err != nil {
		return r, err
	}
	defer func() { _ = remembered.file.Close() }()
	var fresh []string // keys of the killed that are not remembered yet
	for i, m := range mutants {
		r.mutants++
		killed := remembered.killed[keys[m.number]]
		for _, s := range tests {
			if killed {
				break
			}
			if killed = s.kills(m.number); killed {
				fresh = append(fresh, keys[m.number])
			}
		}
		reason, equivalent := c.reasons[m.identity()]
		switch {
		case killed:
			r.killed++
		case equivalent:
			r.equivalent++
			fmt.Fprintf(c.out, "%s:%d: %s: equivalent: %s: %s\n", m.file, m.line, m.function, m.change, reason)
		default:
			r.survive++
			fmt.Fprintf(c.out, "%s:%d: %s: SURVIVED: %s\n", m.file, m.line, m.function, m.change)
		}
		if i%50 == 49 || i == len(mutants)-1 {
			// When the tests have begun to fail by themselves, nothing was killed.
			for _, s := range tests {
				if err := s.sound(); err != nil {
					return r, fmt.Errorf("after %d mutants: %w", i+1, err)
				}
			}
			if err := remembered.add(fresh...); err != nil {
				return r, err
			}
			fresh = nil
		}
		if i%50 == 49 {
			fmt.Fprintf(c.out, "# %s %s: %d of %d mutants, %d survived\n", time.Now().Format(time.TimeOnly), c.pkg, i+1, len(mutants), r.survive)
		}
	}
	return r, nil
}

// build builds the tests that can kill, and finds out how long they take without a mutation.
func (c *campaign) build(tree, to string) (tests []*suite, err error) {
	packages := suites[c.pkg]
	if packages == nil {
		packages = []string{c.pkg}
	}
	for _, pkg := range packages {
		s, err := build(tree, pkg, to)
		if err != nil {
			return nil, err
		}
		if s == nil {
			continue
		}
		if err := s.settle(5 * time.Minute); err != nil {
			return nil, fmt.Errorf("tests of %s: %w", pkg, err)
		}
		if len(s.skip) > 0 {
			fmt.Fprintf(c.out, "# %s: left out, since they fail when functions are not inlined: %s\n", pkg, strings.Join(s.skip, " "))
		}
		tests = append(tests, s)
	}
	if len(tests) == 0 {
		return nil, errors.New("there are no tests")
	}
	return tests, nil
}

// keysOf returns for each mutant a digest of its function and of what it changes there.
func keysOf(tree, pkg string) (map[int]string, error) {
	sources, _, err := parsePackage(tree, pkg)
	if err != nil {
		return nil, err
	}
	keys := make(map[int]string)
	for _, s := range sources {
		for _, f := range s.functions {
			for _, m := range f.mutants {
				keys[m.number] = fmt.Sprintf("%x", sha256.Sum256([]byte(m.identity()+s.textOf(f.decl)+fmt.Sprint(m.edit.start-s.offset(f.decl.Pos())))))
			}
		}
	}
	return keys, nil
}
