package doctest

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/testsize"
)

// TestCommandsInDocuments: what a document tells its reader to type can be typed: packages, flags, tests, files and folders
// exist. A whole run also runs the programs that end by themselves.
func TestCommandsInDocuments(t *testing.T) {
	tests := testFunctions(t)
	found := commands(t)
	require.Greater(t, len(found), 15, "most commands were not found")
	ran := make(map[string]bool)
	for _, c := range found {
		for _, problem := range c.problems(root, tests) {
			assert.Fail(t, problem, "%s: %s", c.where, c)
		}
		if testsize.Whole() && c.runs() && !ran[c.String()] {
			ran[c.String()] = true
			t.Run(c.String(), func(t *testing.T) {
				command := exec.CommandContext(t.Context(), c.words[0], c.words[1:]...)
				command.Dir = filepath.Join(root, c.dir)
				out, err := command.CombinedOutput()
				require.NoError(t, err, "%s", out)
			})
		}
	}
}

func TestCommandProblems(t *testing.T) {
	tests := map[string]bool{"breaker.TestFault001_A": true}
	for line, want := range map[string]string{
		"go run ./examples/quickstart":                                    "",
		"go run ./examples/quickstart -page":                              "",
		"go run ./examples/quickstart -pages":                             "flag -pages",
		"go run ./examples/slowstart":                                     "no folder examples/slowstart",
		"go run ./policy":                                                 "policy is no program",
		"go run github.com/go-resilience/resilience/lab@latest":           "",
		"go get github.com/go-resilience/resilience/adapters/policyprom":  "",
		"go get github.com/go-resilience/resilience/adapters/policyproom": "no folder",
		"go test -race -run 'TestFault001' ./breaker":                     "",
		"go test -run TestGone ./breaker":                                 "no test matches TestGone",
		"go test ./broken":                                                "no folder broken",
		"cd examples/database && go run .":                                "",
		"cd examples/databases && go run .":                               "no folder examples/databases",
		"FUZZTIME=1m .ci/run":                                             "",
		".ci/walk":                                                        "no file .ci/walk",
		"diff -u README.md GONE.md":                                       "no file GONE.md",
		"sudo reboot":                                                     "sudo is not among",
	} {
		problems := strings.Join(parseCommand("x", line).problems(root, tests), "; ")
		if want == "" {
			require.Empty(t, problems, line)
		} else {
			require.Contains(t, problems, want, line)
		}
	}
}

// command is a line that a reader types.
type command struct {
	where, dir string
	words      []string
	needs      bool // an environment variable, and so something that may not be there
}

func (c command) String() string { return strings.Join(c.words, " ") }

const module = "github.com/go-resilience/resilience"

// flagsOfGo are flags that the go command takes itself, and those of them that take a value.
var flagsOfGo = map[string]bool{
	"race": false, "v": false, "short": false, "shuffle": true, "count": true, "run": true, "bench": true, "fuzz": true,
	"fuzztime": true, "benchtime": true, "benchmem": false, "cpu": true, "timeout": true, "tags": true, "vettool": true,
	"skip": true, "o": true, "coverprofile": true, "failfast": false, "json": false,
}

// others are programs that are not part of this repository, and whose arguments are not checked.
var others = []string{"curl", "docker", "redis-server", "promtool", "wrk", "psql", "benchstat"}

// problems returns what is wrong with a command that is typed in dir.
func (c command) problems(root string, tests map[string]bool) (problems []string) {
	report := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	at := func(name string) string { return filepath.Join(root, c.dir, filepath.FromSlash(name)) }
	if _, err := os.Stat(at(".")); err != nil {
		report("no folder %s", c.dir)
		return problems
	}
	name, arguments := c.words[0], c.words[1:]
	switch {
	case strings.HasPrefix(name, ".ci/"):
		if _, err := os.Stat(at(name)); err != nil {
			report("no file %s", name)
		}
	case name == "diff":
		for _, file := range arguments {
			if _, err := os.Stat(at(file)); err != nil && !strings.HasPrefix(file, "-") {
				report("no file %s", file)
			}
		}
	case name == "go" && len(arguments) > 0:
		c.checkGo(arguments[0], arguments[1:], at, tests, report)
	default:
		for _, other := range others {
			if name == other {
				return problems
			}
		}
		report("%s is not among the programs that documents use", name)
	}
	return problems
}

