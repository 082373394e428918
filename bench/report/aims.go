package main

import (
	"fmt"
	"strings"
)

// aim is something that the library wants to reach.
type aim struct {
	work string // what is done, as the reader sees it
	text string // what is wanted
	// check measures it: what was found, and whether that is enough.
	check func(*results) (found string, met bool)
	why   string // the reason, if it is not enough and the reason is known
}

// because adds the reason why an aim may not be met.
func (a aim) because(why string) aim {
	a.why = why
	return a
}

const ours = "resilience"

func work(name, subject, mode string) string { return "Work/" + name + "/" + subject + "/" + mode }

func aims() []aim {
	four, six := "four policies", "six policies, the operation waits for its context"
	consecutive, window := "breaker, consecutive failures, closed", "breaker, time window, closed"
	open, keyed := "breaker, open", "limiter per key, 100,000 keys"
	slots := "bulkhead, `Admit` and `Settle` alone"
	const (
		swaps = "two compare-and-swaps on the same word, alone, take four fifths of it (10.4 of 13.0 ns on 25 November)"

		noise = "the rounds are on both sides: the machine's two processors are shared"
		sides = noise + ", and where all goroutines want the same lines of memory that decides"

		mutex = "64 goroutines per core wait for one another at the mutex of the limiter, which alone takes most of the time " +
			"(see the limiter, admitted); glued by hand, only x/time/rate does"

		perKeyClock = "reading the clock, hashing the key and one compare-and-swap, the least that such a limiter can do, take two thirds of it (299 of 459 ns of a " +
			"processor's time on 28 November), most of that for misses of the caches; the rounds are on both sides"

		perKeyDo = "through `Do` even the least that such a limiter can do, reading the clock, hashing the key and one compare-and-swap, takes 0.57 of the peer's time " +
			"serially (0.32 without `Do`) and 0.50 with a goroutine per core, in processor time on 28 November, where ours takes 0.67 and 0.69: the instructions of " +
			"the engine, which the peer does not have, keep a processor from beginning with the next key while it waits for the memory of this one"

		locks = "the peer has no engine, and one lock where the limiter has two: its own, and inside of it that of x/time/rate"

		memory = "each call waits for one place in memory after the other: the caller's key, the table, the entry, the key that is kept and two lines of the limiter, " +
			"of which the map needs one less and touches a third less in all; half of its time is what two or three of these steps take alone. " +
			"The reading of the clock and the lock keep a processor from beginning with the next call meanwhile"
	)
	return []aim{
		atMost(six, "six-waiting", "failsafe-go", "serial", "1/2", 1.0/2).because(noise),
		atMost(six, "six-waiting", "failsafe-go", "contended", "1/2", 1.0/2),
		atMost(six, "six-waiting", "by-hand", "serial", "1", 1),
		atMost(six, "six-waiting", "by-hand", "contended", "1", 1).because(sides),
		atMost(four, "four", "failsafe-go-fixed-context", "serial", "1/6", 1.0/6),
		atMost(four, "four", "failsafe-go-fixed-context", "contended", "1/6", 1.0/6).because(mutex),
		atMost(four, "four", "by-hand", "serial", "0.4", 0.4).because("of its some 1,800 instructions almost half are the limiter's"),
		atMost(four, "four", "by-hand", "contended", "0.4", 0.4).because(mutex),
		allocations(four, "four", 0),
		atMost(consecutive, "breaker-consecutive", "gobreaker", "serial", "1/5", 1.0/5).because("two calls through interfaces, an atomic load and an atomic addition, and the engine, which the peer does not have; the rounds are near the aim on both sides"),
		atMost(consecutive, "breaker-consecutive", "gobreaker", "contended", "1/10", 1.0/10).because(sides),
		atMost(window, "breaker-time-window", "gobreaker", "serial", "1/2", 1.0/2).because(noise),
		atMost(window, "breaker-time-window", "gobreaker", "contended", "1/4", 1.0/4),
		atMost(open, "breaker-open", "gobreaker", "serial", "1", 1),
		atMost(open, "breaker-open", "gobreaker", "contended", "1", 1),
		allocations(open, "breaker-open", 0),
		above("retry, first attempt succeeds", work("retry-first-attempt", ours, "serial"), "Floor/operation/serial", "the operation", 12).because("the atomic addition with which each call pays into the budget for retries takes 7 ns of it alone (see the row of the floor)"),
		atMost(slots, "bulkhead-alone", "x-sync-semaphore-acquire", "serial", "1/2", 1.0/2).because(swaps),
		atMost(slots, "bulkhead-alone", "x-sync-semaphore", "serial", "1/2", 1.0/2).because(swaps),
		atMost("limiter, admitted", "limiter-allow", "x-time-rate", "serial", "1.3", 1.3).because(locks),
		atMost("limiter, admitted out of the burst", "limiter-busy", "x-time-rate", "serial", "1.3", 1.3).because(locks),
		perKey(keyed+", `NewPerKey`, `Allow` alone", "resilience-per-key-allow", "serial", "0.6", 0.6).because(perKeyClock),
		perKey(keyed+", `NewPerKey`, `Allow` alone", "resilience-per-key-allow", "parallel", "0.5", 0.5).because(perKeyClock),
		perKey(keyed+", `NewPerKey`", "resilience-per-key", "serial", "0.6", 0.6).because(perKeyDo),
		perKey(keyed+", `NewPerKey`", "resilience-per-key", "parallel", "0.6", 0.6).because(perKeyDo),
		atMost(keyed, "keyed-limiter", "x-time-rate-mutex-map", "serial", "1/2", 1.0/2).because(memory),
		atMost(keyed, "keyed-limiter", "x-time-rate-mutex-map", "parallel", "1/2", 1.0/2).because(memory),
		{"retry, two failures, no delay", "at most 1/2 of the fastest peer, serial", func(r *results) (string, bool) {
			peer := fastestPeer(r, "retry-two-failures", "serial")
			ratio, low, high := r.ratio(work("retry-two-failures", ours, "serial"), work("retry-two-failures", peer, "serial"))
			return fmt.Sprintf("%.2f [%.2f to %.2f] of %s", ratio, low, high, title(peer)), ratio <= 1.0/2
		}, "the answer to a failure got richer since the aim was set. Of its some 6,100 instructions a fifth are allocations: two for each further " +
			"attempt, one for the call. A third are questions about the error: is it a refusal, permanent, of a retry inside, does it ask for a wait, " +
			"what is its class"},
		{"engine", "at most 6 ns for each guard, serial", func(r *results) (string, bool) {
			x, y := series(r, "Guards/resilience-idle/", "")
			each := slope(x, y)
			return fmt.Sprintf("%.1f ns", each), each <= 6
		}, "it is some 85 to 100 instructions for each guard: two calls through interfaces, and what Admit returns is kept for Settle"},
	}
}

