package doctest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFaultsHaveTests: every row of docs/faults.md names tests that exist and check something, or a step of .ci/run, every
// row of severity S1 a test that is named for it, and every test that is named for a fault is about a row that exists.
func TestFaultsHaveTests(t *testing.T) {
	faults, err := parseFaults(read(t, "docs/faults.md"))
	require.NoError(t, err)
	require.Greater(t, len(faults), 150, "most rows were not found")
	tests := testFunctions(t)
	require.Greater(t, len(tests), 500, "most tests were not found")
	require.Empty(t, strings.Join(faultProblems(faults, tests), "\n"))
}

func TestFaultProblems(t *testing.T) {
	tests := map[string]bool{"breaker.TestFault001_A": true, "resilience.TestB": true, ".ci/run: lint": true}
	page := func(rows ...string) string {
		return "| Id | Severity | What goes wrong | What the library does | Shown by | Peers |\n|---|---|---|---|---|---|\n" + strings.Join(rows, "\n") + "\n"
	}
	good := "| 1 | S1 | w | d | `breaker.TestFault001_A`<br>`resilience.TestB` | p |"
	tests["breaker.TestSkipped"] = false
	for name, c := range map[string]struct {
		rows []string
		want []string
	}{
		"good":                     {[]string{good}, nil},
		"a test that is gone":      {[]string{"| 1 | S1 | w | d | `breaker.TestGone` | p |"}, []string{"row 1: there is no breaker.TestGone", "row 1: no test is named for it"}},
		"in another package":       {[]string{"| 1 | S1 | w | d | `retry.TestFault001_A` | p |"}, []string{"row 1: there is no retry.TestFault001_A", "row 1: no test is named for it"}},
		"an S1 without a test":     {[]string{good, "| 2 | S1 | w | d |  | p |"}, []string{"row 2: no test shows it", "row 2: no test is named for it"}},
		"an S1 named by no test":   {[]string{good, "| 2 | S1 | w | d | `resilience.TestB` | p |"}, []string{"row 2: no test is named for it"}},
		"an S2 named by no test":   {[]string{good, "| 2 | S2 | w | d | `resilience.TestB` | p |"}, nil},
		"a test that is skipped":   {[]string{good, "| 2 | S2 | w | d | `breaker.TestSkipped` | p |"}, []string{"row 2: breaker.TestSkipped checks nothing"}},
		"an S3 without a test":     {[]string{good, "| 2 | S3 | w | d |  | p |"}, []string{"row 2: no test shows it"}},
		"a number twice":           {[]string{good, good}, []string{"row 1: comes after row 1"}},
		"an unknown severity":      {[]string{strings.Replace(good, "S1", "S4", 1)}, []string{`row 1: severity "S4"`}},
		"nothing said":             {[]string{strings.Replace(good, " w ", " ", 1)}, []string{"row 1: an empty cell"}},
		"a step of .ci/run":        {[]string{good, "| 2 | S2 | w | d | `.ci/run: lint` | p |"}, nil},
		"a step that is gone":      {[]string{good, "| 2 | S2 | w | d | `.ci/run: polish` | p |"}, []string{"row 2: there is no .ci/run: polish"}},
		"a test without its row":   {[]string{strings.Replace(good, "| 1 | S1", "| 2 | S2", 1)}, []string{"breaker.TestFault001_A: there is no row 1"}},
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

func TestChecks(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "x_test.go", `package x
func TestEmpty(t *testing.T) {}
func TestSkipped(t *testing.T) { t.Skip("later"); t.Fatal() }
func TestLong(t *testing.T) { if testing.Short() { t.Skip() }; t.Fatal() }`, parser.SkipObjectResolution)
	require.NoError(t, err)
	for i, want := range []bool{false, false, true} {
		require.Equal(t, want, checks(file.Decls[i].(*ast.FuncDecl)))
	}
}

// checks reports whether a test does anything, and is not always skipped.
func checks(test *ast.FuncDecl) bool {
	for _, statement := range test.Body.List {
		expression, ok := statement.(*ast.ExprStmt)
		if !ok {
			continue
		}
		call, ok := expression.X.(*ast.CallExpr)
		if !ok {
			continue
		}
		if method, ok := call.Fun.(*ast.SelectorExpr); ok && strings.HasPrefix(method.Sel.Name, "Skip") {
			return false
		}
	}
	return len(test.Body.List) > 0
}

// fault is a row of the table.
type fault struct {
	number   int
	severity string
	says     []string // what goes wrong, what the library does
	tests    []string
}

var testName = regexp.MustCompile(`^(Test|Fuzz)`)

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
	numbered   = regexp.MustCompile(`\.(?:Test|Fuzz)Fault((?:\d{3}_)+)`)
)

// numbersOf returns the faults that a test is named for.
func numbersOf(test string) (numbers []int) {
	if match := numbered.FindStringSubmatch(test); match != nil {
		for id := range strings.SplitSeq(strings.Trim(match[1], "_"), "_") {
			number, _ := strconv.Atoi(id)
			numbers = append(numbers, number)
		}
	}
	return numbers
}

// faultProblems returns what is wrong with the table; tests is every test function, as "package.Name", and whether it
// checks anything.
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
		named := false
		for _, test := range f.tests {
			switch checks, exists := tests[test]; {
			case !exists:
				report("row %d: there is no %s", f.number, test)
			case !checks:
				report("row %d: %s checks nothing", f.number, test)
			default:
				named = named || slices.Contains(numbersOf(test), f.number)
			}
		}
		if f.severity == "S1" && !named {
			report("row %d: no test is named for it", f.number)
		}
	}
	for test := range tests {
		for _, number := range numbersOf(test) {
			if !rows[number] {
				report("%s: there is no row %d", test, number)
			}
		}
	}
	return problems
}

// testFunctions returns every test and fuzz target of this repository, nested modules included, as "folder.TestName", and
// whether it checks anything; the folder of the root is "resilience". A step of .ci/run is ".ci/run: name".
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
			f, ok := decl.(*ast.FuncDecl)
			if ok && f.Recv == nil && testName.MatchString(f.Name.Name) && len(f.Type.Params.List) == 1 {
				found[folder+"."+f.Name.Name] = checks(f)
			}
		}
		return nil
	})
	require.NoError(t, err)
	for _, match := range step.FindAllStringSubmatch(read(t, ".ci/run"), -1) {
		found[".ci/run: "+match[1]] = true
	}
	return found
}

var step = regexp.MustCompile(`(?m)^step "([^"$]+)"$`)
