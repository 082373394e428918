package main

import (
	"bufio"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// state is the memory of earlier runs: the mutants that were killed, one key a line. A mutant stays killed as long as
// its function stays the same, since tests are added and not taken away; -fresh forgets.
type state struct {
	killed map[string]bool
	file   *os.File
}

func openState(dir, pkg string, fresh bool) (*state, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	flags := os.O_CREATE | os.O_RDWR | os.O_APPEND
	if fresh {
		flags |= os.O_TRUNC
	}
	file, err := os.OpenFile(filepath.Join(dir, strings.ReplaceAll(pkg, "/", "_")+".killed"), flags, 0o644)
	if err != nil {
		return nil, err
	}
	s := &state{killed: make(map[string]bool), file: file}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		s.killed[lines.Text()] = true
	}
	return s, lines.Err()
}

func (s *state) add(keys ...string) error {
	for _, key := range keys {
		s.killed[key] = true
		if _, err := fmt.Fprintln(s.file, key); err != nil {
			return err
		}
	}
	return nil
}

//go:embed equivalent.txt
var equivalentText string

// equivalents returns the reasons why mutants cannot be told from the original, by what identifies them.
func equivalents(text string) (map[string]string, error) {
	reasons := make(map[string]string)
	for number, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.Split(line, " | ")
		if len(parts) != 4 {
			return nil, fmt.Errorf("equivalent.txt:%d: want: file | function | change | reason", number+1)
		}
		reasons[strings.Join(parts[:3], " | ")] = parts[3]
	}
	return reasons, nil
}

// identity is how a mutant is named in equivalent.txt.
func (m *mutant) identity() string {
	return strings.Join([]string{m.file, m.function, m.change}, " | ")
}
