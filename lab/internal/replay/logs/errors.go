package logs

import (
	"fmt"
	"strings"
)

// FormatError says why a file cannot be read as a log at all.
type FormatError struct {
	Format string // what the file was taken for, "" if nothing is known
	Line   int    // the line that shows it, 0 if it is not about a line
	Reason string
	Empty  bool // there is nothing in it
}

func (e *FormatError) Error() string {
	var b strings.Builder
	b.WriteString("log")
	if e.Format != "" {
		b.WriteString(" (" + e.Format + ")")
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, ": line %d", e.Line)
	}
	return b.String() + ": " + e.Reason
}

// BadLinesError says that too many lines are bad for what is left to be the traffic.
type BadLinesError struct{ Notes Notes }

func (e *BadLinesError) Error() string {
	n := &e.Notes
	var b strings.Builder
	what := "of"
	if n.Bad > n.Lines {
		what = "spans in"
	}
	fmt.Fprintf(&b, "log (%s): %d %s the first %d lines are bad", n.Format, n.Bad, what, n.Lines)
	for _, bad := range n.BadLines[:min(3, len(n.BadLines))] {
		fmt.Fprintf(&b, "; line %d: %s: %s", bad.Line, bad.Reason, bad.Text)
	}
	fmt.Fprintf(&b, " (taken for %s because %s)", n.Format, n.Why)
	return b.String()
}

// ReadError says that a file could not be read to its end, such as one packed with gzip that is cut short. The records
// before it were returned.
type ReadError struct {
	Line int // the line that could not be read
	Err  error
}

func (e *ReadError) Error() string { return fmt.Sprintf("log: line %d: %v", e.Line, e.Err) }

func (e *ReadError) Unwrap() error { return e.Err }
