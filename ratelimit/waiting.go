package ratelimit

import (
	"context"
	"math"
	"time"

	"github.com/go-resilience/resilience/internal/saturate"
	"github.com/go-resilience/resilience/policy"
)

// latest returns until when an attempt may wait that came at came, and why not longer. Where MaxWait and the deadline end at
// the same moment it is MaxWait: an attempt that comes back when that fits is admitted.
func (c *config) latest(came, deadline time.Duration) (time.Duration, error) {
	if latest := saturate.Add(came, c.maxWait); latest <= deadline {
		return latest, ErrMaxWait
	}
	return deadline, ErrDeadline
}

// acquire is the rest of Admit, when the tokens were not there at once.
func (l *Limiter) acquire(ctx context.Context, cost int) (policy.Ticket, error) {
	var deadline time.Time
	mayWait := l.current().maxWait > 0
	if mayWait { // the methods of ctx are foreign code: not under the lock
		deadline, _ = ctx.Deadline()
		mayWait = policy.MayWait(ctx)
	}
	waits, ticket, err := l.join(cost, deadline, mayWait)
	if waits == nil {
		return ticket, err
	}
	return l.await(ctx, waits)
}

// join takes the tokens, which may be there by now, or a place in the queue, or refuses. If it returns neither a waiter nor an
// error, the attempt may begin: with its tokens, or in shadow.
func (l *Limiter) join(cost int, deadline time.Time, mayWait bool) (waits *waiter, ticket policy.Ticket, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ticket, ok := l.take(cost)
	if ok {
		return nil, ticket, nil
	}
	w, until, reason := l.enqueue(cost, deadline, mayWait)
	switch {
	case reason == nil && l.shadow: // it is gone
		return nil, policy.Ticket{}, nil
	case reason == nil:
		return w, policy.Ticket{}, nil
	case l.shadow:
		l.counts.shadowRejected++
		return nil, policy.Ticket{}, nil
	}
	l.counts.rejected++
	return nil, policy.Ticket{}, l.rejection(reason, until)
}

// enqueue puts an attempt at the end of the queue, or returns why not, and until when it should stay away: 0 for ever. A zero
// deadline is none.
func (l *Limiter) enqueue(cost int, deadline time.Time, mayWait bool) (w *waiter, until time.Duration, reason error) {
	owed := 0
	if l.queue != nil {
		owed = l.queue.owed
	}
	turn, never := l.turnBehind(owed, cost) // when its tokens will be there
	c := l.config.Load()
	switch {
	case never != nil:
		return nil, 0, never
	case !mayWait || c.maxWait == 0:
		return nil, turn, ErrLimited
	}
	w = &waiter{cost: cost, came: l.bucket.now, deadline: math.MaxInt64}
	if !deadline.IsZero() { // a token at the deadline is too late
		w.deadline = saturate.Add(w.came, max(0, deadline.Sub(l.bucket.clock.Time(w.came)))) - 1
	}
	latest, tooLate := c.latest(w.came, w.deadline)
	until = turn
	if tooLate == ErrMaxWait { // from then on MaxWait is long enough
		until -= c.maxWait
	}
	switch {
	case l.queue.len() >= c.maxWaiters || owed > MaxBurst:
		place, _ := l.bucket.turn(0, l.queue.first().cost) // when there is a place in the queue
		return nil, max(until, place), ErrQueueFull
	case turn > latest:
		return nil, until, tooLate
	}
	w.news = make(chan struct{}, 1)
	to := &l.queue.waiters
	if l.shadow {
		to = &l.queue.gone
	}
	l.queue.push(w, to)
	return w, 0, nil
}

// await waits until w is granted or refused, or ctx ends.
func (l *Limiter) await(ctx context.Context, w *waiter) (policy.Ticket, error) {
	answered := false
	defer func() {
		if !answered { // ctx has ended, or one of its methods has panicked
			l.leave(w)
		}
	}()
	var timer *time.Timer
	var due <-chan time.Time // nil as long as w is not the first
	for {
		if err := policy.ContextError(ctx); err != nil {
			return policy.Ticket{}, err
		}
		end, wait := l.look(w)
		if end != nil {
			answered = true
			return end.ticket, end.err
		}
		switch {
		case wait <= 0:
		case timer == nil:
			timer = time.NewTimer(wait)
			defer timer.Stop()
			due = timer.C
		default:
			timer.Reset(wait)
		}
		select {
		case <-w.news:
		case <-due:
		case <-ctx.Done():
		}
	}
}

