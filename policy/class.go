package policy

import (
	"errors"
	"fmt"
)

// Class says what an error of the operation means to every policy of a pipeline, so that the judgement is written once
// for each dependency:
//
//	class         example                 retry                    breaker   throttle, adaptive limit  hedge
//	Transient     503, reset, timeout     retries                  failure   not accepted, drop        may try another
//	Permanent     505, certificate        does not                 failure   accepted                  ends the call
//	Expected      404, validation         does not                 success   accepted                  ends the call
//	Throttled     429                     retries, after its hint  neutral   not accepted, overload    may try another
//	Ignored       the caller's mistake    does not                 neutral   not counted               ends the call
//
// The engine asks once for each attempt, and puts the answer into [Outcome.Class]. It asks, in this order, the function
// given to resilience.Classify, the error itself ([ClassOf]), and then says Transient.
type Class uint8

const (
	// Unclassified is the answer "I do not know": the next one is asked.
	Unclassified Class = iota
	// Transient: the dependency failed, and another attempt may succeed.
	Transient
	// Permanent: the dependency failed, and another attempt would fail too.
	Permanent
	// Expected: the dependency did its work; the error is its answer.
	Expected
	// Throttled: the dependency asks for less traffic.
	Throttled
	// Ignored: the error says nothing about the dependency.
	Ignored
)

var classNames = [...]string{"unclassified", "transient", "permanent", "expected", "throttled", "ignored"}

// String returns the name of the class in lower case.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return fmt.Sprintf("class %d", uint8(c))
}

// MarshalText returns what String does.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// gravity orders classes: of several errors, the one of the gravest class counts.
var gravity = [...]uint8{Unclassified: 0, Ignored: 1, Expected: 2, Permanent: 3, Throttled: 4, Transient: 5}

// Graver returns the graver of two classes, in the order Transient, Throttled, Permanent, Expected, Ignored. It is the
// class of two errors that are joined.
func (c Class) Graver(other Class) Class {
	// A number that is no class counts least.
	if int(c) >= len(gravity) || int(other) < len(gravity) && gravity[other] > gravity[c] {
		return other
	}
	return c
}

// Verdict returns what an error of this class says to a guard that counts failures: [Failure] for Transient, Permanent
// and Unclassified, [Success] for Expected, [Neutral] for Throttled and Ignored.
func (c Class) Verdict() Verdict {
	switch c {
	case Expected:
		return Success
	case Throttled, Ignored:
		return Neutral
	}
	return Failure
}

// ClassOf returns the class that err itself declares: the one of the first error in its tree with a method
// Class() Class that answers something other than [Unclassified], or Unclassified when there is none. Of joined errors
// the gravest class counts. A [*Rejection] is [Ignored], unless it is joined with an error that is none: a call that
// failed and was then refused has failed.
func ClassOf(err error) (class Class) {
	defer func() {
		if recover() != nil { // a method of the error has panicked, such as that of a nil pointer
			class = Unclassified
		}
	}()
	return classOf(err)
}

func classOf(err error) Class {
	for err != nil {
		if classified, ok := err.(interface{ Class() Class }); ok {
			if class := classified.Class(); class != Unclassified {
				return class
			}
		}
		switch wrapped := err.(type) {
		case interface{ Unwrap() error }:
			err = wrapped.Unwrap()
		case interface{ Unwrap() []error }:
			return classOfAll(wrapped.Unwrap())
		default:
			return Unclassified
		}
	}
	return Unclassified
}

func classOfAll(errs []error) Class {
	class, failed, refusals := Unclassified, false, 0
	for _, err := range errs {
		if refused(err) {
			refusals++
			continue
		}
		failed = failed || err != nil
		class = class.Graver(classOf(err))
	}
	if !failed && refusals > 0 {
		return Ignored
	}
	return class
}

// refused reports whether err is a rejection and nothing else. It follows plain wrapping only: an error that joins a
// rejection with another error (a retry that was stopped by an open breaker after failed attempts) is not one. True does not mean
// that this attempt was refused: the operation may have been entered, and a call that it made itself was refused.
// isRefusal of hedge says yes to more: to several joined rejections, and to what matches ErrRejected without a Rejection.
func refused(err error) (is bool) {
	defer func() {
		if recover() != nil { // a method of the error has panicked
			is = false
		}
	}()
	for ; err != nil; err = errors.Unwrap(err) {
		if _, ok := err.(*Rejection); ok {
			return true
		}
	}
	return false
}