// atMost wants the pipeline to take at most a share of the time of a peer.
func atMost(what, name, peer, mode, share string, limit float64) aim {
	text := fmt.Sprintf("at most %s of %s, %s", share, title(peer), modes[mode])
	return ratioAim(what, work(name, ours, mode), work(name, peer, mode), text, limit)
}

// perKey wants a limiter per key to take at most a share of the time of the fastest peer.
func perKey(what, name, mode, share string, limit float64) aim {
	return aim{what, fmt.Sprintf("at most %s of the fastest peer, %s", share, modes[mode]), func(r *results) (string, bool) {
		peer := fastestPeer(r, "keyed-limiter", mode)
		ratio, low, high := r.ratio(work("keyed-limiter", name, mode), work("keyed-limiter", peer, mode))
		return fmt.Sprintf("%.2f [%.2f to %.2f] of %s", ratio, low, high, title(peer)), ratio <= limit
	}, ""}
}

func ratioAim(what, name, over, text string, limit float64) aim {
	return aim{what, text, func(r *results) (string, bool) {
		ratio, low, high := r.ratio(name, over)
		return fmt.Sprintf("%.2f [%.2f to %.2f]", ratio, low, high), ratio <= limit
	}, ""}
}

func above(what, name, floor, floorTitle string, limit float64) aim {
	return aim{what, fmt.Sprintf("at most %.0f ns above %s, serial", limit, floorTitle), func(r *results) (string, bool) {
		more := r.nanoseconds(name) - r.nanoseconds(floor)
		return fmt.Sprintf("%.1f ns", more), more <= limit
	}, ""}
}

func allocations(what, name string, limit float64) aim {
	return aim{what, fmt.Sprintf("%.0f allocations", limit), func(r *results) (string, bool) {
		most := 0.0
		for mode := range modes {
			n, _ := r.median(work(name, ours, mode), "allocs/op")
			most = max(most, n)
		}
		return fmt.Sprintf("%.0f", most), most <= limit
	}, ""}
}

// fastestPeer returns who is fastest of those who are not this library.
func fastestPeer(r *results, name, mode string) (fastest string) {
	for _, subject := range parts(r.under("Work/"+name+"/"), 0) {
		if strings.HasPrefix(subject, ours) {
			continue
		}
		if fastest == "" || r.nanoseconds(work(name, subject, mode)) < r.nanoseconds(work(name, fastest, mode)) {
			fastest = subject
		}
	}
	return fastest
}
