package engine

// An observer that calls [runtime.Goexit], as t.FailNow does, ends the goroutine of the call, which nobody can prevent. But
// the operation has not exited: guards that the exit passes through are told the ending that the observer was told of. So
// trace.exit is what guards are told of an exit:
//
//	newTrace, fork   Exited, which stands unless it is an observer who calls Goexit
//	emit             an observer does: the ending that its event is about (observerExited)
//	retryLoop        that was a refusal: guards outside the retry are told of the last attempt that was made (exitLeavesRetry)
//	held.unwind      tells the guards (exitEnding)
//
// Each attempt of a wrapper has its own. A call that is not timed has none, as its trace is shared: its guards are told
// Exited.

// observerExited notes that an observer has called [runtime.Goexit] that was told of end.
func (t *trace) observerExited(end *ending) {
	if t.exit != nil {
		*t.exit = *end
	}
}

// exitLeavesRetry notes, for the guards outside a retry, how the last attempt that was made has ended. It does nothing unless
// an observer has exited that was told of a refusal.
func (t *trace) exitLeavesRetry(made *ending) {
	if t != nil && t.exit != nil && !t.exit.entered() && made.entered() {
		*t.exit = *made
	}
}

// exitEnding returns what guards are told when [runtime.Goexit] passes through them.
func (t *trace) exitEnding() ending {
	if t == nil || t.exit == nil {
		return exited
	}
	return *t.exit
}
