package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// markdown returns the measured section of docs/performance.md.
func markdown(r *results) string {
	var b strings.Builder
	writeCircumstances(&b, r)
	writeAims(&b, r)
	writeWork(&b, r)
	writeFaster(&b, r)
	writeFloors(&b, r)
	writeScaling(&b, r)
	writeInstances(&b, r)
	return b.String()
}

func writeCircumstances(b *strings.Builder, r *results) {
	c := r.config
	fmt.Fprintf(b, "Measured on %s with `go run ./bench/report -count %s -benchtime %s`: %s, %s cores, %s/%s, %s; load before the run %s.\n",
		c["date"], c["rounds"], c["benchtime"], c["cpu"], c["cores"], c["goos"], c["goarch"], c["go"], c["load"])
	fmt.Fprintf(b, "Peers: %s.\n\n![Time per call, and how it grows](performance.svg)\n", c["peers"])
}

func writeAims(b *strings.Builder, r *results) {
	b.WriteString("\n### Aims\n\nA ratio is that of the medians, with the lowest and the highest ratio within a round in brackets.\n\n")
	b.WriteString("| work, through `resilience.Do` | aim | measured | |\n|---|---|--:|---|\n")
	var missed strings.Builder
	for _, aim := range aims() {
		found, met := aim.check(r)
		verdict := "met"
		if !met {
			verdict = "**not met**"
			why := aim.why
			if why == "" {
				why = "not explained yet"
			}
			fmt.Fprintf(&missed, "- %s, %s: %s.\n", aim.work, aim.text, why)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", aim.work, aim.text, found, verdict)
	}
	if missed.Len() > 0 {
		fmt.Fprintf(b, "\nNot met, and why:\n\n%s", missed.String())
	}
}

func writeWork(b *strings.Builder, r *results) {
	b.WriteString("\n### Side by side\n\n" +
		"Time per call in ns: the median of the rounds, and half the distance between the quartiles. Then how many times as long it takes\n" +
		"as resilience does; **bold** where the peer is faster. Bytes and allocations are those of a serial call.\n")
	names := r.under("Work/")
	for _, name := range parts(names, 0) {
		fmt.Fprintf(b, "\n#### %s\n\n", title(name))
		b.WriteString("| | serial | × | a goroutine per core | × | 64 per core | × | B | allocations |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n")
		for _, subject := range parts(r.under("Work/"+name+"/"), 0) {
			fmt.Fprintf(b, "| %s |", title(subject))
			for _, mode := range []string{"serial", "parallel", "contended"} {
				own, other := work(name, ours, mode), work(name, subject, mode)
				fmt.Fprintf(b, " %s | %s |", duration(r, other), times(r, other, own))
			}
			bytes, _ := r.median(work(name, subject, "serial"), "B/op")
			allocs, _ := r.median(work(name, subject, "serial"), "allocs/op")
			fmt.Fprintf(b, " %.0f | %.0f |\n", bytes, allocs)
		}
	}
}

// duration returns the median of a benchmark in nanoseconds, and how far the rounds are apart.
func duration(r *results, name string) string {
	middle, spread := r.median(name, "ns/op")
	return fmt.Sprintf("%s ±%.0f %%", significant(middle), 100*spread)
}

// significant returns x with three digits that count, in the notation that people read.
func significant(x float64) string {
	switch {
	case x >= 99.95:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case x >= 9.995:
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strconv.FormatFloat(x, 'f', 2, 64)
}

// times returns how many times as long a benchmark takes as another.
func times(r *results, name, over string) string {
	if name == over {
		return "1"
	}
	ratio, _, _ := r.ratio(name, over)
	text := significant(ratio)
	if ratio < 1 && !strings.HasPrefix(strings.Split(name, "/")[2], ours) {
		return "**" + text + "**"
	}
	return text
}

func writeFaster(b *strings.Builder, r *results) {
	b.WriteString("\n### Where a peer is faster, and why\n\n")
	none := true
	for _, pair := range pairs(r) {
		if strings.HasPrefix(pair.subject, ours) {
			continue
		}
		var where []string
		for _, mode := range []string{"serial", "parallel", "contended"} {
			ratio, _, _ := r.ratio(work(pair.work, pair.subject, mode), work(pair.work, ours, mode))
			if ratio < 1 {
				where = append(where, fmt.Sprintf("%s (%s)", modes[mode], significant(ratio)))
			}
		}
		if len(where) == 0 {
			continue
		}
		none = false
		reason := reasons[pair.work+"/"+pair.subject]
		if reason == "" {
			reason = "not explained yet"
		}
		fmt.Fprintf(b, "- %s. %s, %s: %s.\n", title(pair.work), title(pair.subject), strings.Join(where, ", "), reason)
	}
	if none {
		b.WriteString("Nowhere.\n")
	}
}

// pair is a piece of work and a subject that does it.
type pair struct{ work, subject string }

func pairs(r *results) (all []pair) {
	for _, name := range r.under("Work/") {
		p := strings.Split(name, "/")
		if next := (pair{p[0], p[1]}); !slices.Contains(all, next) {
			all = append(all, next)
		}
	}
	return all
}

func writeFloors(b *strings.Builder, r *results) {
	b.WriteString("\n### What the machine charges\n\nIn ns, each with the call of a function, as everything above.\n\n" +
		"| | serial | a goroutine per core | 64 per core | allocations |\n|---|--:|--:|--:|--:|\n")
	for _, name := range parts(r.under("Floor/"), 0) {
		fmt.Fprintf(b, "| %s |", title(name))
		for _, mode := range []string{"serial", "parallel", "contended"} {
			fmt.Fprintf(b, " %s |", duration(r, "Floor/"+name+"/"+mode))
		}
		allocs, _ := r.median("Floor/"+name+"/serial", "allocs/op")
		fmt.Fprintf(b, " %.0f |\n", allocs)
	}
}

// scaling is a time against a number.
type scaling struct{ name, title, of, suffix string }

var scalings = []scaling{
	{"Guards", "Guards in a pipeline", "guards, serial", ""},
	{"Goroutines", "Goroutines per core, four policies", "goroutines per core", ""},
	{"Keys", "Keys of a limiter per key", "keys, a goroutine per core", "/parallel"},
	{"Buckets", "Buckets in the window of a breaker", "buckets, serial", ""},
}

func writeScaling(b *strings.Builder, r *results) {
	b.WriteString("\n### Scaling\n\nMedians, in ns per call.\n")
	for _, s := range scalings {
		names := r.under(s.name + "/")
		numbers := parts(names, 1)
		fmt.Fprintf(b, "\n#### %s\n\n| %s | %s |\n|---|%s\n", s.title, s.of, strings.Join(numbers, " | "), strings.Repeat("--:|", len(numbers)))
		for _, subject := range parts(names, 0) {
			fmt.Fprintf(b, "| %s |", title(subject))
			for _, number := range numbers {
				fmt.Fprintf(b, " %s |", significant(r.nanoseconds(s.name+"/"+subject+"/"+number+s.suffix)))
			}
			b.WriteString("\n")
		}
	}
}

// series returns the numbers below prefix and the medians of their times.
func series(r *results, prefix, suffix string) (x, y []float64) {
	for _, number := range parts(r.under(prefix), 0) {
		n, err := strconv.ParseFloat(number, 64)
		if err != nil {
			continue
		}
		x, y = append(x, n), append(y, r.nanoseconds(prefix+number+suffix))
	}
	return x, y
}

func writeInstances(b *strings.Builder, r *results) {
	b.WriteString("\n### Memory of an instance\n\nOn the heap, unused, the pointer to it included.\n\n| | | B |\n|---|---|--:|\n")
	for _, name := range r.under("Instances/") {
		what, subject, _ := strings.Cut(name, "/")
		bytes, _ := r.median("Instances/"+name, "B/instance")
		fmt.Fprintf(b, "| %s | %s | %.0f |\n", title(what), title(subject), bytes)
	}
}
