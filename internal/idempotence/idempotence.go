// Package idempotence marks contexts with whether the work done under them may be done twice. Retries and hedges
// honour the mark.
package idempotence

import "context"

type key struct{}

// Mark returns a context whose work may be repeated, or may not. The innermost mark counts.
func Mark(ctx context.Context, idempotent bool) context.Context {
	return context.WithValue(ctx, key{}, idempotent)
}

// Asks reports whether key, which a context is asked for, is that of the mark.
func Asks(k any) bool { return k == (key{}) }

// Of returns what ctx was marked with. idempotent is false when it was not marked.
func Of(ctx context.Context) (marked, idempotent bool) {
	idempotent, marked = ctx.Value(key{}).(bool)
	return marked, idempotent
}
