// Package attempt marks contexts with the number of the attempt that they belong to.
package attempt

import "context"

type key struct{}

// With returns a context that belongs to attempt number.
func With(ctx context.Context, number int) context.Context {
	return context.WithValue(ctx, key{}, number)
}

// Number returns the number that ctx was marked with, or 0.
//
// The first attempt of a call is normally not marked, since a mark allocates: 0 means the first.
func Number(ctx context.Context) int {
	number, _ := ctx.Value(key{}).(int)
	return number
}
