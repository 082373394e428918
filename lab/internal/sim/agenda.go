package sim

import "time"

// entry is something that is going to happen: an event of the model, or the end of an actor's sleep.
type entry struct {
	due        time.Duration
	rank       rank
	call       uint64 // of the actor; 0 for events
	child      uint64
	serial     uint64
	actor      *Actor
	event      func()
	background bool

	quiet       bool // the actor waits for nothing else, and nobody for anything else on its behalf
	wakesNobody bool // the event only changes what is on the agenda
}

// rank orders what is due at one instant: whoever leaves makes room for whoever comes.
type rank uint8

const (
	leaving  rank = iota // the ends of work, and what follows from them
	arriving             // calls that come, and clients that have waited for their next one
)

// before is the order of the world: by time, departures before arrivals, then by actor, then by the order in which each
// actor asked.
func (e *entry) before(other *entry) bool {
	switch {
	case e.due != other.due:
		return e.due < other.due
	case e.rank != other.rank:
		return e.rank < other.rank
	case e.call != other.call:
		return e.call < other.call
	case e.child != other.child:
		return e.child < other.child
	}
	return e.serial < other.serial
}

// dead reports whether the actor does not wait for this entry any more.
func (e *entry) dead() bool { return e.actor != nil && e.actor.asleep != e.serial }

// agenda is a heap of entries, the next one on top.
type agenda struct {
	heap       []entry
	foreground int // entries that are not in the background
}

func (a *agenda) len() int    { return len(a.heap) }
func (a *agenda) top() *entry { return &a.heap[0] }

func (a *agenda) push(e entry) {
	if !e.background {
		a.foreground++
	}
	a.heap = append(a.heap, e)
	i := len(a.heap) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(&a.heap[parent]) {
			break
		}
		a.heap[i] = a.heap[parent]
		i = parent
	}
	a.heap[i] = e
}

func (a *agenda) pop() entry {
	top := a.heap[0]
	if !top.background {
		a.foreground--
	}
	last := len(a.heap) - 1
	e := a.heap[last]
	a.heap[last] = entry{}
	a.heap = a.heap[:last]
	if last == 0 {
		return top
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && a.heap[child+1].before(&a.heap[child]) {
			child++
		}
		if !a.heap[child].before(&e) {
			break
		}
		a.heap[i] = a.heap[child]
		i = child
	}
	a.heap[i] = e
	return top
}
