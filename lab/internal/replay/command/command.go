// Package command is the command line of the replay.
package command

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/go-resilience/resilience/lab/internal/replay"
	"github.com/go-resilience/resilience/lab/internal/replay/logs"
	reports "github.com/go-resilience/resilience/lab/internal/report"
)

// The exit codes.
const (
	exitMet        = 1 // a condition of -fail-if is met
	exitUsage      = 2 // or something is wrong with a file
	exitCannotTell = 3 // a condition of -fail-if is met or not, and the log cannot tell

	exitInterrupted = 130 // as shells have it
)

var errInterrupted = errors.New("interrupted: nothing was written")

// enoughMemory is what a million lines need; above it garbage is collected sooner. Longer logs need more.
const enoughMemory = 400 << 20

const usage = `usage: lab replay [flags] -pipeline FILE[#NAME] [-pipeline FILE[#NAME] ...] LOG ...
       lab replay [flags] -plan OLD[#NAME] NEW[#NAME] LOG ...

Runs the calls of a log through pipelines of policyconfig files, in virtual time, and shows what they would have done
beside what was recorded. LOG is a file, packed with gzip or not, or - for the standard input.

`

type list []string

func (l *list) String() string     { return strings.Join(*l, ", ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

type command struct {
	format      string
	pipelines   list
	failIf      list
	plan        bool
	changes     string // that are planned
	seed        uint64
	maxBad      float64
	out         string
	candidates  []*replay.Candidate
	conditions  []replay.Condition
	files       []string
	stdout, err io.Writer
}

// Run is the command. It returns the exit code. If it is interrupted it returns at once, while what runs goes on: whoever
// calls it ends the process.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return runUntil(context.Background(), args, stdin, stdout, stderr)
}

func runUntil(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := command{stdout: stdout, err: stderr}
	flags := flag.NewFlagSet("lab replay", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.format, "format", "auto", "format of the logs: auto, "+formats()+", or nginx: and its log_format")
	flags.Var(&c.pipelines, "pipeline", "a candidate: `FILE` of policyconfig, with #NAME where it has several pipelines; may be given several times")
	flags.Var(&c.failIf, "fail-if", "exit with 1 if this `CONDITION` holds for a candidate, such as 'lost > 1 %'; may be given several times")
	flags.BoolVar(&c.plan, "plan", false, "the first two arguments are a configuration and the one that shall replace it: say what changes, and replay both")
	flags.Uint64Var(&c.seed, "seed", 1, "seed of all random numbers, from 0 to 4294967295")
	flags.Float64Var(&c.maxBad, "max-bad", .01, "share of bad lines that ends the run, from 0 to 1")
	flags.StringVar(&c.out, "out", reports.DefaultFolder, "directory for the report")
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
		fmt.Fprintf(stderr, "\nConditions are about these numbers:\n%s", replay.Metrics())
		fmt.Fprint(stderr, "\nThe exit code is 0; 1 if a condition holds; 2 for a usage error or a log that cannot be read;\n3 if a condition may hold, and the log cannot tell;\n130 for a run that was interrupted, which writes nothing.\n")
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return exitUsage
	}
	if err := c.check(flags.Args()); err != nil {
		fmt.Fprintln(stderr, "lab replay:", err)
		return exitUsage
	}
	code, err := c.play(ctx, stdin)
	if err != nil {
		fmt.Fprintln(stderr, "lab replay:", err)
		if errors.Is(err, errInterrupted) {
			return exitInterrupted
		}
		return exitUsage
	}
	return code
}

