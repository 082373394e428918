package ratelimit

import (
	"context"
	"math"
	"time"

	"github.com/go-resilience/resilience/internal/saturate"
	"github.com/go-resilience/resilience/policy"
)

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
// error, the attempt may begin: with its tokens, or in shadow. A zero deadline is none.
func (l *Limiter) join(cost int, deadline time.Time, mayWait bool) (waits *waiter, ticket policy.Ticket, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ticket, ok := l.take(cost)
	if ok {
		return nil, ticket, nil
	}
	w := waiter{cost: cost, came: l.bucket.now, deadline: math.MaxInt64}
	if !deadline.IsZero() { // a token at the deadline is too late
		w.deadline = saturate.Add(w.came, max(0, deadline.Sub(l.bucket.clock.Time(w.came)))) - 1
	}
	until, reason := l.judge(&w, l.queue.line(), mayWait)
	switch {
	case reason == nil:
		return l.place(w), policy.Ticket{}, nil
	case l.shadow:
		l.counts.shadowRejected++
		return nil, policy.Ticket{}, nil
	}
	l.counts.rejected++
	return nil, policy.Ticket{}, l.rejection(reason, until)
}

// judge says whether w has a place in the queue, behind those that are ahead. If not, it returns why, and when there will be
// one for an attempt that comes then: 0 for never. It is asked about newcomers, and again, by dismiss, about those that wait.
func (l *Limiter) judge(w *waiter, ahead line, mayWait bool) (until time.Duration, reason error) {
	c := l.config.Load()
	turn, never := l.bucket.turn(ahead.owed, w.cost)
	latest, lead, tooLate := w.lastChance(c.maxWait)
	comeBack := max(l.bucket.now, turn-lead)
	switch {
	case never != nil:
		return 0, never
	case !mayWait:
		return turn, ErrLimited
	case ahead.length >= c.maxWaiters || ahead.owed > MaxBurst:
		first, _ := l.bucket.turn(0, l.queue.first().cost) // when the first leaves its place
		return max(comeBack, first), ErrQueueFull
	case turn > latest:
		return comeBack, tooLate
	}
	return 0, nil
}

// lastChance returns the latest turn that w can use, and why a later one is tooLate. It also returns how long before a turn
// another attempt can come and wait for it: as long as MaxWait allows. Of a deadline nothing is known, since another attempt has
// another one: so it should come at the turn.
func (w *waiter) lastChance(maxWait time.Duration) (latest, lead time.Duration, tooLate error) {
	if byMaxWait := saturate.Add(w.came, maxWait); byMaxWait <= w.deadline {
		return byMaxWait, maxWait, ErrMaxWait
	}
	return w.deadline, 0, ErrDeadline
}

// place puts a newcomer at the end of the queue. In shadow mode nothing waits: it is a shadow.
func (l *Limiter) place(w waiter) (waits *waiter) {
	if l.shadow {
		l.queue.push(&w, &l.queue.shadows)
		return nil
	}
	w.news = make(chan struct{}, 1)
	l.queue.push(&w, &l.queue.waiters)
	return &w
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
// first of those that wait and sets a timer too: for the turn of the first in the queue, which may be a shadow. That turn is
// never now: lock has granted whatever is due. So 0 can stand for no timer.
func (l *Limiter) look(w *waiter) (end *end, wait time.Duration) {
	l.lock()
	defer l.mu.Unlock()
	if w.end != nil || w != front(&l.queue.waiters) {
		return w.end, 0
	}
	l.queue.timed = w
	turn, _ := l.bucket.turn(0, l.queue.first().cost) // not never: such attempts are refused
	return nil, turn - l.bucket.now
}

// grant gives tokens to the attempts in the queue, in order, as far as there are tokens. The first that then waits is woken to
// set its timer, if it has none.
func (l *Limiter) grant() {
	for l.queue.len() > 0 && l.grantFirst() {
	}
	if w := front(&l.queue.waiters); w != nil && w != l.queue.timed {
		w.wake()
	}
}

// grantFirst gives the first in the queue its tokens, if they are there, and lets it go.
func (l *Limiter) grantFirst() bool {
	w := l.queue.first()
	number, ok := l.bucket.take(w.cost)
	if ok {
		l.queue.remove(w)
		l.counts.admitted++
		w.over(ticketOf(number, w.cost), nil)
	}
	return ok
}

// serveShadows lets the shadows take the tokens that have come in for them until now, each at its own turn, as if it had
// waited: in between the bucket does not overflow. Those that wait are not served so; they begin now, and only as many as the
// bucket has tokens for.
func (l *Limiter) serveShadows(now time.Duration) {
	for w := front(&l.queue.shadows); w != nil; w = front(&l.queue.shadows) { // which is the first of the queue
		turn, never := l.bucket.turn(0, w.cost)
		if never != nil || turn > now {
			return
		}
		l.bucket.moveTo(turn)
		if !l.grantFirst() {
			return
		}
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
	var ahead line
	for _, w := range l.queue.all() {
		l.grant() // what the one before it has left, if that was refused: whoever can begin now need not wait
		if w.in == nil {
			continue
		}
		if until, reason := l.judge(w, ahead, true); reason != nil {
			l.refuse(w, reason, until)
			continue
		}
		ahead.length++
		ahead.owed += w.cost
	}
}

// refuse takes w out of the queue, which has no room for it any more. The attempt of a shadow was made.
func (l *Limiter) refuse(w *waiter, reason error, until time.Duration) {
	isShadow := w.in == &l.queue.shadows
	l.queue.remove(w)
	if isShadow {
		l.counts.shadowRejected++
		return
	}
	l.counts.rejected++
	w.over(policy.Ticket{}, l.rejection(reason, until))
}
