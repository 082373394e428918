// Command lab runs the library's policies in virtual time, under simulated load, and compares what it measures with
// closed forms and published numbers.
//
//	go run ./lab                  every scenario: a table, plots, and a report in lab-report/report.html
//	go run ./lab -list            what there is
//	go run ./lab -run L9          one scenario, or several: -run L2,storm
//	go run ./lab -seed 7          other arrivals and other luck, the same verdicts
//	go run ./lab -full            the seeds and horizons of the published experiments; takes minutes
//	go run ./lab -out DIR         where the report goes
//	go run ./lab -svg DIR         also every picture as an SVG file, and a page for each lesson
//
// The exit code is 0 when everything was as expected, 1 when something was not, and 2 for a usage error.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/go-resilience/resilience/lab/internal/report"
	"github.com/go-resilience/resilience/lab/internal/scenario"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// The exit codes.
const (
	exitUnexpected = 1
	exitUsage      = 2
)

const defaultOut = "lab-report"

type command struct {
	list, full bool
	names      string
	seed       uint64
	out, svg   string
}

func run(args []string, stdout, stderr io.Writer) int {
	var c command
	flags := flag.NewFlagSet("lab", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&c.list, "list", false, "list the scenarios and stop")
	flags.StringVar(&c.names, "run", "", "run only these scenarios: names or pages, separated by commas")
	flags.Uint64Var(&c.seed, "seed", 1, "seed of all random numbers, from 0 to 4294967295")
	flags.BoolVar(&c.full, "full", false, "use the seeds and horizons of the published experiments; takes minutes")
	flags.StringVar(&c.out, "out", defaultOut, "directory for the report")
	flags.StringVar(&c.svg, "svg", "", "directory for the pictures and pages; none if empty")
	if err := flags.Parse(args); err != nil {
		if err == flag.ErrHelp {
			return 0
		}
		return exitUsage
	}
	scenarios, err := c.check(flags.Args())
	if err != nil {
		fmt.Fprintln(stderr, "lab:", err)
		return exitUsage
	}
	if c.list {
		for _, s := range scenarios {
			fmt.Fprintf(stdout, "%-4s %-22s %s\n", s.Name, s.Page, s.Question)
		}
		return 0
	}
	if err := c.play(scenarios, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "lab:", err)
		return exitUnexpected
	}
	return 0
}

// check returns the scenarios to run.
func (c *command) check(rest []string) ([]*scenario.Scenario, error) {
	if len(rest) > 0 {
		return nil, fmt.Errorf("unexpected argument %q; see -help", rest[0])
	}
	if c.seed > 1<<32-1 {
		return nil, fmt.Errorf("-seed %d: must be from 0 to 4294967295", c.seed)
	}
	if c.out == "" {
		return nil, fmt.Errorf("-out is empty: must name a directory")
	}
	all := scenario.All()
	if c.names == "" {
		return all, nil
	}
	var chosen []*scenario.Scenario
	for _, name := range strings.Split(c.names, ",") {
		name = strings.TrimSpace(name)
		i := slices.IndexFunc(all, func(s *scenario.Scenario) bool { return strings.EqualFold(s.Name, name) || s.Page == name })
		if i < 0 {
			var names []string
			for _, s := range all {
				names = append(names, s.Name+" ("+s.Page+")")
			}
			return nil, fmt.Errorf("-run %q: no such scenario; there are %s", name, strings.Join(names, ", "))
		}
		if !slices.Contains(chosen, all[i]) {
			chosen = append(chosen, all[i])
		}
	}
	return chosen, nil
}

func (c *command) play(scenarios []*scenario.Scenario, stdout, stderr io.Writer) error {
	debug.SetGCPercent(400) // worlds make garbage and are short
	if err := os.MkdirAll(c.out, 0o755); err != nil {
		return err
	}
	if c.out == defaultOut { // keep it out of the repository that the lab is run from
		if err := os.WriteFile(filepath.Join(c.out, ".gitignore"), []byte("*\n"), 0o644); err != nil {
			return err
		}
	}
	size := scenario.Usual
	if c.full {
		size = scenario.Full
	}
	began := time.Now()
	var results []*scenario.Result
	for i, s := range scenarios {
		progress := newProgress(stderr, fmt.Sprintf("[%d/%d] %s %s", i+1, len(scenarios), s.Name, s.Page))
		result := scenario.Play(s, scenario.Options{Seed: c.seed, Size: size, Progress: progress.at})
		progress.done(result.Passed())
		for _, figure := range result.Figures {
			fmt.Fprintf(stdout, "\n%s\n", figure.Text())
		}
		results = append(results, result)
	}
	fmt.Fprintf(stdout, "\n%s\n%s", report.Table(results), report.Summary(results))
	fmt.Fprintf(stdout, "seed %d, %.1f s\n", c.seed, time.Since(began).Seconds())
	if err := c.write(results, stdout); err != nil {
		return err
	}
	for _, r := range results {
		if r.Err != nil {
			return fmt.Errorf("the simulation went wrong: %w", r.Err)
		}
	}
	if slices.ContainsFunc(results, func(r *scenario.Result) bool { return !r.Passed() }) {
		return fmt.Errorf("something was not as expected: see FAIL in the table")
	}
	return nil
}

func (c *command) write(results []*scenario.Result, stdout io.Writer) error {
	file := filepath.Join(c.out, "report.html")
	if err := os.WriteFile(file, []byte(report.HTML(results)), 0o644); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "report:", file)
	if c.svg == "" {
		return nil
	}
	if err := os.MkdirAll(c.svg, 0o755); err != nil {
		return err
	}
	for name, content := range report.Pages(results) {
		if err := os.WriteFile(filepath.Join(c.svg, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintln(stdout, "pictures and pages:", c.svg)
	return nil
}
