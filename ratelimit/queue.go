package ratelimit

import (
	"container/list"
	"context"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// queue is those who wait for tokens, in the order in which they came. Only the first has a timer. The limiter's
// mutex guards it. It is nil where nobody may wait.
type queue struct {
	maxWait    time.Duration
	maxWaiters int

	waiters list.List // of *waiter
	owed    int       // what all of them cost
	timed   *waiter   // the first, once it has set its timer for the present plan
	peak    int
}

// waiter is an attempt in the queue.
type waiter struct {
	cost    int
	latest  time.Duration // it does not want to wait beyond
	element *list.Element
	news    chan struct{} // holds one token: look again, something has changed
	granted bool          // it has its tokens
	taken   int           // these
	refused *policy.Rejection
}

func (q *queue) len() int {
	if q == nil {
		return 0
	}
	return q.waiters.Len()
}

func (q *queue) first() *waiter {
	if q.len() == 0 {
		return nil
	}
	return q.waiters.Front().Value.(*waiter)
}

func (q *queue) push(cost int, latest time.Duration) *waiter {
	w := &waiter{cost: cost, latest: latest, news: make(chan struct{}, 1)}
	w.element = q.waiters.PushBack(w)
	q.owed += cost
	q.peak = max(q.peak, q.len())
	return w
}

func (q *queue) remove(w *waiter) {
	if w.element != nil {
		q.waiters.Remove(w.element)
		w.element = nil
		q.owed -= w.cost
	}
}

func (w *waiter) wake() {
	select {
	case w.news <- struct{}{}:
	default: // it will look again anyway
	}
}

// await waits until w is granted or refused, or ctx ends. It returns the tokens that were taken.
func (l *Limiter) await(ctx context.Context, w *waiter) (taken int, err error) {
	var timer *time.Timer
	var turn <-chan time.Time // nil as long as w is not the first
	for {
		wait, over, err := l.look(w, policy.ContextError(ctx))
		if over {
			return w.taken, err
		}
		switch {
		case wait <= 0:
		case timer == nil:
			timer = time.NewTimer(wait)
			defer timer.Stop()
			turn = timer.C
		default:
			timer.Reset(wait)
		}
		select {
		case <-w.news:
		case <-turn:
		case <-ctx.Done():
		}
	}
}

// look tells w how things stand: its wait is over, or it is the first and has to set a timer for wait, or it waits
// for news. ended is not nil when its context has ended: then it takes nothing, even if its tokens were granted in the
// same moment.
func (l *Limiter) look(w *waiter, ended error) (wait time.Duration, over bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bucket.advance(l.bucket.clock.Elapsed())
	l.grant()
	switch {
	case ended != nil && w.granted:
		if w.taken > 0 {
			l.giveBack(w.taken)
		}
		return 0, true, ended
	case ended != nil:
		l.queue.remove(w)
		l.grant()
		return 0, true, ended
	case w.granted:
		return 0, true, nil
	case w.refused != nil:
		return 0, true, w.refused
	case w != l.queue.first():
		return 0, false, nil
	}
	l.queue.timed = w
	turn, _ := l.bucket.turn(w.cost) // never "never": such waiters are refused when that becomes true
	return turn - l.bucket.now, false, nil
}

// grant gives tokens to those who wait, in order, as far as there are any, and sees to it that the first of the
// others has a timer.
func (l *Limiter) grant() {
	first := l.queue.first()
	for ; first != nil && l.bucket.take(first.cost); first = l.queue.first() {
		l.queue.remove(first)
		l.counts.admitted++
		first.granted, first.taken = true, l.bucket.taken(first.cost)
		first.wake()
	}
	if first != nil && first != l.queue.timed {
		first.wake()
	}
}

// giveBack returns tokens that were not used, and grants them to those who wait.
func (l *Limiter) giveBack(n int) {
	l.counts.returned++
	l.bucket.giveBack(n)
	l.retime()
}

// retime grants what is there after the plan has changed, and lets the first set its timer anew.
func (l *Limiter) retime() {
	if l.queue != nil {
		l.queue.timed = nil
		l.grant()
	}
}

// dismiss refuses those who wait and whose turn, after a change of rate or burst, comes too late or never.
func (l *Limiter) dismiss() {
	if l.queue == nil {
		return
	}
	owed := 0
	for element := l.queue.waiters.Front(); element != nil; {
		w := element.Value.(*waiter)
		element = element.Next()
		turn, reason := l.turn(owed, w.cost)
		if reason == nil && turn <= w.latest {
			owed += w.cost
			continue
		}
		if reason == nil {
			reason = errMaxWait
		}
		l.queue.remove(w)
		w.refused = l.refuse(reason, turn)
		w.wake()
	}
}
