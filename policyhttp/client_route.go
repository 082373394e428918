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

// routeOf returns where the attempt of ctx goes, nil if nowhere. As long as it was not sent, the route is asked each time, and
// what it says last counts.
func (c *call) routeOf(ctx context.Context) *url.URL {
	numbers := numbersOf(ctx)
	to, decided := c.destinationOf(numbers)
	if decided && to.sent {
		return to.url
	}
	to.url = c.transport.route(ctx, c.target.request)
	c.setDestination(numbers, to)
	return to.url
}

// sendTo returns where the attempt of ctx is sent now, nil if nowhere: where it was admitted to. The route is asked if nobody has
// done so, and if the attempt was sent before: a layer of the pipeline sends it once more.
func (c *call) sendTo(ctx context.Context) *url.URL {
	numbers := numbersOf(ctx)
	to, decided := c.destinationOf(numbers)
	if !decided || to.sent {
		to.url = c.transport.route(ctx, c.target.request)
	}
	to.sent = true
	c.setDestination(numbers, to)
	return to.url
}

// destinationOf returns where the attempt with these numbers goes, false if that was not decided.
func (c *call) destinationOf(numbers attemptNumbers) (to destination, decided bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	to, decided = c.target.routes[numbers]
	return to, decided
}

// setDestination notes where the attempt with these numbers goes. When it is sent, what was decided about attempts after it is
// forgotten: their time is yet to come.
func (c *call) setDestination(numbers attemptNumbers, to destination) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.target.routes == nil {
		c.target.routes = make(map[attemptNumbers]destination)
	}
	if to.sent {
		maps.DeleteFunc(c.target.routes, func(other attemptNumbers, _ destination) bool { return c.isLater(other, numbers) })
	}
	c.target.routes[numbers] = to
}
