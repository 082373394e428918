package policy

import (
	"context"
	"encoding/json"
	"time"
)

// Repeater decides, after each attempt, whether there is another one, and when: retry.
type Repeater interface {
	Layer

	// Next is told how an attempt ended, and answers what to do.
	//
	// It is called
	//
	//	when                                         attempt               Asked   the answer
	//	an attempt has succeeded                     that one              0       is ignored
	//	an attempt has failed, or was refused        that one              0       counts
	//	it has answered Again and Wait is over, but
	//	ctx has ended                                the same, its State   1, 2 …  is no further attempt; its Err counts
	//	a gate refuses now                           the same, its State   1, 2 …  counts: it may wait again
	//	it has answered Again, and a panic or
	//	runtime.Goexit ends the call before the
	//	operation is entered                         the last one          any     is ignored: ctx has ended, and it takes
	//	                                                                           back what it has spent
	//
	//   - After a panic or [runtime.Goexit] of the operation the call is over, and Next is not called.
	//   - If Next itself panics, it is not called again: it must give back first what it has spent.
	//   - What belongs to one call is kept in Attempt.State and Decision.State, never in the repeater.
	//   - It must not wait itself.
	Next(ctx context.Context, attempt Attempt) Decision
}

// Attempt tells a [Repeater] about an attempt that has ended.
type Attempt struct {
	Number  int     // 1 for the first attempt of a call
	Outcome Outcome // Returned, or NotCalled when a layer inside refused
	Blocked error   // the rejection that the gates inside would give the next attempt now; nil when they are ready

	// Elsewhere says that this attempt was refused, a gate still refuses its context, and none refuses that of the next
	// attempt: for example, that is for another host, whose breaker is closed. It is worth making, and at once.
	Elsewhere bool

	Asked int // how often Next was asked about this attempt before: 0 the first time
	State any // what the previous Decision of this call said; nil at first
}

// MarshalJSON writes errors as text, and leaves the State out.
func (a Attempt) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Number    int     `json:"number"`
		Outcome   Outcome `json:"outcome"`
		Blocked   string  `json:"blocked,omitempty"`
		Elsewhere bool    `json:"elsewhere,omitempty"`
		Asked     int     `json:"asked,omitempty"`
	}{a.Number, a.Outcome, errorText(a.Blocked), a.Elsewhere, a.Asked})
}

// Decision is the answer of a [Repeater]. The zero Decision ends the call with the attempt's own result.
type Decision struct {
	Again bool          // make another attempt, after Wait
	Wait  time.Duration // 0 or less: at once, without a timer
	Err   error         // if not Again: the error of the call; nil for the attempt's own

	// Reason is why there is no further attempt, for events. It is nil when another attempt was never in question: a
	// refusal, an error that is not to be retried.
	Reason error

	State any // handed back with the next Attempt of this call
}

// MarshalJSON writes errors as text and the wait as a number of seconds, and leaves the State out.
func (d Decision) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Again  bool    `json:"again"`
		Wait   float64 `json:"wait,omitempty"`
		Err    string  `json:"error,omitempty"`
		Reason string  `json:"reason,omitempty"`
	}{d.Again, d.Wait.Seconds(), errorText(d.Err), errorText(d.Reason)})
}
