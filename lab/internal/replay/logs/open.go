package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parser reads the lines of a format.
type parser interface {
	// parse appends what a line tells. Nothing and no error is a line that is fine and tells nothing. What it appends with a
	// partlyError counts, with any other error it does not.
	parse(line []byte, to []entry) ([]entry, error)
}

// A parser may also
type (
	// continuer says whether a line opens a quote, or closes one, without its match: a record of several lines.
	continuer interface{ unmatched(line []byte) bool }
	// warner has something to say about what it has read.
	warner interface{ warnings() []string }
	// sampler finds out that what it has read is a part of the traffic.
	sampler interface{ sampled() string }
)

// partlyError says that some of the records of a line are bad.
type partlyError struct {
	bad   int
	first error
}

func (e *partlyError) Error() string {
	if e.bad == 1 {
		return e.first.Error()
	}
	return fmt.Sprintf("%v (and %d more of the line)", e.first, e.bad-1)
}

// entry is a record, with the time as it stands in the log: at the beginning of the request, or at its end.
type entry struct {
	Record
	stamp int64
}

// entryAt returns an entry of a request that began then.
func entryAt(stamp, start, latency int64) entry {
	return entry{Record: Record{Start: at(start), Latency: time.Duration(latency)}, stamp: stamp}
}

// Format names one that can be read, for Options.
type Format struct {
	Name  string // such as "nginx"
	Title string // such as "nginx: a log_format with $msec and $request_time"
}

// Formats returns what Open can read.
func Formats() []Format {
	return []Format{
		{"recorder", "policyslog.Record: a JSON line for each attempt"},
		{"envoy", "Envoy: the default access log, that of Istio, or JSON"},
		{"nginx", "nginx: a log_format with $msec and $request_time, as text or JSON"},
		{"haproxy", "HAProxy: option httplog"},
		{"alb", "AWS Application Load Balancer: access log"},
		{"k6", "k6: --out csv or json"},
		{"vegeta", "vegeta: vegeta encode, JSON or CSV"},
		{"jmeter", "JMeter: JTL, CSV or XML"},
		{"otel", "OpenTelemetry spans: OTLP/JSON, or a span per line"},
	}
}

const (
	probed      = 200       // lines that a format is sought in
	probedBytes = 2 << 20   // bytes of them
	kept        = 10        // bad lines that are kept
	keptText    = 160       // bytes of them
	enough      = 1000      // lines after which the share of bad ones counts
	joined      = 256 << 10 // bytes of a record of several lines
)

