package breaker

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/go-resilience/resilience/policy"
)

// exploded is the tickets of attempts that Returned counted before a function of the user panicked in it. So it did not
// hand out a ticket that says so: Settle gets the ticket that Admit returned, and must not count the attempt again.
type exploded struct {
	held    atomic.Int32 // how many there are: almost always none, and then take needs no lock
	mu      sync.Mutex
	tickets []policy.Ticket
}

func (e *exploded) put(ticket policy.Ticket) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tickets = append(e.tickets, ticket)
	e.held.Store(int32(len(e.tickets)))
}

// take reports whether the ticket is one of them, and forgets it.
func (e *exploded) take(ticket policy.Ticket) bool {
	if e.held.Load() == 0 {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.tickets, func(t policy.Ticket) bool {
		return t.Period == ticket.Period && t.Number == ticket.Number && t.Start == ticket.Start
	})
	if i < 0 {
		return false
	}
	e.tickets = slices.Delete(e.tickets, i, i+1)
	e.held.Store(int32(len(e.tickets)))
	return true
}