// checkGo checks the arguments of a go command.
func (c command) checkGo(verb string, arguments []string, at func(string) string, tests map[string]bool, report func(string, ...any)) {
	dir := ""
	for i := 0; i < len(arguments); i++ {
		word := arguments[i]
		flag, value, inline := strings.Cut(strings.TrimLeft(word, "-"), "=")
		takesValue, ofGo := flagsOfGo[flag]
		switch {
		case dir != "" && verb == "run": // the program's
			if strings.HasPrefix(word, "-") && !defines(dir, flag) {
				report("flag -%s is not defined in %s", flag, dir)
			}
			continue
		case strings.HasPrefix(word, "-") && !ofGo:
			continue // one that only some programs have
		case strings.HasPrefix(word, "-"):
			if takesValue && !inline && i+1 < len(arguments) {
				i++
				value = arguments[i]
			}
			if flag == "run" || flag == "bench" || flag == "fuzz" {
				checkPattern(flag, strings.Trim(value, `'"`), tests, report)
			}
			continue
		case word == "work" || word == "all" || strings.Contains(word, "…"):
			continue
		}
		target, _, _ := strings.Cut(word, "@")
		switch {
		case strings.HasPrefix(target, module):
			dir = filepath.Join(root, filepath.FromSlash(strings.TrimPrefix(target, module)))
		case strings.HasPrefix(target, "."):
			dir = at(strings.TrimSuffix(strings.TrimSuffix(target, "..."), "/"))
		default:
			continue // of another module
		}
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			report("no folder %s", strings.TrimPrefix(path.Clean(strings.TrimPrefix(target, module)), "/"))
			return
		}
		if verb == "run" && !isProgram(dir) {
			report("%s is no program", strings.TrimPrefix(target, "./"))
		}
	}
}

// checkPattern reports a pattern of tests or fuzz targets that matches none. Benchmarks are not listed.
func checkPattern(flag, pattern string, tests map[string]bool, report func(string, ...any)) {
	pattern, _, _ = strings.Cut(pattern, "/")
	if flag == "bench" || pattern == "^$" || pattern == "XXX" || pattern == "-" || pattern == "Example" {
		return
	}
	expression, err := regexp.Compile(pattern)
	if err != nil {
		report("-%s %s: %v", flag, pattern, err)
		return
	}
	for test := range tests {
		if _, name, _ := strings.Cut(test, "."); expression.MatchString(name) {
			return
		}
	}
	report("no test matches %s", pattern)
}

// defines reports whether a program has a flag: in its own files, or in those of a package "command" that is internal to it.
func defines(dir, flag string) bool {
	definition := regexp.MustCompile(`\.\w+\(.*"` + regexp.QuoteMeta(flag) + `",`)
	folders := []string{dir}
	for _, pattern := range []string{"internal/command", "internal/*/command"} {
		found, _ := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
		folders = append(folders, found...)
	}
	return flag == "help" || slices.ContainsFunc(folders, func(folder string) bool { return anyGoFile(folder, definition.MatchString) })
}

func isProgram(dir string) bool {
	return anyGoFile(dir, regexp.MustCompile(`(?m)^package main$`).MatchString)
}

func anyGoFile(dir string, matches func(string) bool) bool {
	files, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && matches(string(text)) {
			return true
		}
	}
	return false
}

// runs reports whether a whole run runs a command: an example that ends by itself and needs nothing that may not be there.
func (c command) runs() bool {
	if len(c.words) < 3 || c.needs || c.words[0] != "go" || c.words[1] != "run" || !strings.HasPrefix(c.words[2], "./examples/") {
		return false
	}
	for _, word := range c.words[3:] {
		if word == "-page" || word == "-serve" || strings.Contains(word, ".json") {
			return false
		}
	}
	return !strings.HasPrefix(c.words[2], "./examples/observe")
}

var (
	shell  = regexp.MustCompile("(?ms)^```sh\n(.*?)^```")
	inline = regexp.MustCompile("`((?:go (?:run|test|get|install)[^`]*)|\\.ci/[a-z]+[^`:]*)`")
	fenced = regexp.MustCompile("(?s)```.*?```")
	assign = regexp.MustCompile(`^[A-Z_]+=\S*$`)
)

// commands returns what all documents tell their readers to type: in blocks, and within sentences.
func commands(t *testing.T) (found []command) {
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		where := filepath.Base(file)
		for _, block := range shell.FindAllStringSubmatch(string(text), -1) {
			for line := range strings.Lines(strings.ReplaceAll(block[1], "\\\n", " ")) {
				line, _, _ = strings.Cut(line, " #")
				if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
					found = append(found, parseCommand(where, line))
				}
			}
		}
		for _, span := range inline.FindAllStringSubmatch(fenced.ReplaceAllString(string(text), ""), -1) {
			if words := strings.Fields(span[1]); len(words) > 2 || strings.HasPrefix(span[1], ".ci/") {
				found = append(found, parseCommand(where, strings.Join(words, " ")))
			}
		}
	}
	return found
}

func parseCommand(where, line string) command {
	c := command{where: where, dir: "."}
	if rest, ok := strings.CutPrefix(line, "cd "); ok {
		dir, after, _ := strings.Cut(rest, " && ")
		c.dir, line = dir, after
	}
	for _, word := range strings.Fields(line) {
		if len(c.words) == 0 && assign.MatchString(word) {
			c.needs = true
			continue
		}
		c.words = append(c.words, word)
	}
	return c
}
