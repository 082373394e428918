// Command report runs the benchmarks of this module and writes docs/performance.md, docs/performance.svg and, as benchstat
// prints it, docs/performance.txt.
//
//	go run ./bench/report                          # everything, about ten minutes on an idle machine
//	go run ./bench/report -raw new.txt             # and keep what benchstat reads
//	go run ./bench/report -from old.txt            # write the documents again from such a file
//	go run ./bench/report -instructions            # count instructions per call with valgrind instead
//
// Each round runs every benchmark once, in a process of its own, so that whatever disturbs the machine for a while
// disturbs one round of everybody and not all rounds of one. A figure is the median of the rounds. Comparisons stand
// next to each other within a round.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

func main() {
	var o options
	flag.IntVar(&o.count, "count", 6, "rounds")
	flag.DurationVar(&o.benchtime, "benchtime", 150*time.Millisecond, "how long each benchmark runs in each round")
	flag.StringVar(&o.raw, "raw", "", "file to keep the output of the benchmarks in")
	flag.StringVar(&o.from, "from", "", "file to read the output of the benchmarks from, instead of running them")
	flag.BoolVar(&o.instructions, "instructions", false, "count instructions with valgrind; times are not measured")
	flag.StringVar(&o.docs, "docs", "", "folder to write to [docs, next to bench]")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

type options struct {
	count        int
	benchtime    time.Duration
	raw, from    string
	instructions bool
	docs         string

	bench string // the folder of the benchmarks
}

func (o *options) run(ctx context.Context) error {
	if o.count < 1 || o.benchtime <= 0 {
		return fmt.Errorf("-count %d -benchtime %v: both must be positive", o.count, o.benchtime)
	}
	dir, err := output(ctx, "", "go", "list", "-f", "{{.Dir}}", "github.com/go-resilience/resilience/bench")
	if err != nil {
		return err
	}
	o.bench = dir
	if o.docs == "" {
		o.docs = filepath.Join(filepath.Dir(dir), "docs")
	}
	if o.instructions {
		return o.countInstructions(ctx)
	}
	raw, err := o.measure(ctx)
	if err != nil {
		return err
	}
	r, err := parse(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	if err := o.write("measured", markdown(r)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.docs, "performance.svg"), []byte(plot(r)), 0o644); err != nil {
		return err
	}
	return o.benchstat(ctx, raw)
}

const benchstat = "golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da"

// benchstat lets benchstat summarise the times of the rounds.
func (o *options) benchstat(ctx context.Context, raw []byte) error {
	dir, err := os.MkdirTemp("", "benchstat")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.WriteFile(filepath.Join(dir, "rounds"), raw, 0o600); err != nil {
		return err
	}
	summary, err := output(ctx, dir, "go", "run", benchstat, "-filter", ".unit:sec/op", "rounds")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.docs, "performance.txt"), []byte(summary+"\n"), 0o644)
}

// measure returns the output of all rounds.
func (o *options) measure(ctx context.Context) ([]byte, error) {
	if o.from != "" {
		return os.ReadFile(o.from)
	}
	binary, remove, err := o.build(ctx)
	if err != nil {
		return nil, err
	}
	defer remove()
	all, err := o.header(ctx)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	for round := range o.count {
		fmt.Fprintf(os.Stderr, "round %d of %d, after %v\n", round+1, o.count, time.Since(begin).Round(time.Second))
		for _, args := range [][]string{
			{"-test.bench=^Benchmark(Floor|Work|Guards|Goroutines|Keys|Buckets)$", "-test.benchtime=" + o.benchtime.String()},
			{"-test.bench=^BenchmarkInstances$", "-test.benchtime=1x"},
		} {
			out, err := output(ctx, o.bench, binary, append(args, "-test.run=^$", "-test.timeout=30m")...)
			if err != nil {
				return nil, err
			}
			all = append(all, out+"\n"...)
		}
	}
	fmt.Fprintf(os.Stderr, "measured in %v\n", time.Since(begin).Round(time.Second))
	if o.raw != "" {
		return all, os.WriteFile(o.raw, all, 0o644)
	}
	return all, nil
}

// build compiles the benchmarks once for all rounds.
func (o *options) build(ctx context.Context) (binary string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return "", nil, err
	}
	binary = filepath.Join(dir, "bench.test")
	if _, err := output(ctx, o.bench, "go", "test", "-c", "-o", binary, "."); err != nil {
		_ = os.RemoveAll(dir)
		return "", nil, err
	}
	return binary, func() { _ = os.RemoveAll(dir) }, nil
}

// header returns the circumstances, as benchstat's configuration lines.
func (o *options) header(ctx context.Context) ([]byte, error) {
	const format = `{{if not (or .Main .Indirect .Replace (eq .Path "github.com/stretchr/testify"))}}{{.Path}} {{.Version}}, {{end}}`
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", format, "all")
	cmd.Dir, cmd.Env = o.bench, append(os.Environ(), "GOWORK=off")
	peers, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("versions of the peers: %w", err)
	}
	goVersion, err := output(ctx, o.bench, "go", "env", "GOVERSION")
	if err != nil {
		return nil, err
	}
	header := fmt.Sprintf("date: %s\ngo: %s\ncores: %d\nrounds: %d\nbenchtime: %v\n",
		time.Now().UTC().Format("2006-01-02"), goVersion, runtime.NumCPU(), o.count, o.benchtime)
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		header += "load: " + strings.Fields(string(load))[0] + "\n"
	}
	list := strings.TrimSuffix(strings.TrimSpace(strings.ReplaceAll(string(peers), "\n", "")), ",")
	return []byte(header + "peers: " + list + "\n"), nil
}

// output runs a command and returns what it prints, without the last line's end.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		tail := stdout.String()
		tail = tail[max(0, len(tail)-2000):]
		return "", fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), strings.Join(args, " "), err, tail, stderr.String())
	}
	return strings.TrimRight(stdout.String(), "\n"), nil
}

// write replaces a section of docs/performance.md.
func (o *options) write(section, text string) error {
	path := filepath.Join(o.docs, "performance.md")
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	replaced, err := replaceSection(string(old), section, text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(replaced), 0o644)
}

// replaceSection replaces what is between the markers of a section.
func replaceSection(document, section, text string) (string, error) {
	begin, end := "<!-- "+section+": begin -->\n", "<!-- "+section+": end -->"
	before, rest, ok := strings.Cut(document, begin)
	if !ok {
		return "", fmt.Errorf("there is no line %q", strings.TrimSpace(begin))
	}
	_, after, ok := strings.Cut(rest, end)
	if !ok {
		return "", fmt.Errorf("there is no %q after its beginning", end)
	}
	return before + begin + "\n" + strings.TrimSpace(text) + "\n\n" + end + after, nil
}
