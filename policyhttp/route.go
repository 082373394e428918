package policyhttp

import (
	"context"
	"maps"
	"net/http"
	"net/url"

	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/retry"
)

// place is which attempt of a call something is about: the number of the retry, and that of the hedge.
type place struct{ retry, hedge int }

// routed is where an attempt goes.
type routed struct {
	url  *url.URL
	sent bool // it has gone there
}

// target is where the attempts of a call go.
type target struct {
	host    hostKey
	hosted  bool          // host is known
	request *http.Request // a copy of the caller's, for the route; nil if there is none
	routes  map[place]routed
}

// routeOf returns where the attempt of ctx goes; nil if nowhere. An attempt that is sent goes where the route said last,
// since that is what it was admitted for.
func (c *call) routeOf(ctx context.Context, send bool) *url.URL {
	p := place{retry.Attempt(ctx), hedge.Attempt(ctx)}
	c.mu.Lock()
	target := c.target
	known, ok := target.routes[p]
	c.mu.Unlock()
	// An answer stands while it waits to be used, and after its use for questions alone. Otherwise it is asked anew.
	if !ok || send == known.sent {
		known.url = c.transport.route(ctx, target.request)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if target.routes == nil {
		target.routes = make(map[place]routed)
	}
	if send { // a later attempt is decided about later
		maps.DeleteFunc(target.routes, func(other place, _ routed) bool {
			return other.retry > p.retry && c.sameRetry(other.hedge, p.hedge)
		})
	}
	target.routes[p] = routed{known.url, known.sent || send}
	return known.url
}
