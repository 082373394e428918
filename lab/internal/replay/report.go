package replay

import "time"

// Report is a log and what candidates would have done with it.
type Report struct {
	Files       []string
	Log         *Log
	Recorded    *Measured
	Load        string // what the log says of it, see [Judge.Load]
	Predictions []*Prediction
	Plan        string // of two candidates: what the second changes, in words
	Seed        uint64
	Took        time.Duration
}
