package reference

import (
	"math/rand/v2"
	"slices"
)

// window is a breaker's memory of its last calls, by count.
type window struct {
	size, minimum int
	share         float64
	outcomes      []bool // failures
	failures      int
}

// trips notes an outcome and reports whether the breaker opens. It asks only after a failure.
func (w *window) trips(failed bool) bool {
	w.outcomes = append(w.outcomes, failed)
	if failed {
		w.failures++
	}
	if len(w.outcomes) > w.size {
		if w.outcomes[0] {
			w.failures--
		}
		w.outcomes = w.outcomes[1:]
	}
	return failed && len(w.outcomes) >= w.minimum && float64(w.failures) >= w.share*float64(len(w.outcomes))-1e-9
}

func (w *window) clear() { w.outcomes, w.failures = nil, 0 }

// CallsToTrip is the mean number of calls until share of the last n have failed, one after the other.
func CallsToTrip(n int, share, p float64, trips int) Number {
	return runs(trips, func(r *rand.Rand) []float64 {
		w := window{size: n, minimum: n, share: share}
		for calls := 1.0; ; calls++ {
			if w.trips(r.Float64() < p) {
				return []float64{calls}
			}
		}
	})[0]
}

// Lag is how late a breaker notices a recovery, and how many attempts it has sent into an outage of a minute and a part of
// one period of probing: in a run, the means over so many ends of the outage that are evenly spread over a period. Calls
// come at a rate and take some latency; trip failures in a row open the circuit for some time, after which one call at a
// time is let through.
func Lag(open, rate, latency float64, trip, phases, repeats int) (lag, dead Number) {
	numbers := runs(repeats, func(r *rand.Rand) []float64 {
		lags, sent := 0.0, 0.0
		for phase := range phases {
			end := 60 + (float64(phase)+.5)/float64(phases)*(open+1/rate+latency)
			now := 0.0
			for range trip {
				now += r.ExpFloat64() / rate
				sent++
			}
			tripped := now + latency // when the last of them has returned; what comes meanwhile is let through too
			for now += r.ExpFloat64() / rate; now < tripped; now += r.ExpFloat64() / rate {
				sent++
			}
			probe := tripped + open + r.ExpFloat64()/rate
			for ; probe < end; probe += latency + open + r.ExpFloat64()/rate {
				sent++
			}
			lags += probe + latency - end
		}
		return []float64{lags / float64(phases), sent / float64(phases)}
	})
	return numbers[0], numbers[1]
}

// OneBreaker is what one breaker around several shards, of which a share is dead, lets succeed, as a share, and how often it
// trips per second. Calls take no time. The window is 100 calls, 20 at least.
func OneBreaker(share, rate, dead, opens, seconds float64, repeats int) (available, trips Number) {
	numbers := runs(repeats, func(r *rand.Rand) []float64 {
		w := window{size: 100, minimum: 20, share: share}
		now, open, half := 0.0, -1.0, false
		calls, good, tripped := 0.0, 0.0, 0.0
		for {
			if now += r.ExpFloat64() / rate; now >= seconds {
				return []float64{good / calls, tripped / seconds}
			}
			calls++
			if open >= 0 {
				if now < open+opens {
					continue
				}
				open, half = -1, true
			}
			failed := r.Float64() < dead
			if !failed {
				good++
			}
			switch {
			case half && failed:
				open = now
			case half:
				w.clear()
			case w.trips(failed):
				tripped++
				open = now
			}
			half = false
		}
	})
	return numbers[0], numbers[1]
}

// OrderSetup is the experiment of [Order].
type OrderSetup struct {
	P, Rate, Seconds, Threshold, Open, Delay float64 // share that fails, calls per second; s
	Outside, Blind                           bool
	Calm                                     bool // only runs in which the breaker never opens count
}

// Ordered is what [Order] measures, per call except for Trips and BeforeTrip, which are per run.
type Ordered struct{ Attempts, Success, Rejections, Latency, Trips, BeforeTrip Number }

// ordering is a run of [Order].
type ordering struct {
	OrderSetup
	loop
	r       *rand.Rand
	w       window
	open    float64 // since when; negative: it is not
	half    bool
	period  int // what began in another one does not count
	waiting []*waiter

	calls, attempts, good, refused, took, trips, before float64
}

// orderedCall is a call of it.
type orderedCall struct {
	*ordering
	began   float64
	number  int // of the attempt
	period  int // in which it, or the attempt, was let through
	attempt func()
}

