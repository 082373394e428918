package policyhttp

import (
	"context"
	"maps"
	"net/http"
	"net/url"
)

// destination is where an attempt goes.
type destination struct {
	url  *url.URL
	sent bool // it has gone there
}

// target is where the attempts of a call go. Few calls are asked for it.
type target struct {
	host    hostKey       // of the request; zero: not known yet
	request *http.Request // a copy of the caller's, for the route; nil if there is none
	routes  map[attemptNumbers]destination
}

// routeOf returns where the attempt of ctx goes; nil if nowhere. With sends it goes there now; otherwise somebody asks.
func (c *call) routeOf(ctx context.Context, sends bool) *url.URL {
	numbers := numbersOf(ctx)
	c.mu.Lock()
	target := c.target
	to, known := target.routes[numbers]
	c.mu.Unlock()
	switch {
	case known && sends && !to.sent: // it goes where it was admitted to
	case known && !sends && to.sent: // it has gone there
	default:
		to.url = c.transport.route(ctx, target.request)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if target.routes == nil {
		target.routes = make(map[attemptNumbers]destination)
	}
	if sends { // a later attempt is decided about later
		maps.DeleteFunc(target.routes, func(other attemptNumbers, _ destination) bool { return c.follows(other, numbers) })
	}
	target.routes[numbers] = destination{to.url, to.sent || sends}
	return to.url
}