// Open reads the first lines of a log and returns a Source that streams the records of all of them. What is packed with gzip
// is unpacked. Errors of Open and of the Source's Next are a [*FormatError], a [*BadLinesError] or a [*ReadError].
//
// Options.Format is "", "auto", or the name of one of [Formats]; "nginx:" before a log_format of nginx's configuration reads
// lines of that format.
//
// The Source is for one goroutine. It does not close r.
func Open(r io.Reader, options Options) (Source, error) {
	s := &source{options: options}
	if s.options.MaxBad == 0 {
		s.options.MaxBad = .01
	}
	if !(s.options.MaxBad > 0) {
		return nil, &FormatError{Reason: fmt.Sprintf("MaxBad %v: must not be negative", s.options.MaxBad)}
	}
	wanted := options.Format
	if wanted == "auto" {
		wanted = ""
	}
	if template, ok := strings.CutPrefix(wanted, "nginx:"); ok {
		p, err := newTemplate(template)
		if err != nil {
			return nil, err
		}
		s.use(&format{name: "nginx", new: func() parser { return p }}, "its log_format was given")
	} else if wanted != "" && !slices.ContainsFunc(Formats(), func(f Format) bool { return f.Name == wanted }) {
		return nil, &FormatError{Reason: fmt.Sprintf("format %.100q is not known: %s", wanted, names())}
	}
	var err error
	if s.lines, err = newLines(r); err != nil {
		return nil, err
	}
	if s.parser == nil {
		if err := s.detect(wanted); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func names() string {
	var list []string
	for _, f := range Formats() {
		list = append(list, f.Name)
	}
	return strings.Join(list, ", ")
}

// source is the Source of a file.
type source struct {
	options Options
	lines   *lines
	format  *format
	parser  parser
	notes   Notes

	first []early // lines that were read to find out the format
	queue []entry // of the line that was read last
	given int     // of the queue
	err   error   // after the queue
	text  []byte  // of a record of several lines

	looked    bool  // whether there was a record
	end       int64 // of the record before, by the clock of the log
	back      int   // how often the clock was set back
	backLine  int   // where it was first
	backBy    int64 // by how much at most
	gaps      int
	gapLine   int
	gapBy     int64
	stamps    int64 // the greatest power of ten that divides all times of the log
	latencies int64 // and that which divides all latencies
}

// early is a line that was read before the format was known.
type early struct {
	text []byte
	line int
	err  error
}

func (s *source) use(f *format, why string) {
	s.format, s.parser = f, f.new()
	s.notes.Format, s.notes.Why = f.name, why
	s.stamps, s.latencies = int64(time.Second), int64(time.Second)
}

// detect reads lines until one shows what the log is.
func (s *source) detect(wanted string) error {
	var refusal *FormatError
	for size, full := 0, false; len(s.first) < probed && size < probedBytes && !full; {
		line, err := s.lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		var cut *ReadError
		if errors.As(err, &cut) {
			if len(s.first) == 0 {
				return err
			}
			full = true // it comes again
		}
		s.first = append(s.first, early{slices.Clone(line), s.lines.number, err})
		size += len(line)
		if err != nil {
			continue
		}
		f, why := recognize(line, wanted)
		if number := s.lines.number; f != nil {
			if f.peeks {
				s.peek()
			}
			s.use(f, fmt.Sprintf("line %d %s", number, why))
			if p, ok := s.parser.(interface{ peek([][]byte) string }); ok {
				s.notes.Why += p.peek(s.early())
			}
			return nil
		}
		if reason := refuse(line); refusal == nil && reason != "" {
			refusal = &FormatError{Format: wanted, Line: s.lines.number, Reason: reason}
		}
	}
	var shown *early
	for i := range s.first {
		if e := &s.first[i]; len(strings.TrimSpace(string(e.text))) > 0 {
			shown = e
			break
		}
	}
	switch {
	case refusal != nil:
		return refusal
	case shown == nil:
		return &FormatError{Format: wanted, Reason: "the file has no line with text", Empty: true}
	case wanted == "nginx":
		return &FormatError{Format: wanted, Line: shown.line, Reason: "the first lines do not begin with " +
			"$msec $request_time $status: " + show(shown.text) + " (lines of another log_format are read with the format nginx:LOG_FORMAT)"}
	case wanted != "":
		return &FormatError{Format: wanted, Line: shown.line, Reason: "the first lines are not of that format: " + show(shown.text)}
	}
	return &FormatError{Line: shown.line, Reason: "the format is not known: " + show(shown.text) + " (read are: " + names() + ")"}
}

// peek reads more lines, for a format that is of several minds.
func (s *source) peek() {
	for size := 0; len(s.first) < 20 && size < probedBytes; {
		line, err := s.lines.next()
		if errors.Is(err, io.EOF) {
			return
		}
		s.first = append(s.first, early{slices.Clone(line), s.lines.number, err})
		if size += len(line); err != nil {
			return
		}
	}
}

func (s *source) early() (lines [][]byte) {
	for _, e := range s.first {
		lines = append(lines, e.text)
	}
	return lines
}

// line returns the next line and its number.
func (s *source) line() ([]byte, int, error) {
	if len(s.first) > 0 {
		e := s.first[0]
		s.first = s.first[1:]
		return e.text, e.line, e.err
	}
	line, err := s.lines.next()
	return line, s.lines.number, err
}

func (s *source) Next() (Record, error) {
	for s.given == len(s.queue) {
		if s.err != nil {
			return Record{}, s.err
		}
		s.queue, s.given = s.queue[:0], 0
		s.err = s.read()
	}
	e := &s.queue[s.given]
	s.given++
	s.notes.Records++
	return e.Record, nil
}

// read reads a line into the queue.
func (s *source) read() error {
	line, number, err := s.line()
	switch {
	case errors.Is(err, errLong):
		s.notes.Lines++
		return s.bad(number, line, err)
	case errors.Is(err, io.EOF):
		return s.over()
	case err != nil:
		return err
	}
	s.notes.Lines++
	if p, ok := s.parser.(continuer); ok && p.unmatched(line) {
		if line, err = s.join(p, line); err != nil {
			return s.bad(number, line, err)
		}
	}
	if blank(line) {
		return nil
	}
	s.queue, err = s.parser.parse(line, s.queue)
	if err == nil {
		err = s.check()
	}
	if partly := (*partlyError)(nil); err != nil && !errors.As(err, &partly) {
		s.queue = s.queue[:0]
	}
	for i := range s.queue {
		s.learn(&s.queue[i], number)
	}
	if err != nil {
		return s.bad(number, line, err)
	}
	return nil
}

// join reads the lines on which a line goes on.
func (s *source) join(p continuer, line []byte) ([]byte, error) {
	s.text = append(s.text[:0], line...)
	for open := true; open; {
		line, _, err := s.line()
		switch {
		case errors.Is(err, io.EOF):
			return s.text, problem("a quote is not closed up to the end of the file")
		case errors.Is(err, errLong):
			s.notes.Lines++
			return s.text, err
		case err != nil:
			return s.text, err
		}
		s.notes.Lines++
		open = !p.unmatched(line)
		s.text = append(append(s.text, '\n'), line...)
		if len(s.text) > joined {
			return s.text, problem("a quote is not closed within 256 KiB")
		}
	}
	return s.text, nil
}

func blank(line []byte) bool { return len(line) == 0 || len(bytes.TrimSpace(line)) == 0 }

func (s *source) check() error {
	for i := range s.queue {
		if err := s.queue[i].check(); err != nil {
			return err
		}
	}
	return nil
}

// check refuses what no log of traffic has.
func (e *entry) check() error {
	switch start := e.Start.UnixNano(); {
	case start < earliest || start >= latest || e.stamp < earliest || e.stamp >= latest:
		return problem("the time is not between the years 1971 and 2200")
	case e.Latency < 0:
		return problem("the latency is negative")
	case e.Latency > longest:
		return problem("the latency is more than a year")
	}
	return nil
}

// learn notes what the times of an entry say about the clock.
func (s *source) learn(e *entry, line int) {
	for e.stamp%s.stamps != 0 {
		s.stamps /= 10
	}
	for int64(e.Latency)%s.latencies != 0 {
		s.latencies /= 10
	}
	end := max(e.stamp, e.Start.UnixNano()+int64(e.Latency)) // nginx writes a line when its client has the answer
	if s.looked {
		switch step := end - s.end; {
		case step < -int64(s.format.disorder()):
			if s.back++; s.back == 1 {
				s.backLine = line
			}
			s.backBy = max(s.backBy, -step)
		case step > int64(24*time.Hour):
			if s.gaps++; s.gaps == 1 {
				s.gapLine = line
			}
			s.gapBy = max(s.gapBy, step)
		}
	}
	s.looked, s.end = true, end
}

// bad counts a line that could not be read, and ends the run when there are too many.
func (s *source) bad(number int, line []byte, reason error) error {
	var cut *ReadError
	if errors.As(reason, &cut) {
		return reason
	}
	if partly := (*partlyError)(nil); errors.As(reason, &partly) {
		s.notes.Bad += partly.bad
	} else {
		s.notes.Bad++
	}
	if len(s.notes.BadLines) < kept {
		text := reason.Error()
		if f, _ := recognize(line[:min(len(line), 64<<10)], ""); f != nil && f.name != s.format.name {
			text += " (it looks like " + f.name + ")"
		}
		s.notes.BadLines = append(s.notes.BadLines, BadLine{Line: number, Text: show(line), Reason: text})
	}
	if s.tooMany() {
		return &BadLinesError{s.Notes()}
	}
	return nil
}

// tooMany reports whether more lines are bad than Options allow. There is nothing to wait for where not one of so many may be.
func (s *source) tooMany() bool {
	n := max(s.notes.Lines, s.notes.Records+len(s.queue)+s.notes.Bad) // a line may have many records
	return (n >= enough || s.options.MaxBad*enough < 1) && float64(s.notes.Bad) > s.options.MaxBad*float64(n)
}

// over ends the run at the end of the file.
func (s *source) over() error {
	if s.tooMany() || s.notes.Bad > 0 && s.options.MaxBad < 1 && s.notes.Bad >= s.notes.Records {
		return &BadLinesError{s.Notes()}
	}
	return io.EOF
}

// Notes are complete when Next has returned an error.
func (s *source) Notes() Notes {
	n := s.notes
	n.BadLines = slices.Clone(n.BadLines)
	n.Resolution = max(time.Duration(s.stamps), time.Duration(s.latencies))
	if s.format.exact {
		n.Resolution = time.Nanosecond
	}
	if !s.looked {
		n.Resolution = 0
	}
	what := "line"
	if s.format == otelFormat {
		what = "span"
	}
	if n.Bad > 0 {
		n.Warnings = append(n.Warnings, fmt.Sprintf("%s bad and left out, the first is line %d: %s",
			count(n.Bad, what+" is", what+"s are"), n.BadLines[0].Line, n.BadLines[0].Reason))
	}
	if s.back > 0 {
		n.Warnings = append(n.Warnings, fmt.Sprintf("the clock steps back %s, first at line %d and at most by %v: "+
			"it was set, or the file is not in order",
			count(s.back, "time", "times"), s.backLine, time.Duration(s.backBy).Round(time.Millisecond)))
	}
	if s.gaps > 0 {
		n.Warnings = append(n.Warnings, fmt.Sprintf("%s of more than a day without a line, "+
			"first before line %d and at most of %d days",
			count(s.gaps, "gap", "gaps"), s.gapLine, s.gapBy/int64(24*time.Hour)))
	}
	if time.Duration(s.stamps) >= time.Second && s.looked && n.Records > 1 && !s.format.exact {
		n.Warnings = append(n.Warnings, "times are whole seconds: what happens within a second cannot be told apart")
	}
	if p, ok := s.parser.(warner); ok {
		n.Warnings = append(n.Warnings, p.warnings()...)
	}
	if p, ok := s.parser.(sampler); ok {
		n.Sampled = p.sampled()
	}
	return n
}

// show returns the beginning of a line, fit for a terminal.
func show(line []byte) string {
	more := ""
	if len(line) > keptText {
		line, more = line[:keptText], "…"
	}
	quoted := strconv.QuoteToASCII(string(line))
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`) + more
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// tally counts lines that tell nothing, or not all, by what it is about them.
type tally []struct {
	n         int
	one, many string
}

func (t *tally) add(one, many string) {
	for i := range *t {
		if c := &(*t)[i]; c.one == one {
			c.n++
			return
		}
	}
	*t = append(*t, struct {
		n         int
		one, many string
	}{1, one, many})
}

func (t *tally) warnings() (list []string) {
	for _, c := range *t {
		list = append(list, count(c.n, c.one, c.many))
	}
	return list
}