// waiter is a call that waits for its next attempt, and hears when the breaker opens.
type waiter struct {
	call  *orderedCall
	until float64
	over  bool
}

func (o *ordering) admit() (period int, ok bool) {
	if o.open >= 0 {
		if o.now < o.open+o.Open {
			return 0, false
		}
		o.open, o.half = -1, true
		o.period++
		return o.period, true // the probe
	}
	return o.period, !o.half
}

func (o *ordering) settle(period int, failed bool) {
	switch {
	case period != o.period:
	case o.half:
		o.half = false
		o.period++
		if failed {
			o.open = o.now
		} else {
			o.w.clear()
		}
	case o.w.trips(failed):
		if o.trips++; o.trips == 1 {
			o.before = o.attempts
		}
		o.period++
		o.open = o.now
		for _, w := range o.waiting {
			if !w.over && w.until < o.now+o.Open { // it would be refused then
				w.over = true
				w.call.end(true)
			}
		}
		o.waiting = nil
	}
}

// come is a call that comes.
func (o *ordering) come() {
	o.calls++
	c := &orderedCall{ordering: o, began: o.now, number: 1}
	c.attempt = func() { c.attempted(o.r.Float64() < o.P) }
	if !o.Outside {
		c.try()
		return
	}
	var ok bool
	if c.period, ok = o.admit(); !ok {
		o.refused++
		c.ended(true)
		return
	}
	c.send()
}

func (c *orderedCall) send() {
	c.attempts++
	c.after(c.r.ExpFloat64()/100, c.attempt)
}

// try makes an attempt that the breaker is asked about.
func (c *orderedCall) try() {
	var ok bool
	c.period, ok = c.admit()
	switch {
	case ok:
		c.send()
	case c.Blind:
		c.refused++
		c.again()
	default:
		if c.number == 1 { // later ones have been told while they waited
			c.refused++
		}
		c.end(true)
	}
}

func (c *orderedCall) attempted(failed bool) {
	if !c.Outside {
		c.settle(c.period, failed)
	}
	switch {
	case !failed:
		c.end(false)
	case !c.Outside && !c.Blind && c.number < 3 && (c.open >= 0 || c.half):
		c.end(true) // it asks before it waits, and is not refused
	default:
		c.again()
	}
}

func (c *orderedCall) again() {
	if c.number == 3 {
		c.end(true)
		return
	}
	wait := c.r.Float64() * c.Delay * float64(c.number)
	if c.Outside || c.Blind {
		c.number++
		c.after(wait, c.next)
		return
	}
	w := &waiter{call: c, until: c.now + wait}
	if len(c.waiting) > 0 && c.waiting[0].until < c.now {
		c.waiting = slices.DeleteFunc(c.waiting, func(w *waiter) bool { return w.until < c.now })
	}
	c.waiting = append(c.waiting, w)
	c.after(wait, func() {
		if !w.over {
			w.over = true
			c.number++
			c.try()
		}
	})
}

// next makes the attempt after a wait.
func (c *orderedCall) next() {
	if c.Outside {
		c.send()
	} else {
		c.try()
	}
}

// end ends the call, and what the breaker has seen of it.
func (c *orderedCall) end(failed bool) {
	if c.Outside {
		c.settle(c.period, failed)
	}
	c.ended(failed)
}

func (c *orderedCall) ended(failed bool) {
	if !failed {
		c.good++
	}
	c.took += c.now - c.began
}

// Order is a retry of 3 attempts around or inside a breaker. Attempts take Exp(10 ms) and fail with probability p; the
// waits are U(0, delay) and U(0, 2 · delay). The breaker opens when the threshold of the last 100, 20 at least, have failed.
// A blind retry takes a refusal for a failure; one that is not blind ends the call, also while it waits.
func Order(s OrderSetup, repeats int) Ordered {
	run := func(r *rand.Rand) []float64 {
		for {
			o := &ordering{OrderSetup: s, r: r, w: window{size: 100, minimum: 20, share: s.Threshold}, open: -1}
			o.arrivals(r, s.Rate, s.Seconds, o.come)
			o.run()
			if !s.Calm || o.trips == 0 {
				return []float64{o.attempts / o.calls, o.good / o.calls, o.refused / o.calls, o.took / o.calls, o.trips, o.before}
			}
		}
	}
	numbers := runs(repeats, run)
	return Ordered{numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]}
}
