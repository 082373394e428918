package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// copyTree copies what the tests of a module need: its Go files, go.mod, go.sum and the data of tests, without nested
// modules.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			_, err := os.Stat(filepath.Join(path, "go.mod"))
			if nested := err == nil && relative != "."; nested || strings.HasPrefix(entry.Name(), ".") && relative != "." {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, relative), 0o755)
		}
		inData := strings.Contains("/"+filepath.ToSlash(relative), "/testdata/")
		if extension := filepath.Ext(path); !inData && extension != ".go" && extension != ".mod" && extension != ".sum" && extension != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, relative), text, 0o644)
	})
}

// parsePackage reads the files of a package that are not tests.
func parsePackage(tree, pkg string) (sources []*source, packageName string, err error) {
	paths, err := filepath.Glob(filepath.Join(tree, pkg, "*.go"))
	if err != nil {
		return nil, "", err
	}
	number := 0
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") || filepath.Base(path) == "doc.go" {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, "", err
		}
		s, err := parse(filepath.ToSlash(filepath.Join(pkg, filepath.Base(path))), string(text))
		if err != nil {
			return nil, "", err
		}
		if match := regexp.MustCompile(`(?m)^package (\w+)`).FindStringSubmatch(string(text)); match != nil {
			packageName = match[1]
		}
		for _, f := range s.functions {
			for _, m := range f.mutants {
				number++
				m.number = number
			}
		}
		sources = append(sources, s)
	}
	if len(sources) == 0 {
		return nil, "", fmt.Errorf("%s: no Go files", pkg)
	}
	return sources, packageName, nil
}

// compileAttempts bounds how often mutants that do not compile are dropped.
const compileAttempts = 20

// writeMutants puts all mutants of a package that compile into the tree, and returns those.
func writeMutants(tree, pkg string) ([]*mutant, error) {
	sources, packageName, err := parsePackage(tree, pkg)
	if err != nil {
		return nil, err
	}
	active := filepath.Join(tree, pkg, "mutant_active.go")
	if err := os.WriteFile(active, fmt.Appendf(nil, activeFile, packageName, activeVariable), 0o644); err != nil {
		return nil, err
	}
	dropped := make(map[*mutant]bool)
	for range compileAttempts {
		owners := make(map[string]map[int]*mutant)
		for _, s := range sources {
			text, owner := s.instrument(dropped)
			owners[s.path] = owner
			if err := os.WriteFile(filepath.Join(tree, s.path), []byte(text), 0o644); err != nil {
				return nil, err
			}
		}
		build := exec.Command("go", "build", "-gcflags=-e", "./"+pkg)
		build.Dir = tree
		build.Env = append(os.Environ(), "GOWORK=off")
		out, err := build.CombinedOutput()
		if err == nil {
			return valid(sources, dropped), nil
		}
		if !drop(string(out), owners, dropped) {
			return nil, fmt.Errorf("%s does not compile: %s", pkg, out)
		}
	}
	return nil, errors.New("mutants do not compile, whatever is dropped")
}

var compileError = regexp.MustCompile(`(?m)^(?:\./)?(\S+\.go):(\d+):`)

// drop drops the mutants that a compiler complains about, and reports whether there were any.
func drop(out string, owners map[string]map[int]*mutant, dropped map[*mutant]bool) (any bool) {
	for _, match := range compileError.FindAllStringSubmatch(out, -1) {
		line, _ := strconv.Atoi(match[2])
		if m := owners[filepath.ToSlash(match[1])][line]; m != nil && !dropped[m] {
			dropped[m], any = true, true
		}
	}
	return any
}

func valid(sources []*source, dropped map[*mutant]bool) (mutants []*mutant) {
	for _, s := range sources {
		for _, f := range s.functions {
			for _, m := range f.mutants {
				if !dropped[m] {
					mutants = append(mutants, m)
				}
			}
		}
	}
	return mutants
}
