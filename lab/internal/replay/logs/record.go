package logs

import (
	"time"
)

// Record is one line of a log: one attempt, or one request where the log does not tell attempts apart.
type Record struct {
	Start    time.Time     // when it began
	Latency  time.Duration // how long it took
	Failed   bool          // by the format's rule
	Kind     string        // of failure: "timeout", "5xx", "throttled", "connection", "canceled", "rejected", or ""
	Status   int           // HTTP or gRPC status, 0 where there is none
	Call     string        // id of the call, "" where the log has none
	Attempt  int           // 1, 2, … ; 0 where the log has none
	Policy   string        // of a refusal by our own recorder: the policy's name, and Code
	Code     string
	Censored bool // ended by a timeout or cancellation: the latency is a lower bound

	// Of our own recorder only.
	Queued time.Duration // what it had waited at policies when it began
	Class  string        // what the error means, as policy.Class prints it; "" lets Kind decide
}

// Source streams records in the order of the file; Next returns io.EOF at the end. Notes says what was counted and skipped.
type Source interface {
	Next() (Record, error)
	Notes() Notes
}

// Notes say what a reader took its input for, what it counted and what it skipped.
type Notes struct {
	Format     string        // of the log
	Why        string        // the reader took it for that format
	Lines      int           // read
	Records    int           // returned
	Bad        int           // lines skipped
	BadLines   []BadLine     // the first of them
	Resolution time.Duration // of the log's times
	Warnings   []string
}

// BadLine is a line that was skipped.
type BadLine struct {
	Line   int // from 1
	Text   string
	Reason string
}

// Options of Open.
type Options struct {
	Format string  // "" or "auto" detects it
	MaxBad float64 // share of bad lines that ends the run: default .01 after 1,000 lines, or all
}
