package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// suite is the tests of one package as a binary.
type suite struct {
	dir    string
	binary string
	skip   []string // tests that fail although no mutant is active
	took   time.Duration
}

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

var failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// settle runs the tests without a mutant, leaves out those that fail (a copy of a function is not inlined, so budgets
// of allocations may not hold), and notes how long the rest takes.
func (s *suite) settle(limit time.Duration) error {
	for range 5 {
		start := time.Now()
		out, err := s.run(0, limit, false)
		if err == nil {
			s.took = time.Since(start)
			return s.notEmpty()
		}
		failed := failedTest.FindAllStringSubmatch(out, -1)
		if len(failed) == 0 {
			return fmt.Errorf("the tests fail without a mutation: %w\n%s", err, out)
		}
		for _, match := range failed {
			if top, _, _ := strings.Cut(match[1], "/"); !contains(s.skip, top) {
				s.skip = append(s.skip, top)
			}
		}
	}
	return errors.New("the tests fail without a mutation, each time others")
}

// notEmpty returns an error if no test is left.
func (s *suite) notEmpty() error {
	out, err := exec.Command(s.binary, "-test.list=.").Output()
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

func contains(list []string, s string) bool {
	for _, one := range list {
		if one == s {
			return true
		}
	}
	return false
}

// run runs the tests with a mutant, 0 for none. The error is not nil if they fail or do not end within limit.
func (s *suite) run(number int, limit time.Duration, failFast bool) (out string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	// A mutant may ask for all the memory there is.
	command := []string{"-c", "ulimit -v 16000000; exec \"$@\"", "sh", s.binary, "-test.short"}
	if failFast {
		command = append(command, "-test.failfast")
	}
	if len(s.skip) > 0 {
		command = append(command, "-test.skip=^("+strings.Join(s.skip, "|")+")$")
	}
	tests := exec.CommandContext(ctx, "sh", command...)
	tests.Dir = s.dir
	tests.Env = append(os.Environ(), fmt.Sprintf("%s=%d", activeVariable, number))
	tests.WaitDelay = time.Second
	text, err := tests.CombinedOutput()
	return string(text), err
}

// kills reports whether the tests notice a mutant.
func (s *suite) kills(number int) bool {
	_, err := s.run(number, 5*s.took+10*time.Second, true)
	return err != nil
}