func formats() string {
	var names []string
	for _, f := range logs.Formats() {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}

// check reads the candidates and the conditions.
func (c *command) check(rest []string) error {
	if c.plan {
		switch {
		case len(c.pipelines) > 0:
			return errors.New("-plan and -pipeline: choose one")
		case len(rest) < 3:
			return errors.New("-plan: must be followed by two files of policyconfig and a log")
		}
		c.pipelines, rest = rest[:2], rest[2:]
	}
	switch {
	case len(c.pipelines) == 0:
		return errors.New("no -pipeline is given; see -help")
	case len(c.pipelines) > 8:
		return fmt.Errorf("%d pipelines: at most 8 can be compared", len(c.pipelines))
	case len(rest) == 0:
		return errors.New("no log is given; see -help")
	case c.seed > 1<<32-1:
		return fmt.Errorf("-seed %d: must be from 0 to 4294967295", c.seed)
	case !(c.maxBad >= 0 && c.maxBad <= 1):
		return fmt.Errorf("-max-bad %v: must be from 0 to 1", c.maxBad)
	case c.out == "":
		return errors.New("-out is empty: must name a directory")
	}
	for _, name := range rest {
		if strings.HasPrefix(name, "-") && name != "-" {
			return fmt.Errorf("%s: flags must stand before the logs", name)
		}
	}
	c.files = rest
	for _, reference := range c.pipelines {
		candidate, err := replay.LoadCandidate(reference)
		if err != nil {
			return err
		}
		c.candidates = append(c.candidates, candidate)
	}
	if c.plan {
		var err error
		if c.changes, err = replay.Plan(c.candidates[0], c.candidates[1]); err != nil {
			return err
		}
	}
	for _, text := range c.failIf {
		condition, err := replay.ParseCondition(text)
		if err != nil {
			return fmt.Errorf("-fail-if %w", err)
		}
		c.conditions = append(c.conditions, condition)
	}
	return nil
}

func (c *command) play(ctx context.Context, stdin io.Reader) (int, error) {
	debug.SetGCPercent(200) // worlds make garbage
	debug.SetMemoryLimit(enoughMemory)
	report, err := c.replayUntil(ctx, stdin)
	if err != nil {
		return 0, err
	}
	fmt.Fprint(c.stdout, report.Text())
	if err := c.write(report); err != nil {
		return 0, err
	}
	return c.judge(report), nil
}

// replayUntil is replay, until it is interrupted.
func (c *command) replayUntil(ctx context.Context, stdin io.Reader) (*replay.Report, error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	progress := newProgress(c.err)
	defer progress.stop()
	var report *replay.Report
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		report, err = c.replay(stdin, progress)
	}()
	select {
	case <-done:
		return report, err
	case <-ctx.Done():
		return nil, errInterrupted
	}
}

func (c *command) replay(stdin io.Reader, progress *progress) (*replay.Report, error) {
	began := time.Now()
	log, err := c.read(stdin, progress)
	if err != nil {
		return nil, err
	}
	report := &replay.Report{Files: c.files, Log: log, Recorded: log.Recorded(), Seed: c.seed}
	report.Plan = c.changes
	judge := replay.NewJudge(log, c.seed)
	report.Load = judge.Load()
	for _, candidate := range c.candidates {
		prediction, err := judge.Predict(candidate, func(done, of int) {
			progress.at("%s: %d %%", candidate.Name, 100*done/max(1, of))
		})
		if err != nil {
			return nil, err
		}
		report.Predictions = append(report.Predictions, prediction)
	}
	report.Took = time.Since(began)
	return report, nil
}

// read reads all logs into one.
func (c *command) read(stdin io.Reader, progress *progress) (*replay.Log, error) {
	if err := c.once(); err != nil {
		return nil, err
	}
	if c.maxBad == 0 { // which means the default to package logs
		c.maxBad = math.SmallestNonzeroFloat64
	}
	joined := &replay.Joined{}
	defer joined.Close()
	var empty error
	for _, name := range c.files {
		file := io.NopCloser(stdin)
		if name != "-" {
			opened, err := os.Open(name)
			if err != nil {
				return nil, err
			}
			file = opened
		}
		source, err := logs.Open(file, logs.Options{Format: c.format, MaxBad: c.maxBad})
		if err != nil {
			_ = file.Close()
			format, ok := errors.AsType[*logs.FormatError](err)
			err = fmt.Errorf("%s: %w", name, err)
			if !ok || !format.Empty {
				return nil, err
			}
			empty = cmp.Or(empty, err)
			joined.LeaveOut(name, format.Reason)
			continue
		}
		joined.Add(name, source, file)
	}
	if joined.Len() == 0 {
		return nil, empty
	}
	return replay.Read(joined, func(lines int) {
		debug.SetMemoryLimit(enoughMemory * int64(max(1_000_000, lines)) / 1_000_000)
		progress.at("%d lines read", lines)
	})
}

// once reports a log that is given twice, under whatever names: its traffic would be twice that of the day.
func (c *command) once() error {
	var before []os.FileInfo
	stdin := false
	for _, name := range c.files {
		if name == "-" {
			if stdin {
				return errors.New("the standard input (-) is given twice")
			}
			stdin = true
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(before, func(other os.FileInfo) bool { return os.SameFile(info, other) }) {
			return fmt.Errorf("%s is given twice", name)
		}
		before = append(before, info)
	}
	return nil
}

// judge says which conditions hold, and returns the exit code.
func (c *command) judge(report *replay.Report) int {
	code := 0
	for _, p := range report.Predictions {
		for _, condition := range c.conditions {
			answer, words := p.Holds(condition, report.Recorded)
			switch answer {
			case replay.Yes:
				code = exitMet
			case replay.Perhaps:
				if code == 0 {
					code = exitCannotTell
				}
			}
			fmt.Fprintf(c.stdout, "-fail-if %q: %s: %s\n", condition, p.Candidate.Name, words)
		}
	}
	return code
}

func (c *command) write(report *replay.Report) error {
	file, err := reports.Save(c.out, "replay.html", report.HTML())
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "\nseed %d, %.1f s\nreport: %s\n", report.Seed, report.Took.Seconds(), file)
	return nil
}
