package ratelimit

import (
	"container/list"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// queue is the attempts that are owed their tokens, in the order in which they came. The limiter's mutex guards it. A nil queue
// is empty.
//
// First come the shadows: attempts that would have waited, but went ahead in shadow mode, and still take their tokens. No
// goroutine waits for these, so their turns are caught up with whenever the time is asked for (serveShadows). Then come the
// attempts that wait.
//
// Of those that wait, only the first has a timer. It fires at the turn of the first in the queue.
//
// How an attempt comes in, see waiting.go:
//
//	acquire   the tokens are not there at once: it reads the deadline, before the lock is taken, and calls
//	join      takes the tokens, which may be there by now. Otherwise it asks
//	judge     whether there is a place in the queue. If there is none, it refuses; if there is one, it calls
//	place     which puts it at the end. Then, without the lock, it waits in
//	await     sleeps until there is news, the timer fires or the context ends, and then calls
//	look      says whether the wait is over, and for how long to set the timer
//
// How it gets out:
//
//	method      called by            because                             ends the wait with
//	grantFirst  grant, serveShadows  it has got its tokens               over(its ticket, nil)
//	letGoAhead  setShadow            shadow mode begins: it is a shadow  over(no ticket, nil)
//	refuse      dismiss              Reconfigure has no room for it      over(no ticket, the rejection), if it waits
//	leave       await                its context has ended               nothing: await returns that error
type queue struct {
	shadows list.List // of *waiter: went ahead
	waiters list.List // of *waiter: wait
	owed    int       // tokens: what all of both cost
	timed   *waiter   // the first that waits, if its timer is set for the rate and the queue as they are; otherwise nil
	longest int       // the most attempts in the queue at a time
}

// waiter is an attempt in the queue.
type waiter struct {
	cost     int
	came     time.Duration
	deadline time.Duration // it cannot use a token that comes later
	in       *list.List    // shadows or waiters; nil once it is out of the queue
	element  *list.Element // of that list
	news     chan struct{} // has room for one: something has changed, look again
	end      *end          // nil as long as it waits
}

// end is how a wait ends. A shadow gets another one when its tokens have come.
type end struct {
	ticket policy.Ticket
	err    error
}

func (q *queue) len() int {
	if q == nil {
		return 0
	}
	return q.shadows.Len() + q.waiters.Len()
}

// first returns the attempt whose turn comes next, nil if there is none.
func (q *queue) first() *waiter {
	if w := front(&q.shadows); w != nil {
		return w
	}
	return front(&q.waiters)
}

// all returns the attempts in the queue.
func (q *queue) all() (all []*waiter) {
	for _, l := range []*list.List{&q.shadows, &q.waiters} {
		for e := l.Front(); e != nil; e = e.Next() {
			all = append(all, e.Value.(*waiter))
		}
	}
	return all
}

func front(l *list.List) *waiter {
	if e := l.Front(); e != nil {
		return e.Value.(*waiter)
	}
	return nil
}

// line is what an attempt is behind: how many others, and how many tokens they are owed.
type line struct{ length, owed int }

// line returns the line that a newcomer is behind.
func (q *queue) line() line {
	if q == nil {
		return line{}
	}
	return line{q.len(), q.owed}
}

// push puts w at the end of one of the two lists.
func (q *queue) push(w *waiter, to *list.List) {
	w.in, w.element = to, to.PushBack(w)
	q.owed += w.cost
	q.longest = max(q.longest, q.len())
}

func (q *queue) remove(w *waiter) {
	if w.in != nil {
		w.in.Remove(w.element)
		w.in = nil
		q.owed -= w.cost
	}
}

// letGoAhead lets all that wait go ahead. They stay in the queue, as shadows.
func (q *queue) letGoAhead() {
	if q == nil {
		return
	}
	for w := front(&q.waiters); w != nil; w = front(&q.waiters) {
		q.remove(w)
		q.push(w, &q.shadows)
		w.over(policy.Ticket{}, nil)
	}
}

// over ends the wait.
func (w *waiter) over(ticket policy.Ticket, err error) {
	w.end = &end{ticket, err}
	w.wake()
}

func (w *waiter) wake() {
	select {
	case w.news <- struct{}{}:
	default: // it will look again anyway
	}
}
