// Package idempotence marks contexts with whether the work done under them may be done twice. Retries and hedges
// honour the mark.
package idempotence

import "context"

type key struct{}

// inTurn is the mark of work that may be repeated, but not while it is being done.
type inTurn struct{}

// InTurn is what a context answers a key for which [Asks] is true if its work may be repeated, but only one attempt after
// the other: it has a body, say, that cannot be read twice at the same time. Otherwise the answer is a bool, as for [Mark].
var InTurn any = inTurn{}

// Mark returns a context whose work may be repeated, or may not. The innermost mark counts.
func Mark(ctx context.Context, idempotent bool) context.Context {
	return context.WithValue(ctx, key{}, idempotent)
}

// Asks reports whether key, which a context is asked for, is that of the mark.
func Asks(k any) bool { return k == (key{}) }

// Of returns what ctx was marked with: whether its work may be done again, after it was done. idempotent is false when it
// was not marked.
func Of(ctx context.Context) (marked, idempotent bool) {
	switch mark := ctx.Value(key{}).(type) {
	case bool:
		return true, mark
	case inTurn:
		return true, true
	}
	return false, false
}

// AtOnce is [Of] for doing the work twice at the same time.
func AtOnce(ctx context.Context) (marked, idempotent bool) {
	mark := ctx.Value(key{})
	return mark != nil, mark == true
}