// leave takes w out of the queue; its attempt is not made. If its tokens were granted in the same moment, they go back.
func (l *Limiter) leave(w *waiter) {
	l.lock()
	defer l.mu.Unlock()
	switch {
	case w.in != nil:
		l.queue.remove(w)
		l.retime()
	case w.end.ticket.Number > 0:
		l.giveBack(w.end.ticket)
	}
}

// look returns what w has to do: end is not nil if its wait is over. Otherwise it waits for news; if wait is not 0, it is the
// first of those that wait and sets a timer too: for the turn of the first in the queue, which may be one that is gone.
func (l *Limiter) look(w *waiter) (end *end, wait time.Duration) {
	l.lock()
	defer l.mu.Unlock()
	if w.end != nil || w != front(&l.queue.waiters) {
		return w.end, 0
	}
	l.queue.timed = w
	turn, _ := l.bucket.turn(0, l.queue.first().cost) // ok is always true: attempts whose turn never comes are refused
	return nil, turn - l.bucket.now
}

// grant gives tokens to the attempts in the queue, in order, as far as there are tokens. The first that then waits is woken to
// set its timer, if it has none.
func (l *Limiter) grant() {
	for w := l.queue.first(); w != nil && l.bucket.take(w.cost); w = l.queue.first() {
		l.granted(w)
	}
	if w := front(&l.queue.waiters); w != nil && w != l.queue.timed {
		w.wake()
	}
}

// granted lets w, which has got its tokens, go.
func (l *Limiter) granted(w *waiter) {
	l.queue.remove(w)
	l.counts.admitted++
	w.over(l.ticket(w.cost), nil)
}

// serveShadow lets the attempts that are gone take the tokens that have come in for them until now, each at its
// own turn, as if it had waited: in between the bucket does not overflow. Those that wait are not served so; they begin
// now, and only as many as the bucket has tokens for.
func (l *Limiter) serveShadow(now time.Duration) {
	for w := front(&l.queue.gone); w != nil; w = front(&l.queue.gone) {
		turn, ok := l.bucket.turn(0, w.cost)
		if !ok || turn > now {
			return
		}
		l.bucket.now = turn
		if !l.bucket.take(w.cost) {
			return
		}
		l.granted(w)
	}
}

// retime is called when turns have changed, by another rate, a token that came back, or an attempt that left: it grants what is
// there, and the first that waits sets its timer anew.
func (l *Limiter) retime() {
	if l.queue != nil {
		l.queue.timed = nil
		l.grant()
	}
}

// dismiss refuses the attempts in the queue for which a new configuration has no room, or whose turn comes too late or
// never.
func (l *Limiter) dismiss() {
	if l.queue == nil {
		return
	}
	c := l.config.Load()
	owed, kept := 0, 0
	for _, w := range l.queue.all() {
		turn, reason := l.turnBehind(owed, w.cost)
		switch latest, tooLate := c.latest(w.came, w.deadline); {
		case reason != nil: // its turn never comes
		case turn <= l.bucket.now: // retime grants it
		case turn > latest:
			reason = tooLate
		case kept >= c.maxWaiters:
			reason = ErrQueueFull
		default:
			kept++
		}
		if reason != nil {
			l.refuse(w, reason, turn)
			continue
		}
		owed += w.cost
	}
}

// refuse takes w out of the queue, which has no room for it any more; its turn would come at turn. One that is gone was made.
func (l *Limiter) refuse(w *waiter, reason error, turn time.Duration) {
	gone := w.in == &l.queue.gone
	l.queue.remove(w)
	if gone {
		l.counts.shadowRejected++
		return
	}
	l.counts.rejected++
	w.over(policy.Ticket{}, l.rejection(reason, turn))
}
