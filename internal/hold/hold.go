// Package hold lets the result of an operation keep the contexts that policies derived for the operation alive after
// it has returned, for as long as the result needs them: the body of an HTTP response is read under the context of
// its request.
package hold

import (
	"context"
	"sync"
)

// Context is a context that a policy derived and will cancel. The policy makes it with [New], hands it to the
// operation, and calls Settle when the operation has returned.
type Context struct {
	context.Context
	cancel context.CancelFunc
	outer  *Context // the next one further out, or nil

	mu      sync.Mutex
	holders int
	settled bool // cancel when the last holder releases
}

type key struct{}

// New returns a context that can be held. ctx was derived from another one, and cancel ends it.
func New(ctx context.Context, cancel context.CancelFunc) *Context {
	outer, _ := ctx.Value(key{}).(*Context)
	return &Context{Context: ctx, cancel: cancel, outer: outer}
}

// Value returns the context itself to this package, and otherwise what any context returns.
func (c *Context) Value(k any) any {
	if k == (key{}) {
		return c
	}
	return c.Context.Value(k)
}

// Take keeps ctx, and all contexts further out that can be held, from being cancelled when the operation has
// succeeded. The holder must call release when it is done; further calls of release do nothing.
func Take(ctx context.Context) (release func()) {
	first, _ := ctx.Value(key{}).(*Context)
	for c := first; c != nil; c = c.outer {
		c.hold()
	}
	return sync.OnceFunc(func() {
		for c := first; c != nil; c = c.outer {
			c.release()
		}
	})
}

func (c *Context) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holders++
}

func (c *Context) release() {
	c.mu.Lock()
	c.holders--
	last := c.settled && c.holders == 0
	c.mu.Unlock()
	if last {
		c.cancel()
	}
}

// Settle says that the operation has ended. It ends the context at once, unless the operation succeeded and its
// result holds the context: then the release does.
func (c *Context) Settle(succeeded bool) {
	c.mu.Lock()
	c.settled = true
	held := succeeded && c.holders > 0
	c.mu.Unlock()
	if !held {
		c.cancel()
	}
}

// Held reports whether somebody holds the context: then the operation has its result, and whoever gets it releases it.
func (c *Context) Held() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.holders > 0
}
