package policy

import (
	"encoding/json"
	"fmt"
)

// Kind says in which way an admitted attempt ended.
type Kind uint8

const (
	// NotCalled: an inner layer refused, or the context had ended; the operation was never entered.
	NotCalled Kind = iota
	// Returned: the operation was entered and returned, with or without an error.
	Returned
	// Panicked: the attempt ended with a panic, which goes on to the caller.
	Panicked
	// Exited: the attempt ended with [runtime.Goexit], as t.FailNow does.
	Exited
)

// String returns the name of the kind in lower case.
func (k Kind) String() string {
	switch k {
	case NotCalled:
		return "not called"
	case Returned:
		return "returned"
	case Panicked:
		return "panicked"
	case Exited:
		return "exited"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// MarshalText returns what String does.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Outcome is what an admitted attempt ended with.
type Outcome struct {
	Kind Kind
	// Class is what Err means; Unclassified when Err is nil. The same attempt has the same class for every guard.
	Class Class
	// Canceled says that the caller had cancelled the guard's context when the attempt ended. The end of a timeout
	// is no cancellation.
	Canceled bool
	// Err is the error, for Returned and NotCalled; nil means success when Returned.
	Err error
}

// Succeeded reports whether the operation returned without an error.
func (o Outcome) Succeeded() bool { return o.Kind == Returned && o.Err == nil }

// Verdict judges an outcome for a guard that counts failures, such as a breaker, in this order:
//
//   - never called is neutral: a local refusal says nothing about the dependency;
//   - a panic and [runtime.Goexit] are failures, and no error is a success;
//   - an error after the caller's cancellation is neutral, whatever the error is, since drivers turn a cancellation
//     into errors of their own. A deadline is no cancellation: an error after it is judged as any other;
//   - an error that is nothing but a [*Rejection], possibly wrapped, is neutral: the operation was itself a call
//     that some policy refused;
//   - any other error is judged by its class, see [Class.Verdict]: the one that classify returns, or Class if classify
//     is nil or says [Unclassified].
func (o Outcome) Verdict(classify func(error) Class) Verdict {
	switch {
	case o.Kind == NotCalled:
		return Neutral
	case o.Kind != Returned:
		return Failure
	case o.Err == nil:
		return Success
	case o.Canceled || refused(o.Err):
		return Neutral
	}
	return o.ClassBy(classify).Verdict()
}

// ClassBy returns the class that classify, an option of a policy, gives the error, or o.Class if classify is nil or
// says [Unclassified].
func (o Outcome) ClassBy(classify func(error) Class) Class {
	if classify != nil {
		if class := classify(o.Err); class != Unclassified {
			return class
		}
	}
	return o.Class
}

// MarshalJSON writes the error as text.
func (o Outcome) MarshalJSON() ([]byte, error) {
	class := ""
	if o.Class != Unclassified {
		class = o.Class.String()
	}
	return json.Marshal(struct {
		Kind     Kind   `json:"kind"`
		Class    string `json:"class,omitempty"`
		Canceled bool   `json:"canceled,omitempty"`
		Error    string `json:"error,omitempty"`
	}{o.Kind, class, o.Canceled, errorText(o.Err)})
}

// Verdict is what an outcome says about the health of the dependency.
type Verdict uint8

const (
	// Failure counts against the dependency. It is the zero value: what was not judged is a failure.
	Failure Verdict = iota
	// Success counts in favour of the dependency.
	Success
	// Neutral says nothing about the dependency and is not counted.
	Neutral
)

// String returns the name of the verdict in lower case.
func (v Verdict) String() string {
	switch v {
	case Failure:
		return "failure"
	case Success:
		return "success"
	case Neutral:
		return "neutral"
	}
	return fmt.Sprintf("verdict %d", uint8(v))
}

// MarshalText returns what String does.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }
