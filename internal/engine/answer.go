package engine

import "context"

// answer is the part of an [opening] that belongs to a failed attempt: whether its error is an answer that is still to be
// read, and the contexts that must live for that.
type answer struct {
	live bool
	ends []context.CancelFunc // of the contexts
}

// end ends the contexts. It may be called by several at once.
func (a answer) end() {
	for _, end := range a.ends {
		end()
	}
}

// setAside takes the answer of the attempt before out of what stays open, because another attempt begins: from then on
// what stays open belongs to that attempt, whose calls may be on other goroutines and outlive it.
func (t *trace) setAside() (a answer) {
	if t.opens() {
		a = answer{t.open.live, t.open.ends}
		t.open.live, t.open.ends = false, nil
	}
	return a
}

// putBack undoes setAside after an attempt that did not come to the operation: the answer before it is still the last one.
func (t *trace) putBack(a answer) {
	if t.opens() {
		t.open.live, t.open.ends = a.live, a.ends
	}
}
