package policyhttp

import (
	"context"
	"maps"
	"net/http"
	"net/url"

	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/retry"
)

// attemptKey tells the attempts of a call apart: by the number of the retry, and that of the hedge.
type attemptKey struct{ retry, hedge int }

// destination is where an attempt goes.
type destination struct {
	url  *url.URL
	sent bool // it has gone there
}

// target is where the attempts of a call go. Few calls are asked for it.
type target struct {
	host    hostKey       // of the request; zero: not known yet
	request *http.Request // a copy of the caller's, for the route; nil if there is none
	routes  map[attemptKey]destination
}

// routeOf returns where the attempt of ctx goes; nil if nowhere. An attempt that is sent goes where the route said last,
// since that is what it was admitted for.
func (c *call) routeOf(ctx context.Context, send bool) *url.URL {
	key := attemptKey{retry.Attempt(ctx), hedge.Attempt(ctx)}
	c.mu.Lock()
	target := c.target
	known, ok := target.routes[key]
	c.mu.Unlock()
	// An answer stands while it waits to be used, and after its use for questions alone. Otherwise it is asked anew.
	if !ok || send == known.sent {
		known.url = c.transport.route(ctx, target.request)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if target.routes == nil {
		target.routes = make(map[attemptKey]destination)
	}
	if send { // a later attempt is decided about later
		maps.DeleteFunc(target.routes, func(other attemptKey, _ destination) bool {
			return other.retry > key.retry && c.sameRetry(other.hedge, key.hedge)
		})
	}
	target.routes[key] = destination{known.url, known.sent || send}
	return known.url
}
