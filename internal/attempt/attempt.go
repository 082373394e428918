// Package attempt marks contexts with the number of the attempt that they belong to.
package attempt

import (
	"context"
	"fmt"
)

type key struct{}

// Context is a context that belongs to the attempt Number. It is what context.WithValue would make, at half the cost.
type Context struct {
	context.Context
	Number int
}

func (c *Context) String() string { return fmt.Sprintf("%v.Attempt(%d)", c.Context, c.Number) }

// Value implements [context.Context].
func (c *Context) Value(k any) any {
	if k == (key{}) {
		return c.Number
	}
	return c.Context.Value(k)
}

// Number returns the number that ctx was marked with, or 0.
//
// The first attempt of a call is normally not marked, since a mark allocates: 0 means the first.
func Number(ctx context.Context) int {
	number, _ := ctx.Value(key{}).(int)
	return number
}
