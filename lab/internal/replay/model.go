package replay

import (
	"math/rand/v2"
	"sort"
	"time"

	"github.com/go-resilience/resilience/lab/internal/sim"
)

// Model is a guess of how the dependency would have answered.
type Model struct {
	Name  string
	Words string // what it takes for granted

	begin func(l *Log, w *sim.World, t *tally) backend
}

// backend answers an attempt: the nth of a call that entered the operation, from 1.
type backend func(a *sim.Actor, call, nth int) error

// tally counts what a model had to make up.
type tally struct {
	imputed int // ends of attempts that were cut short when they were recorded
}

// Trace takes failures and slowness to belong to the time: further attempts meet what a random one of the attempts around
// that moment met.
func Trace() Model {
	return Model{Name: "trace", Words: "failures belong to the moment; load changes nothing", begin: func(l *Log, _ *sim.World, t *tally) backend {
		return func(a *sim.Actor, call, nth int) error {
			if i := l.own(call, nth); i >= 0 && (nth == 1 || l.attempts[i].at == a.Now()) {
				return l.meet(a, i, t)
			}
			return l.meet(a, l.draw(a), t)
		}
	}}
}

// cutFails is Trace for a dependency of which nothing is heard any more where an attempt was cut short.
func cutFails() Model {
	return Model{Name: "trace, cut is lost", Words: "what was cut short would never have ended well", begin: func(l *Log, _ *sim.World, _ *tally) backend {
		return func(a *sim.Actor, call, nth int) error {
			i := l.own(call, nth)
			if i < 0 || nth > 1 && l.attempts[i].at != a.Now() {
				i = l.draw(a)
			}
			return l.answer(a, &l.attempts[i], 0)
		}
	}}
}

// CallBound takes failures and slowness to belong to the call: its further attempts meet what its first one met.
func CallBound() Model {
	return Model{Name: "call-bound", Words: "failures belong to their calls: a retry meets the same answer again", begin: func(l *Log, _ *sim.World, t *tally) backend {
		return func(a *sim.Actor, call, nth int) error {
			if i := l.own(call, 1); i >= 0 {
				return l.meet(a, i, t)
			}
			return l.meet(a, l.draw(a), t)
		}
	}}
}

// own returns the nth recorded attempt of a call, -1 if there was none.
func (l *Log) own(call, nth int) int {
	i := l.calls[call].first
	for ; nth > 1 && i >= 0; nth-- {
		i = l.attempts[i].next
	}
	return int(i)
}

// meet lets an attempt meet what a recorded one met.
func (l *Log) meet(a *sim.Actor, i int, t *tally) error {
	r := &l.attempts[i]
	if r.cut == byPolicy {
		return l.goOn(a, r, t)
	}
	return l.answer(a, r, 0)
}

// answer waits for the answer that a recorded attempt got, of which some time has passed.
func (l *Log) answer(a *sim.Actor, r *attempt, passed time.Duration) error {
	if err := a.Sleep(r.took - passed); err != nil {
		return err
	}
	return l.failures[r.outcome]
}

// goOn is meet for an attempt that a policy had cut short. A policy that does so again ends it by then. Otherwise it goes on
// like one of those around that took longer.
func (l *Log) goOn(a *sim.Actor, r *attempt, t *tally) error {
	if err := a.Sleep(r.took + 1); err != nil {
		return err
	}
	t.imputed++
	if longer := l.longer(a, r); longer != nil {
		return l.answer(a, longer, r.took+1)
	}
	return l.failures[r.outcome]
}

// longer draws one of the attempts around that took longer than one that was cut short, nil if there was none.
func (l *Log) longer(a *sim.Actor, r *attempt) *attempt {
	lo, hi := l.near(r.at, 400, 5*time.Second)
	var found []int
	for i := lo; i < hi; i++ {
		if n := &l.attempts[i]; n.cut == whole && n.took > r.took {
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return &l.attempts[found[a.Rand("longer").IntN(len(found))]]
}

// The attempts around a moment that further attempts draw from: so many, and from no further than so far if there are half
// as many. Windows of a fixed width average over what changes fast where there is much, and are empty where there is little.
const (
	neighbours = 40
	halfSecond = 500 * time.Millisecond
)

// draw returns one of the attempts that began around now.
func (l *Log) draw(a *sim.Actor) int { return l.drawBy(a.Rand("draw"), a.Now()) }

func (l *Log) drawBy(r *rand.Rand, now time.Duration) int {
	lo, hi := l.near(now, neighbours, halfSecond)
	return lo + r.IntN(hi-lo)
}

// near returns the n attempts that began nearest to a moment, fewer of them where they are further away than far and there
// are half as many.
func (l *Log) near(at time.Duration, n int, far time.Duration) (lo, hi int) {
	lo = sort.Search(len(l.attempts), func(i int) bool { return l.attempts[i].at >= at })
	hi = lo
	for hi-lo < n && (lo > 0 || hi < len(l.attempts)) {
		var away time.Duration
		if hi == len(l.attempts) || lo > 0 && at-l.attempts[lo-1].at < l.attempts[hi].at-at {
			away = at - l.attempts[lo-1].at
			if away > far && hi-lo > n/2 {
				break
			}
			lo--
		} else {
			away = l.attempts[hi].at - at
			if away > far && hi-lo > n/2 {
				break
			}
			hi++
		}
	}
	return lo, hi
}

// NewModel is a model of one's own, such as the true dependency where that is known. begin is called in the world.
func NewModel(name string, begin func(w *sim.World) func(a *sim.Actor, call, nth int) error) Model {
	return Model{Name: name, begin: func(_ *Log, w *sim.World, _ *tally) backend { return begin(w) }}
}
