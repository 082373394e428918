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

// waiter is a call that waits for its next attempt, and hears when the breaker opens.
type waiter struct {
	until float64
	end   func(failed bool)
	over  bool
}

// Order is a retry of 3 attempts around or inside a breaker. Attempts take Exp(10 ms) and fail with probability p; the
// waits are U(0, delay) and U(0, 2 · delay). The breaker opens when the threshold of the last 100, 20 at least, have failed.
// A blind retry takes a refusal for a failure; one that is not blind ends the call, also while it waits.
func Order(s OrderSetup, repeats int) Ordered {
	p, outside, blind := s.P, s.Outside, s.Blind
	var run func(r *rand.Rand) []float64
	run = func(r *rand.Rand) []float64 {
		var l loop
		w := window{size: 100, minimum: 20, share: s.Threshold}
		open, half, generation := -1.0, false, 0
		calls, attempts, good, refused, took, trips, before := 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
		var waiting []*waiter
		admit := func() (of int, ok bool) {
			if open >= 0 {
				if l.now < open+s.Open {
					return 0, false
				}
				open, half = -1, true
				generation++
				return generation, true // the probe
			}
			return generation, !half
		}
		settle := func(of int, failed bool) {
			switch {
			case of != generation:
			case half:
				half = false
				generation++
				if failed {
					open = l.now
				} else {
					w.clear()
				}
			case w.trips(failed):
				if trips++; trips == 1 {
					before = attempts
				}
				generation++
				open = l.now
				for _, w := range waiting {
					if !w.over && w.until < l.now+s.Open { // it would be refused then
						w.over = true
						w.end(true)
					}
				}
				waiting = nil
			}
		}
		attempt := func(ended func(failed bool)) {
			attempts++
			l.after(r.ExpFloat64()/100, func() { ended(r.Float64() < p) })
		}
		call := func() {
			calls++
			began := l.now
			end := func(failed bool) {
				if !failed {
					good++
				}
				took += l.now - began
			}
			var try func(number int)
			again := func(number int) {
				if number == 3 {
					end(true)
					return
				}
				wait := r.Float64() * s.Delay * float64(number)
				w := &waiter{until: l.now + wait, end: end}
				if !outside && !blind {
					if len(waiting) > 0 && waiting[0].until < l.now {
						waiting = slices.DeleteFunc(waiting, func(w *waiter) bool { return w.until < l.now })
					}
					waiting = append(waiting, w)
				}
				l.after(wait, func() {
					if !w.over {
						w.over = true
						try(number + 1)
					}
				})
			}
			if outside {
				of, ok := admit()
				if !ok {
					refused++
					end(true)
					return
				}
				last := end
				end = func(failed bool) { settle(of, failed); last(failed) }
				try = func(number int) {
					attempt(func(failed bool) {
						if failed {
							again(number)
						} else {
							end(false)
						}
					})
				}
				try(1)
				return
			}
			try = func(number int) {
				of, ok := admit()
				switch {
				case ok:
					attempt(func(failed bool) {
						settle(of, failed)
						switch {
						case !failed:
							end(false)
						case !blind && number < 3 && (open >= 0 || half):
							end(true) // it asks before it waits, and is not refused
						default:
							again(number)
						}
					})
				case blind:
					refused++
					again(number)
				default:
					if number == 1 { // later ones have been told while they waited
						refused++
					}
					end(true)
				}
			}
			try(1)
		}
		l.arrivals(r, s.Rate, s.Seconds, call)
		l.run()
		if s.Calm && trips > 0 {
			return run(r)
		}
		return []float64{attempts / calls, good / calls, refused / calls, took / calls, trips, before}
	}
	numbers := runs(repeats, run)
	return Ordered{numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]}
}
