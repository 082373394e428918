package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// countInstructions counts the instructions of a serial call of every subject, as valgrind sees them: those of a run
// of many calls, less those of a run of few, by the difference.
//
// It sees user space only. There is no vDSO under valgrind, so that a reading of the clock counts as the few instructions of
// a system call: a change in the number of readings shows in the times, not here.
func (o *options) countInstructions(ctx context.Context) error {
	binary, remove, err := o.build(ctx)
	if err != nil {
		return err
	}
	defer remove()
	list, err := output(ctx, o.bench, binary, "-test.run=^$", "-test.bench=^BenchmarkFloor$/.*/^serial$|^BenchmarkWork$/.*/.*/^serial$", "-test.benchtime=1x")
	if err != nil {
		return err
	}
	var names []string
	for line := range strings.Lines(list) {
		if name := withoutCores(strings.SplitN(line+" ", " ", 2)[0]); strings.HasSuffix(name, "/serial") {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return errors.New("there is no serial benchmark")
	}
	counts, err := countAll(ctx, binary, names)
	if err != nil {
		return err
	}
	version, err := output(ctx, "", "valgrind", "--version")
	if err != nil {
		return err
	}
	goVersion, err := output(ctx, o.bench, "go", "env", "GOVERSION")
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Counted on %s with `go run ./bench/report -instructions`: %s/%s, %s, %s.\n\n", time.Now().UTC().Format("2006-01-02"),
		runtime.GOOS, runtime.GOARCH, goVersion, version)
	b.WriteString("| | | instructions |\n|---|---|--:|\n")
	for i, name := range names {
		p := strings.Split(name, "/")
		what := "Floor"
		if len(p) == 4 {
			what = title(p[1])
		}
		fmt.Fprintf(&b, "| %s | %s | %.0f |\n", what, title(p[len(p)-2]), counts[i])
	}
	return o.write("instructions", b.String())
}

// countAll counts on all cores: instructions do not hurry.
func countAll(ctx context.Context, binary string, names []string) ([]float64, error) {
	counts, failures := make([]float64, len(names)), make([]error, len(names))
	var group sync.WaitGroup
	free := make(chan struct{}, runtime.NumCPU())
	for i, name := range names {
		free <- struct{}{}
		group.Go(func() {
			defer func() { <-free }()
			counts[i], failures[i] = perCall(ctx, binary, name)
		})
	}
	group.Wait()
	return counts, errors.Join(failures...)
}

// The calls of the two runs that are compared. A window of a breaker does not roll in between.
const (
	fewCalls  = 1_000
	manyCalls = 21_000
)

func perCall(ctx context.Context, binary, name string) (float64, error) {
	few, err := count(ctx, binary, name, fewCalls)
	if err != nil {
		return 0, err
	}
	many, err := count(ctx, binary, name, manyCalls)
	if err != nil {
		return 0, err
	}
	return float64(many-few) / (manyCalls - fewCalls), nil
}

var refs = regexp.MustCompile(`I\s+refs:\s+([0-9,]+)`)

// count returns the instructions of a whole run.
func count(ctx context.Context, binary, name string, calls int) (int64, error) {
	exact := "^" + strings.ReplaceAll(name, "/", "$/^") + "$"
	cmd := exec.CommandContext(ctx, "valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null",
		binary, "-test.run=^$", "-test.bench="+exact, fmt.Sprintf("-test.benchtime=%dx", calls))
	// No preemption signals, no collection, one thread for Go code: nothing but the calls.
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", "GOGC=off", "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("valgrind %s: %w\n%s", name, err, out)
	}
	if !strings.Contains(string(out), " ns/op") {
		return 0, fmt.Errorf("valgrind %s: the benchmark did not run\n%s", name, out)
	}
	return parseCount(string(out))
}

// parseCount finds the number of instructions in what cachegrind says.
func parseCount(out string) (int64, error) {
	match := refs.FindStringSubmatch(out)
	if match == nil {
		return 0, fmt.Errorf("no count of instructions in %q", out)
	}
	return strconv.ParseInt(strings.ReplaceAll(match[1], ",", ""), 10, 64)
}
