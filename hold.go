package resilience

import (
	"context"

	"github.com/go-resilience/resilience/internal/hold"
)

// Hold keeps the context of an attempt alive after the operation has returned, for a result that still needs it: the
// body of a response, a cursor, a stream. The operation calls it with its own context as soon as it has such a result,
// and whoever is done with the result calls release, once or more:
//
//	response, err := client.Do(request.WithContext(ctx))
//	if err != nil {
//		return nil, err
//	}
//	response.Body = &body{ReadCloser: response.Body, release: resilience.Hold(ctx)} // Close calls release
//
// It holds the contexts that the timeouts and hedges of this module derived. Deadlines go on, so a timeout bounds the
// reading of the result too, and the caller's own context ends as always. If the operation fails after all, its context
// ends when it returns. An attempt that holds its context is not cancelled when another attempt of a hedge wins: close
// what hedge.OnDiscard is given. Under a context that nobody derived, Hold does nothing.
func Hold(ctx context.Context) (release func()) { return hold.Take(ctx) }
