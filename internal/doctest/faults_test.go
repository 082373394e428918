package doctest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFaultsHaveTests: every row of docs/faults.md names tests that exist, and every test that names a fault is about a
// row that exists.
func TestFaultsHaveTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "faults.md"))
	require.NoError(t, err)
	faults, err := parseFaults(string(text))
	require.NoError(t, err)
	require.Greater(t, len(faults), 150, "most rows were not found")
	tests := testFunctions(t)
	require.Greater(t, len(tests), 500, "most tests were not found")
	require.Empty(t, strings.Join(faultProblems(faults, tests), "\n"))
}

func TestFaultProblems(t *testing.T) {
	tests := map[string]bool{"breaker.TestFault001_A": true, "resilience.TestB": true}
	page := func(rows ...string) string {
		return "| Id | Severity | What goes wrong | What the library does | Shown by | Peers |\n|---|---|---|---|---|---|\n" + strings.Join(rows, "\n") + "\n"
	}
	good := "| 1 | S1 | w | d | `breaker.TestFault001_A`<br>`resilience.TestB` | p |"
	for name, c := range map[string]struct {
		rows []string
		want []string
	}{
		"good":                     {[]string{good}, nil},
		"a test that is gone":      {[]string{"| 1 | S1 | w | d | `breaker.TestGone` | p |"}, []string{"row 1: there is no breaker.TestGone"}},
		"in another package":       {[]string{"| 1 | S1 | w | d | `retry.TestFault001_A` | p |"}, []string{"row 1: there is no retry.TestFault001_A"}},
		"an S1 without a test":     {[]string{good, "| 2 | S1 | w | d |  | p |"}, []string{"row 2: no test shows it"}},
		"an S3 without a test":     {[]string{good, "| 2 | S3 | w | d |  | p |"}, []string{"row 2: no test shows it"}},
		"a number twice":           {[]string{good, good}, []string{"row 1: comes after row 1"}},
		"an unknown severity":      {[]string{strings.Replace(good, "S1", "S4", 1)}, []string{`row 1: severity "S4"`}},
		"nothing said":             {[]string{strings.Replace(good, " w ", " ", 1)}, []string{"row 1: an empty cell"}},
		"a test without its row":   {[]string{strings.Replace(good, "| 1 |", "| 2 |", 1)}, []string{"breaker.TestFault001_A: there is no row 1"}},
		"text instead of the test": {[]string{"| 1 | S2 | w | d | by looking | p |"}, []string{"row 1: no test shows it"}},
	} {
		t.Run(name, func(t *testing.T) {
			faults, err := parseFaults(page(c.rows...))
			require.NoError(t, err)
			require.Equal(t, c.want, faultProblems(faults, tests))
		})
	}
	_, err := parseFaults(page("| 1 | S1 | too few cells |"))
	require.ErrorContains(t, err, "6 cells")
}

// fault is a row of the table.
type fault struct {
	number   int
	severity string
	says     []string // what goes wrong, what the library does
	tests    []string
}

var quoted = regexp.MustCompile("`([^`]+)`")

// parseFaults returns the rows that begin with a number.
func parseFaults(text string) (faults []fault, err error) {
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		number, notNumber := strconv.Atoi(strings.TrimSpace(cells[0]))
		if !strings.HasPrefix(line, "|") || notNumber != nil {
			continue
		}
		if len(cells) != 6 {
			return nil, fmt.Errorf("row %d: %d cells, want 6 cells", number, len(cells))
		}
		f := fault{number: number, severity: strings.TrimSpace(cells[1]), says: []string{strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3])}}
		for _, match := range quoted.FindAllStringSubmatch(cells[4], -1) {
			f.tests = append(f.tests, match[1])
		}
		faults = append(faults, f)
	}
	return faults, nil
}

var (
	severities = map[string]bool{"S1": true, "S2": true, "S3": true}
	numbered   = regexp.MustCompile(`\.TestFault((?:\d{3}_)+)`)
)

// faultProblems returns what is wrong with the table; tests is every test function, as "package.Name".
func faultProblems(faults []fault, tests map[string]bool) (problems []string) {
	report := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	rows, last := make(map[int]bool), 0
	for _, f := range faults {
		if f.number <= last {
			report("row %d: comes after row %d", f.number, last)
		}
		last, rows[f.number] = f.number, true
		if !severities[f.severity] {
			report("row %d: severity %q", f.number, f.severity)
		}
		if f.says[0] == "" || f.says[1] == "" {
			report("row %d: an empty cell", f.number)
		}
		if len(f.tests) == 0 {
			report("row %d: no test shows it", f.number)
		}
		for _, test := range f.tests {
			if !tests[test] {
				report("row %d: there is no %s", f.number, test)
			}
		}
	}
	for test := range tests {
		match := numbered.FindStringSubmatch(test)
		if match == nil {
			continue
		}
		for id := range strings.SplitSeq(strings.Trim(match[1], "_"), "_") {
			if number, _ := strconv.Atoi(id); !rows[number] {
				report("%s: there is no row %d", test, number)
			}
		}
	}
	return problems
}

// testFunctions returns every test of this repository, nested modules included, as "folder.TestName"; the folder of
// the root is "resilience".
func testFunctions(t *testing.T) map[string]bool {
	found := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "testdata"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		folder = filepath.ToSlash(folder)
		if folder == "." {
			folder = "resilience"
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") && len(f.Type.Params.List) == 1 {
				found[folder+"."+f.Name.Name] = true
			}
		}
		return nil
	})
	require.NoError(t, err)
	return found
}
