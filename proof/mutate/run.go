package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// suite is the tests of one package as a binary.
type suite struct {
	dir    string
	binary string
	skip   []string // tests that fail although no mutant is active
	phases []phase
}

// phase is a part of the tests of a suite: those that take long come last, since few mutants live until then.
type phase struct {
	only  []string // tests to run; nil for all
	skip  []string // tests to leave out
	limit time.Duration
}

// slow is how long a test takes that comes last.
const slow = 50 * time.Millisecond

// build compiles the tests of a package; nil if it has none.
func build(tree, pkg, to string) (*suite, error) {
	binary := filepath.Join(to, strings.ReplaceAll(pkg, "/", "_")+".test")
	compile := exec.Command("go", "test", "-c", "-vet=off", "-o", binary, "./"+pkg)
	compile.Dir = tree
	compile.Env = append(os.Environ(), "GOWORK=off")
	if out, err := compile.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("tests of %s: %w\n%s", pkg, err, out)
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, nil // no test files
	}
	return &suite{dir: filepath.Join(tree, pkg), binary: binary}, nil
}

var (
	failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	passedTest = regexp.MustCompile(`(?m)^--- PASS: (\S+) \((\S+)\)`)
)

// settle runs the tests without a mutant, leaves out those that fail (a copy of a function is not inlined, so budgets
// of allocations may not hold), and divides the rest into phases.
func (s *suite) settle(limit time.Duration) error {
	for range 5 {
		out, err := s.run(0, phase{skip: s.skip, limit: limit}, "-test.v")
		if err == nil {
			if err := s.notEmpty(); err != nil {
				return err
			}
			return s.divide(out, limit)
		}
		failed := failedTest.FindAllStringSubmatch(out, -1)
		if len(failed) == 0 {
			return fmt.Errorf("the tests fail without a mutation: %w\n%s", err, out)
		}
		for _, match := range failed {
			if top, _, _ := strings.Cut(match[1], "/"); !slices.Contains(s.skip, top) {
				s.skip = append(s.skip, top)
			}
		}
	}
	return errors.New("the tests fail without a mutation, each time others")
}

// divide divides the tests into phases, by what a run without a mutant has printed, and finds out how long each takes.
func (s *suite) divide(out string, limit time.Duration) error {
	quick := phase{skip: slices.Clone(s.skip), limit: limit}
	last := phase{limit: limit}
	for _, match := range passedTest.FindAllStringSubmatch(out, -1) {
		if took, err := time.ParseDuration(match[2]); err == nil && took >= slow {
			quick.skip, last.only = append(quick.skip, match[1]), append(last.only, match[1])
		}
	}
	s.phases = []phase{quick}
	if last.only != nil {
		s.phases = append(s.phases, last)
	}
	for i := range s.phases {
		start := time.Now()
		if out, err := s.run(0, s.phases[i]); err != nil {
			return fmt.Errorf("the tests fail without a mutation, when they are divided: %w\n%s", err, out)
		}
		s.phases[i].limit = 5*time.Since(start) + 10*time.Second
	}
	return nil
}

// notEmpty returns an error if no test is left.
func (s *suite) notEmpty() error {
	list := exec.Command(s.binary, "-test.list=.")
	list.Dir = s.dir
	out, err := list.Output()
	if err != nil {
		return err
	}
	names := strings.Fields(string(out))
	switch {
	case len(names) == 0:
		return errors.New("there are no tests")
	case len(names) <= len(s.skip):
		return errors.New("all tests fail without a mutation")
	}
	return nil
}

// run runs a phase of the tests with a mutant, 0 for none. The error is not nil if they fail or do not end in time.
func (s *suite) run(number int, p phase, options ...string) (out string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), p.limit)
	defer cancel()
	// A mutant may ask for all the memory there is.
	command := append([]string{"-c", "ulimit -v 16000000; exec \"$@\"", "sh", s.binary, "-test.short"}, options...)
	if p.only != nil {
		command = append(command, "-test.run="+named(p.only))
	}
	if len(p.skip) > 0 {
		command = append(command, "-test.skip="+named(p.skip))
	}
	tests := exec.CommandContext(ctx, "sh", command...)
	tests.Dir = s.dir
	tests.Env = append(os.Environ(), fmt.Sprintf("%s=%d", activeVariable, number))
	tests.WaitDelay = time.Second
	text, err := tests.CombinedOutput()
	return string(text), err
}

// named matches tests with these names.
func named(tests []string) string { return "^(" + strings.Join(tests, "|") + ")$" }

// kills reports whether the tests notice a mutant.
func (s *suite) kills(number int) bool {
	for _, p := range s.phases {
		if _, err := s.run(number, p, "-test.failfast"); err != nil {
			return true
		}
	}
	return false
}

// sound returns an error if the tests fail without a mutant, and not just once.
func (s *suite) sound() error {
	for _, p := range s.phases {
		out, err := s.run(0, p)
		for i := 0; i < 2 && err != nil; i++ {
			out, err = s.run(0, p)
		}
		if err != nil {
			return fmt.Errorf("the tests of %s fail without a mutation: %w\n%s", s.dir, err, out)
		}
	}
	return nil
}
