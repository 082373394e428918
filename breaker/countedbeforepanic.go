package breaker

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/go-resilience/resilience/policy"
)

// countedBeforePanic is the tickets of attempts that Returned counted before a function of the user panicked in it. Since it
// could not return the ticket that says so, the engine settles the attempt, while the panic passes, with the one that Admit
// returned: Settle must not count it again.
type countedBeforePanic struct {
	held    atomic.Int32 // how many there are: almost always none, and then take needs no lock
	mu      sync.Mutex
	tickets []policy.Ticket
}

func (p *countedBeforePanic) put(ticket policy.Ticket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tickets = append(p.tickets, ticket)
	p.held.Store(int32(len(p.tickets)))
}

// take reports whether the ticket is one of them, and forgets it.
//
// Attempts without a start share a ticket. But Returned calls a function of the user only where there is a rule about slow
// calls, for which tickets have one. Should two be equal all the same, as after Reconfigure has added the rule, the
// settlement of one attempt may be left out for that of the other: as many are counted, and one as what the other was.
func (p *countedBeforePanic) take(ticket policy.Ticket) bool {
	if p.held.Load() == 0 {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.tickets, func(t policy.Ticket) bool {
		return t.Period == ticket.Period && t.Number == ticket.Number && t.Start == ticket.Start
	})
	if i < 0 {
		return false
	}
	p.tickets = slices.Delete(p.tickets, i, i+1)
	p.held.Store(int32(len(p.tickets)))
	return true
}
