package policygrpc

import (
	"context"
	"fmt"

	"github.com/go-resilience/resilience/internal/idempotence"
)

// idempotency is whether a call may be made twice.
type idempotency uint8

const (
	unmarked      idempotency = iota // nobody has said so: retries make another attempt, hedges do not
	idempotent                       // another attempt may be made, even at the same time
	notIdempotent                    // another attempt needs proof that nothing of the last one was sent
)

// setIdempotency finds out whether the call may be made twice. What its caller says counts more than our options, which
// speak of all calls of a method.
func (c *call) setIdempotency() {
	if !c.route.repeats {
		return // nobody will ask
	}
	mark, marked := idempotence.Of(c.Context)
	switch {
	case marked && mark != idempotence.No:
		c.idempotency = idempotent
	case marked:
		c.idempotency = notIdempotent
	default:
		c.idempotency = byName(c.client.idempotency, c.method)
		c.markedByOption = c.idempotency != unmarked
	}
}

// withoutOurMark is the context of an attempt whose call our options have marked. It leaves out that mark, and shows
// only that of the caller: a call that an interceptor makes under it, such as for a token, is another call.
type withoutOurMark struct {
	context.Context
	caller context.Context
}

func (w withoutOurMark) Value(key any) any {
	if idempotence.Asks(key) {
		return w.caller.Value(key)
	}
	return w.Context.Value(key)
}

// String says what the context is. It looks at nothing that changes.
func (w withoutOurMark) String() string { return fmt.Sprint(w.Context) }
