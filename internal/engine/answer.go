package engine

import (
	"context"
	"errors"
)

// answer is what a failed attempt leaves to be read, such as the body of a 503. It is part of an [openResult]:
//
//	openResult.operationReturned  the operation has failed with an error that says there is something to be read: it is live
//	openResult.keepContext        as guards are settled, what cancels their contexts goes into the answer
//	openResult.adopt              the answer of an attempt of a wrapper becomes that of the call
//	trace.setAside                another attempt begins: if it enters the operation, cancelContexts, otherwise trace.putBack
//	openResult.cancelContexts     the permit is settled
type answer struct {
	live    bool                 // there is something to be read: the error says so
	cancels []context.CancelFunc // of the contexts that must live for that
}

// isLive reports whether err says that there is something to be read.
func isLive(err error) (is bool) {
	defer func() {
		if recover() != nil { // a method of the error has panicked
			is = false
		}
	}()
	live, ok := errors.AsType[interface {
		error
		Live() bool
	}](err)
	return ok && live.Live()
}

// cancelContexts ends the contexts. It may be called by several at once.
func (a answer) cancelContexts() {
	for _, cancel := range a.cancels {
		cancel()
	}
}

// setAside removes the previous attempt's answer from what stays open, because another attempt begins: from then on what
// stays open belongs to that attempt, whose calls may be on other goroutines and outlive it.
func (t *trace) setAside() (a answer) {
	if t.staysOpen() {
		a, t.open.answer = t.open.answer, answer{}
	}
	return a
}

// putBack undoes setAside after an attempt that did not reach the operation: the previous answer is still the last one.
func (t *trace) putBack(a answer) {
	if t.staysOpen() {
		t.open.answer = a
	}
}
