package main

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// results is what the benchmarks said.
type results struct {
	config map[string]string               // date, go, cpu, …
	names  []string                        // of the benchmarks, in the order in which they ran
	values map[string]map[string][]float64 // benchmark, unit: a value for each round
}

// parse reads the output of benchmarks, as go test prints it and benchstat reads it. The number of cores at the end of
// a name is left out. Every benchmark must have run as often as every other.
func parse(from io.Reader) (*results, error) {
	r := &results{config: make(map[string]string), values: make(map[string]map[string][]float64)}
	runs := make(map[string]int)
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "--- ") || line == "FAIL" {
			return nil, fmt.Errorf("a benchmark failed: %s", line)
		}
		if !strings.HasPrefix(line, "Benchmark") {
			if key, value, ok := strings.Cut(line, ": "); ok && !strings.Contains(key, " ") {
				r.config[key] = strings.TrimSpace(value)
			}
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 4 || len(fields)%2 != 0 {
			return nil, fmt.Errorf("no result: %q", line)
		}
		name := withoutCores(strings.TrimPrefix(fields[0], "Benchmark"))
		if r.values[name] == nil {
			r.values[name] = make(map[string][]float64)
			r.names = append(r.names, name)
		}
		runs[name]++
		for i := 2; i < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", line, err)
			}
			unit := fields[i+1]
			r.values[name][unit] = append(r.values[name][unit], value)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(r.names) == 0 {
		return nil, fmt.Errorf("there is no benchmark")
	}
	for _, name := range r.names {
		if runs[name] != runs[r.names[0]] {
			return nil, fmt.Errorf("%s ran %d times, %s ran %d times", name, runs[name], r.names[0], runs[r.names[0]])
		}
	}
	return r, nil
}

// withoutCores returns name without the "-2" that go test appends when there are two cores.
func withoutCores(name string) string {
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return name
	}
	if _, err := strconv.Atoi(name[i+1:]); err != nil {
		return name
	}
	return name[:i]
}

// median returns the median of a benchmark's values, and half of the range between the quartiles as a share of it.
func (r *results) median(name, unit string) (middle, spread float64) {
	values := r.values[name][unit]
	middle = quantile(values, 0.5)
	if middle != 0 {
		spread = (quantile(values, 0.75) - quantile(values, 0.25)) / 2 / middle
	}
	return middle, spread
}

func (r *results) nanoseconds(name string) float64 {
	middle, _ := r.median(name, "ns/op")
	return middle
}

// ratio returns the median time of a benchmark over that of another, and the lowest and highest of their ratios in a
// round.
func (r *results) ratio(name, over string) (ratio, low, high float64) {
	a, b := r.values[name]["ns/op"], r.values[over]["ns/op"]
	rounds := make([]float64, min(len(a), len(b)))
	for i := range rounds {
		rounds[i] = a[i] / b[i]
	}
	return quantile(a, 0.5) / quantile(b, 0.5), quantile(rounds, 0), quantile(rounds, 1)
}

// quantile returns the q-quantile, between the two values that are nearest to it. For no values it is not a number, so
// that what was not measured fulfils no aim.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	below := int(at)
	above := min(below+1, len(sorted)-1)
	return sorted[below] + (at-float64(below))*(sorted[above]-sorted[below])
}

// under returns the names of the benchmarks that begin with prefix, without it, in the order in which they ran.
func (r *results) under(prefix string) (names []string) {
	for _, name := range r.names {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			names = append(names, rest)
		}
	}
	return names
}

// parts returns the different values of the nth part of names, in order.
func parts(names []string, nth int) (different []string) {
	for _, name := range names {
		part := strings.Split(name, "/")[nth]
		if !slices.Contains(different, part) {
			different = append(different, part)
		}
	}
	return different
}

// slope returns by how much y grows for each 1 that x grows: the line with the least squares.
func slope(x, y []float64) float64 {
	var meanX, meanY, xy, xx float64
	for i := range x {
		meanX += x[i] / float64(len(x))
		meanY += y[i] / float64(len(y))
	}
	for i := range x {
		xy += (x[i] - meanX) * (y[i] - meanY)
		xx += (x[i] - meanX) * (x[i] - meanX)
	}
	return xy / xx
}
