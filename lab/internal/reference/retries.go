package reference

import (
	"math"
	"math/rand/v2"
)

// SharedBudget is the attempts per call of layers of up to n attempts each, all of which fail, that share one budget:
// one token to begin with, a share of one for each call of each layer whose first attempt has ended; a retry takes one.
func SharedBudget(layers, n int, ratio float64, calls int) float64 {
	tokens, attempts := 1.0, 0
	var call func(layer int)
	call = func(layer int) {
		if layer == 0 {
			attempts++
			return
		}
		call(layer - 1)
		tokens += ratio
		for range n - 1 {
			if tokens < 1-1e-9 {
				return
			}
			tokens--
			call(layer - 1)
		}
	}
	for range calls {
		call(layers)
	}
	return float64(attempts) / float64(calls)
}

// Budgeted is the share of calls that succeed and the attempts per call of clients with 10 calls a second each for 20 s.
// An attempt takes Exp(10 ms) twice and fails with probability p. Up to n attempts are made; a rule of each client decides
// about retries. A run is so many clients.
func Budgeted(p float64, n, clients int, perClient float64, rule func(now func() float64) Rule) (success, load Number) {
	numbers := runs(max(8, 240/clients), func(r *rand.Rand) []float64 {
		calls, good, attempts := 0.0, 0.0, 0.0
		for range clients {
			var l loop
			rule := rule(func() float64 { return l.now })
			var attempt func(number int)
			attempt = func(number int) {
				attempts++
				l.after((r.ExpFloat64()+r.ExpFloat64())/100, func() {
					failed := r.Float64() < p
					rule.Ended(number > 1, failed)
					switch {
					case !failed:
						good++
					case number < n && rule.Again():
						attempt(number + 1)
					}
				})
			}
			l.arrivals(r, perClient, 20, func() {
				calls++
				rule.First()
				attempt(1)
			})
			l.run()
		}
		return []float64{good / calls, attempts / calls}
	})
	success, load = numbers[0], numbers[1]
	if p > 0 && p < 1 { // calls that fail in the end, or that are retried, may be so rare that none was seen
		success.Grain = 1 / (float64(clients) * perClient * 20)
		if n > 1 {
			load.Grain = success.Grain
		}
	}
	return success, load
}

// Rule decides about retries.
type Rule struct {
	First func()
	Again func() bool
	Ended func(retry, failed bool)
}

// Always allows every retry.
func Always(func() float64) Rule {
	return Rule{func() {}, func() bool { return true }, func(bool, bool) {}}
}

// Never allows none.
func Never(func() float64) Rule {
	return Rule{func() {}, func() bool { return false }, func(bool, bool) {}}
}

// Bucket fills by a share of a token for each call; a retry needs more than some tokens and takes cost, which a retry
// that succeeds gives back.
func Bucket(size, share, needs, cost, refund float64) func(now func() float64) Rule {
	return func(func() float64) Rule {
		tokens := size
		return Rule{func() { tokens = math.Min(size, tokens+share) }, func() bool {
			if tokens <= needs {
				return false
			}
			tokens -= cost
			return true
		}, func(retry, failed bool) {
			if retry && !failed {
				tokens = math.Min(size, tokens+refund)
			}
		}}
	}
}

// Earned is tokens that calls and time bring, of the last 10 s; to begin with there are those of 10 s, or one.
func Earned(ratio, perSecond float64) func(now func() float64) Rule {
	return func(now func() float64) Rule {
		reserve, most := math.Max(1, 10*perSecond), math.Max(1, 10*perSecond)
		var deposits []float64 // when each was made
		last, left := 0.0, 0.0
		return Rule{func() {}, func() bool {
			reserve = math.Min(most, reserve+(now()-last)*perSecond)
			last = now()
			for len(deposits) > 0 && deposits[0] < last-10 {
				deposits, left = deposits[1:], 0
			}
			have := left + ratio*float64(len(deposits))
			if have+reserve < 1-1e-9 {
				return false
			}
			for need := 1.0; need > 1e-9; {
				switch {
				case left >= need:
					left -= need
					need = 0
				case len(deposits) > 0:
					need -= left
					deposits, left = deposits[1:], ratio
				default:
					reserve -= need - left
					left, need = 0, 0
				}
			}
			return true
		}, func(retry, _ bool) {
			if !retry {
				deposits = append(deposits, now())
			}
		}}
	}
}

// Tokens fall by one with each failure and rise by ratio with each success; there are retries while more than half of
// them are left.
func Tokens(size, ratio float64) func(now func() float64) Rule {
	return func(func() float64) Rule {
		tokens := size
		return Rule{func() {}, func() bool { return tokens > size/2 }, func(_, failed bool) {
			if failed {
				tokens = math.Max(0, tokens-1)
			} else {
				tokens = math.Min(size, tokens+ratio)
			}
		}}
	}
}

// Counter allows retries while failed attempts are at most a share of the calls, counted since the start.
func Counter(share float64) func(now func() float64) Rule {
	return func(func() float64) Rule {
		calls, failures := 0.0, 0.0
		return Rule{func() { calls++ }, func() bool { return failures <= share*calls }, func(_, failed bool) {
			if failed {
				failures++
			}
		}}
	}
}

// Backoff is how long a client of [Contend] waits after its failures, in seconds. number counts them; last is the wait
// before, 0 at first.
type Backoff func(r *rand.Rand, number int, last float64) float64

// Contend is n clients who each want to update one row: the writes that they make, and the seconds until the last is done.
func Contend(n, repeats int, backoff Backoff) (attempts, seconds Number) {
	numbers := runs(repeats, func(r *rand.Rand) []float64 {
		var l loop
		hop := func() float64 { return math.Abs(.010 + .002*r.NormFloat64()) }
		version, writes := 0, 0.0
		var try func(failures int, last float64)
		try = func(failures int, last float64) {
			l.after(hop(), func() {
				read := version
				l.after(hop()+hop(), func() {
					writes++
					won := version == read
					if won {
						version++
					}
					l.after(hop(), func() {
						if !won {
							wait := backoff(r, failures+1, last)
							l.after(wait, func() { try(failures+1, wait) })
						}
					})
				})
			})
		}
		for range n {
			try(0, 0)
		}
		l.run()
		return []float64{writes, l.now}
	})
	return numbers[0], numbers[1]
}

// Serial is the attempts and the successes per second of one client with one call at a time, for 20 s. An attempt takes
// Exp(10 ms) twice and fails with probability p; there are up to n, after a first delay that then doubles. The next call
// comes at the time at which it would have come by itself, rate a second, or when the last has ended. With pauses, it comes
// that much after the last, and 2^j mean distances later after j+1 calls in a row have failed.
func Serial(p, rate, first float64, n int, pauses bool) (attempts, goodput Number) {
	const horizon = 20
	numbers := runs(1000, func(r *rand.Rand) []float64 {
		now, next, failures, tries, good := 0.0, 0.0, 0.0, 0.0, 0.0
		for {
			if pauses {
				now += r.ExpFloat64() / rate
				if failures > 0 {
					now += math.Pow(2, failures-1) / rate
				}
			} else {
				next = math.Max(now, next+r.ExpFloat64()/rate)
				now = next
			}
			if now >= horizon {
				return []float64{tries / horizon, good / horizon}
			}
			failures++
			for i := range n {
				if i > 0 {
					now += first * math.Pow(2, float64(i-1))
				}
				tries++
				now += (r.ExpFloat64() + r.ExpFloat64()) / 100
				if r.Float64() >= p {
					good++
					failures = 0
					break
				}
			}
		}
	})
	return numbers[0], numbers[1]
}
