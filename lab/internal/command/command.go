// Package command is the command line of the lab, for whatever scenarios.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-resilience/resilience/lab/internal/atomicfile"
	"github.com/go-resilience/resilience/lab/internal/report"
	"github.com/go-resilience/resilience/lab/internal/scenario"
)

// The exit codes.
const (
	exitUnexpected  = 1
	exitUsage       = 2
	exitInterrupted = 130 // as shells have it
)

var errInterrupted = errors.New("interrupted: nothing was written")

type command struct {
	all                           []*scenario.Scenario
	list, params, full, csv, json bool
	names                         string
	set                           settings
	seed                          uint64
	out, svg                      string
}

// settings is the values of -set, by name.
type settings map[string]float64

func (s settings) String() string { return "" }

func (s settings) Set(text string) error {
	name, number, ok := strings.Cut(text, "=")
	value, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil {
		return errors.New("must be NAME=NUMBER")
	}
	if _, twice := s[name]; twice {
		return fmt.Errorf("%s is set twice", name)
	}
	s[name] = value
	return nil
}

// Run is the command: it plays what args choose of the scenarios, and returns the exit code. If it is interrupted it returns
// at once, while what runs goes on: whoever calls it ends the process.
func Run(scenarios []*scenario.Scenario, args []string, stdout, stderr io.Writer) int {
	return runUntil(context.Background(), scenarios, args, stdout, stderr)
}

func runUntil(ctx context.Context, scenarios []*scenario.Scenario, args []string, stdout, stderr io.Writer) int {
	out := &output{to: stdout}
	code := run(ctx, scenarios, args, out, stderr)
	if out.err != nil && code == 0 {
		fmt.Fprintln(stderr, "lab:", out.err)
		return exitUnexpected
	}
	return code
}

// output remembers the first write that failed: what is not all there must not look as if it were.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.to.Write(p)
	o.err = err
	return n, err
}

func run(ctx context.Context, scenarios []*scenario.Scenario, args []string, stdout, stderr io.Writer) int {
	if err := scenario.Validate(scenarios); err != nil {
		fmt.Fprintln(stderr, "lab:", err)
		return exitUnexpected
	}
	c := command{all: scenarios, set: settings{}}
	flags := flag.NewFlagSet("lab", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&c.list, "list", false, "list the scenarios and stop")
	flags.BoolVar(&c.params, "params", false, "list the parameters of the scenarios, with units and ranges, and stop")
	flags.StringVar(&c.names, "run", "", "run only these scenarios, with plots: names or pages, separated by commas")
	flags.Var(c.set, "set", "change a parameter of the one scenario that -run names: `NAME=NUMBER`; may be given several times")
	flags.Uint64Var(&c.seed, "seed", 1, "seed of all random numbers, from 0 to 4294967295")
	flags.BoolVar(&c.full, "full", false, "use the seeds and horizons of the published experiments; takes minutes")
	flags.BoolVar(&c.csv, "csv", false, "print every point of every picture as CSV, and nothing else")
	flags.BoolVar(&c.json, "json", false, "print checks and pictures as JSON, and nothing else")
	flags.StringVar(&c.out, "out", report.DefaultFolder, "directory for the report")
	flags.StringVar(&c.svg, "svg", "", "directory for the pictures and pages; none if empty")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return exitUsage
	}
	chosen, err := c.check(flags.Args())
	if err != nil {
		fmt.Fprintln(stderr, "lab:", err)
		return exitUsage
	}
	switch {
	case c.list:
		for _, s := range chosen {
			fmt.Fprintf(stdout, "%-4s %-22s %s\n", s.Name, s.Page, s.Question)
		}
		return 0
	case c.params:
		for _, s := range chosen {
			fmt.Fprintf(stdout, "%s %s\n", s.Name, s.Page)
			for _, p := range s.Params {
				within := strings.TrimSpace(fmt.Sprintf("%v to %v %s", p.Low, p.High, p.Unit))
				fmt.Fprintf(stdout, "  -set %-16s %-24s %s\n", fmt.Sprintf("%s=%v", p.Name, p.Default), within, p.What)
			}
		}
		return 0
	}
	if err := c.play(ctx, chosen, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "lab:", err)
		if errors.Is(err, errInterrupted) {
			return exitInterrupted
		}
		return exitUnexpected
	}
	return 0
}

