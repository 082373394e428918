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

// routeOf returns where the attempt of ctx goes; nil if nowhere. With sends it goes there now; otherwise somebody asks. This is
// what it does when the attempt has been decided about:
//
//	         not sent yet                           sent
//	asks     asks the route again: what it says     it has gone there
//	         last counts
//	sends    it goes where it was admitted to       asks the route again: it is sent once more
func (c *call) routeOf(ctx context.Context, sends bool) *url.URL {
	numbers := numbersOf(ctx)
	c.mu.Lock()
	routed := c.target
	to, decided := routed.routes[numbers]
	c.mu.Unlock()
	if !decided || sends == to.sent {
		to.url = c.transport.route(ctx, routed.request)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if routed.routes == nil {
		routed.routes = make(map[attemptNumbers]destination)
	}
	if sends { // a later attempt is decided about later
		maps.DeleteFunc(routed.routes, func(other attemptNumbers, _ destination) bool { return c.follows(other, numbers) })
	}
	routed.routes[numbers] = destination{to.url, to.sent || sends}
	return to.url
}
