package logs

import (
	"time"
)

// Record is one line of a log: one attempt, or one request where the log does not tell attempts apart.
type Record struct {
	Start   time.Time     // when it began
	Latency time.Duration // how long it took
	Failed  bool          // it did not succeed, by the format's rule; an answer of 404 is one
	// Kind says of a failure what it was: "timeout"; "5xx", also of gRPC; "throttled", such as 429; "connection", no answer or
	// half of one; "canceled", by the caller, which is no failure of the server; "rejected", by a policy or a proxy, without
	// asking the server; "" where the log does not tell.
	Kind     string
	Status   int    // of HTTP, or of gRPC where it says more; 0 where there is none
	Call     string // id of the call, "" where the log has none
	Attempt  int    // 1, 2, … ; 0 where the log has none
	Policy   string // of a refusal by our own recorder: the first word of Code, such as "breaker"
	Code     string // of our own recorder: what refused, or what cut the attempt short, or of the error
	Censored bool   // ended by a timeout or cancellation: the latency is a lower bound

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
	Bad        int           // lines skipped, or spans of lines that have many
	BadLines   []BadLine     // the first of them
	Resolution time.Duration // the greatest power of ten, up to 1 s, that divides all times, or all latencies; 0 without records
	Sampled    string        // what shows that the log has only a part of the traffic; "" of most sampled logs, too
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
	Format string // "" or "auto" detects it
	// MaxBad is the share of bad lines that ends the run, once there were 1,000 lines; the default is 0.01. A shorter file ends
	// with an error when half of its lines or more are bad. 1 takes anything, what is below 0.001 counts from the first line.
	MaxBad float64
}