// check returns the scenarios to run.
func (c *command) check(rest []string) ([]*scenario.Scenario, error) {
	switch {
	case len(rest) > 0:
		return nil, fmt.Errorf("unexpected argument %q; see -help", rest[0])
	case c.seed > 1<<32-1:
		return nil, fmt.Errorf("-seed %d: must be from 0 to 4294967295", c.seed)
	case c.out == "":
		return nil, errors.New("-out is empty: must name a directory")
	case c.csv && c.json:
		return nil, errors.New("-csv and -json: choose one")
	case (c.csv || c.json) && c.svg != "":
		return nil, errors.New("-svg goes with neither -csv nor -json, which write nothing but numbers")
	}
	chosen, err := c.choose()
	if err != nil || len(c.set) == 0 {
		return chosen, err
	}
	switch {
	case len(chosen) != 1:
		return nil, errors.New("-set: must go with -run and the name of one scenario")
	case c.svg != "":
		return nil, errors.New("-set and -svg: the pages show the scenario as it is")
	}
	for name, value := range c.set {
		i := slices.IndexFunc(chosen[0].Params, func(p scenario.Param) bool { return p.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("-set %s: %s has no such parameter; see -run %s -params", name, chosen[0].Name, chosen[0].Name)
		}
		if err := chosen[0].Params[i].Validate(value); err != nil {
			return nil, fmt.Errorf("-set %w", err)
		}
	}
	return chosen, nil
}

// choose returns the scenarios that -run names, or all.
func (c *command) choose() ([]*scenario.Scenario, error) {
	if c.names == "" {
		return c.all, nil
	}
	var chosen []*scenario.Scenario
	for _, name := range strings.Split(c.names, ",") {
		name = strings.TrimSpace(name)
		i := slices.IndexFunc(c.all, func(s *scenario.Scenario) bool { return strings.EqualFold(s.Name, name) || s.Page == name })
		if i < 0 {
			var names []string
			for _, s := range c.all {
				names = append(names, s.Name+" ("+s.Page+")")
			}
			return nil, fmt.Errorf("-run %q: no such scenario; there are %s", name, strings.Join(names, ", "))
		}
		if !slices.Contains(chosen, c.all[i]) {
			chosen = append(chosen, c.all[i])
		}
	}
	return chosen, nil
}

func (c *command) play(ctx context.Context, scenarios []*scenario.Scenario, stdout, stderr io.Writer) error {
	if !c.csv && !c.json {
		for _, folder := range []string{c.out, c.svg} { // before a run that may take minutes
			if folder == "" {
				continue
			}
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return err
			}
		}
	}
	debug.SetGCPercent(400) // worlds make garbage and are short
	size := scenario.Usual
	if c.full {
		size = scenario.Full
	}
	began := time.Now()
	results, err := c.results(ctx, scenarios, size, stderr)
	if err != nil {
		return err
	}
	if err := c.show(results, time.Since(began), stdout); err != nil {
		return err
	}
	for _, r := range results {
		if r.Err != nil {
			return fmt.Errorf("the simulation went wrong: %w", r.Err)
		}
	}
	if slices.ContainsFunc(results, func(r *scenario.Result) bool { return !r.Passed() }) {
		return errors.New("something was not as expected: see FAIL")
	}
	return nil
}

// results plays the scenarios, one after the other.
func (c *command) results(ctx context.Context, scenarios []*scenario.Scenario, size scenario.Size, stderr io.Writer) (results []*scenario.Result, err error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	for i, s := range scenarios {
		progress := newProgress(stderr, fmt.Sprintf("[%d/%d] %s %s", i+1, len(scenarios), s.Name, s.Page))
		played := make(chan *scenario.Result, 1)
		go func() {
			defer close(played)
			played <- scenario.Play(s, scenario.Options{Seed: c.seed, Size: size, Set: c.set, Progress: progress.at})
		}()
		select {
		case result, ok := <-played:
			if !ok {
				return nil, fmt.Errorf("%s called runtime.Goexit", s.Name)
			}
			progress.done(result.Passed())
			results = append(results, result)
		case <-ctx.Done():
			progress.stop()
			return nil, errInterrupted
		}
	}
	return results, nil
}

// show prints the results and writes the report.
func (c *command) show(results []*scenario.Result, took time.Duration, stdout io.Writer) error {
	switch {
	case c.csv:
		return report.CSV(stdout, results)
	case c.json:
		return report.JSON(stdout, results)
	case c.names == "": // a whole run fits on a screen
		fmt.Fprintf(stdout, "%s%s", report.Failures(results), report.Summary(results))
	default:
		for _, r := range results {
			for _, figure := range r.Figures {
				fmt.Fprintf(stdout, "\n%s\n", figure.Text())
			}
		}
		fmt.Fprintf(stdout, "\n%s\n%s", report.Table(results), report.Summary(results))
	}
	set := ""
	if changed := results[0].Changed(); changed != "" {
		set = changed + ", "
	}
	fmt.Fprintf(stdout, "seed %d, %s%.1f s\n", c.seed, set, took.Seconds())
	return c.write(results, stdout)
}

func (c *command) write(results []*scenario.Result, stdout io.Writer) error {
	file, err := report.Save(c.out, "report.html", report.HTML(results))
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, "report:", file)
	if c.svg == "" {
		return nil
	}
	for name, content := range report.Pages(results, c.all) {
		if err := atomicfile.Write(filepath.Join(c.svg, name), []byte(content)); err != nil {
			return err
		}
	}
	fmt.Fprintln(stdout, "pictures and pages:", c.svg)
	return nil
}
