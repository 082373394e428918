package policyslog

import (
	"encoding/json"
	"errors"
	"math"
	"time"
)

// Version is the version of the format of recordings. New fields do not change the version: readers ignore fields that
// they do not know. A field whose meaning changes does.
const Version = 1

// Line is one line of a recording. Every line is one JSON object; a field that is zero is left out, except for version,
// kind, time and start.
//
// A recording begins with a line of kind "begin". When another process appends to it, it begins with another such line
// and numbers its calls anew. The other lines come in the order in which the attempts and calls ended:
//
//	attempt  an attempt: it entered the operation, or a policy refused it
//	call     a call, after its attempts
//	lost     lines are missing here, because they came faster than they could be written
//
// The attempts of a call have its number. The number is left out if it is not known.
type Line struct {
	Version  int       `json:"version"`            // 1
	Kind     string    `json:"kind"`               // "begin", "attempt", "call", "lost"
	Time     time.Time `json:"time"`               // when the attempt or the call began, by the wall clock as it was at "begin"
	Start    Seconds   `json:"start"`              // the same, since "begin"
	Pipeline string    `json:"pipeline,omitempty"` // the name of the pipeline
	Key      string    `json:"key,omitempty"`      // what the option Key says
	Call     uint64    `json:"call,omitempty"`     // the number of the call
	Attempt  int       `json:"attempt,omitempty"`  // the number of the attempt, from 1; 0 for a call
	Hedge    int       `json:"hedge,omitempty"`    // 2 and more for the extra attempts of a hedge
	Elapsed  Seconds   `json:"elapsed,omitempty"`  // of an attempt: of the operation; of a call: everything
	Queued   Seconds   `json:"queued,omitempty"`   // before the operation, or the refusal; of a call: the sum
	Wait     Seconds   `json:"wait,omitempty"`     // of a call: between attempts, the sum
	// Outcome is "succeeded", "expected" (an error, which is an answer of the dependency), "failed", "rejected" (the
	// operation was not entered), "canceled" (by the caller, or as the loser of a hedge) or "panicked".
	Outcome string `json:"outcome,omitempty"`
	Class   string `json:"class,omitempty"` // of the error, see policy.Class
	Code    string `json:"code,omitempty"`  // of the error, see policy.Code
	// Cut is set for what did not succeed when its context had ended by then: it says what ended it, such as
	// "timeout.attempt", "deadline", "canceled". Elapsed is then less than it would have been.
	Cut  string `json:"cut,omitempty"`
	Lost uint64 `json:"lost,omitempty"` // of "lost": how many lines
}

// Seconds is a duration that JSON shows as a number of seconds, exact to the nanosecond.
type Seconds time.Duration

// MarshalJSON writes a decimal number of seconds, such as 0.0301.
func (s Seconds) MarshalJSON() ([]byte, error) { return appendSeconds(nil, s), nil }

// UnmarshalJSON reads a number of seconds, rounded to the nanosecond. It returns an error for a number that a
// [time.Duration] cannot hold.
func (s *Seconds) UnmarshalJSON(text []byte) error {
	var number json.Number
	if err := json.Unmarshal(text, &number); err != nil {
		return err
	}
	if number == "" { // null
		return nil
	}
	seconds, err := number.Float64()
	if err != nil {
		return err
	}
	whole, fraction := math.Modf(seconds)
	if math.Abs(whole) >= math.MaxInt64/1e9 {
		return errors.New("policyslog: " + number.String() + " s is too long for a duration")
	}
	*s = Seconds(int64(whole)*1e9 + int64(math.Round(fraction*1e9)))
	return nil
}
