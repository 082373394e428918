// Package idempotence marks contexts with whether the work done under them may be done twice. Retries and hedges
// honour the mark.
package idempotence

import (
	"context"
	"errors"
)

type key struct{}

// Mark says whether work may be done again. A context answers it for a key for which [Asks] is true.
type Mark uint8

const (
	No     Mark = iota // not after it may have had an effect
	InTurn             // one attempt after the other: it has a body, say, that cannot be read twice at the same time
	AtOnce             // also at the same time
)

// With returns a context whose work is marked. The innermost mark counts.
func With(ctx context.Context, mark Mark) context.Context { return context.WithValue(ctx, key{}, mark) }

// Asks reports whether key, which a context is asked for, is that of the mark.
func Asks(k any) bool { return k == (key{}) }

// Of returns what ctx was marked with, false when it was not.
func Of(ctx context.Context) (mark Mark, marked bool) {
	mark, marked = ctx.Value(key{}).(Mark)
	return mark, marked
}

// NotSent reports whether err says that nothing was done: what was marked with [No] may be done all the same then. It
// is looked for through plain wrapping only: of two errors that are joined, one may have been sent.
func NotSent(err error) (is bool) {
	defer func() {
		if recover() != nil { // a method of the error has panicked: it says nothing
			is = false
		}
	}()
	for ; err != nil; err = errors.Unwrap(err) {
		if marked, ok := err.(interface{ NotSent() bool }); ok && marked.NotSent() {
			return true
		}
	}
	return false
}
