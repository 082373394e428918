package main

var modes = map[string]string{"serial": "serial", "parallel": "a goroutine per core", "contended": "64 goroutines per core"}

// titles is what the names of the benchmarks mean.
var titles = map[string]string{
	"resilience":                "resilience",
	"resilience-single":         "resilience, without `Compose`",
	"resilience-idle":           "resilience, idle guards",
	"resilience-per-key":        "resilience, `ratelimit.NewPerKey`",
	"resilience-per-key-allow":  "resilience, `ratelimit.NewPerKey`, `Allow` alone",
	"resilience-busy":           "resilience, calls come faster than tokens",
	"gobreaker":                 "gobreaker",
	"failsafe-go":               "failsafe-go",
	"failsafe-go-bare":          "failsafe-go, policy without executor",
	"failsafe-go-fixed-context": "failsafe-go, one context for all calls",
	"eapache":                   "eapache/go-resiliency",
	"backoff-v4":                "cenkalti/backoff v4",
	"backoff-v5":                "cenkalti/backoff v5",
	"avast-v5":                  "avast/retry-go v5",
	"sethvargo":                 "sethvargo/go-retry",
	"rubyist":                   "rubyist/circuitbreaker",
	"sethvargo-limiter":         "sethvargo/go-limiter, memory store",
	"throttled":                 "throttled, memory store",
	"throttled-lru":             "throttled, memory store, bounded",
	"ulule-limiter":             "ulule/limiter, memory store",
	"x-time-rate":               "x/time/rate",
	"x-time-rate-mutex-map":     "x/time/rate in a map with a mutex",
	"x-time-rate-sync-map":      "x/time/rate in a sync.Map",
	"uber-ratelimit":            "uber-go/ratelimit",
	"x-sync-semaphore":          "x/sync/semaphore, TryAcquire",
	"x-sync-semaphore-acquire":  "x/sync/semaphore, Acquire",
	"context-by-hand":           "context.WithTimeout by hand",
	"by-hand":                   "glued by hand",

	"breaker-consecutive":   "Breaker, consecutive failures, closed",
	"breaker-count-window":  "Breaker, failure rate over the last 100 calls, closed",
	"breaker-time-window":   "Breaker, failure rate over the last 10 s, closed",
	"breaker-open":          "Breaker, open: refused",
	"retry-first-attempt":   "Retry, the first attempt succeeds",
	"retry-two-failures":    "Retry, two failures, no delay, then success",
	"limiter-allow":         "Limiter, admitted",
	"limiter-busy":          "Limiter, admitted out of the burst, calls come faster than tokens",
	"limiter-reject":        "Limiter, refused",
	"bulkhead":              "Bulkhead, slot taken and given back",
	"bulkhead-alone":        "Bulkhead, `Admit` and `Settle` alone",
	"bulkhead-full":         "Bulkhead, full: refused",
	"timeout":               "Timeout",
	"timeout-caller-sooner": "Timeout, where the caller's own deadline is sooner",
	"timeout-waiting":       "Timeout, where the caller can leave and the operation waits for its context",
	"four":                  "Four policies: retry, breaker (time window), limiter, bulkhead",
	"six":                   "Six policies, where nobody looks at the context (shown, not advertised)",
	"six-waiting":           "Six policies (the four between a total and an attempt timeout), the operation waits for its context",
	"six-fallback":          "Six policies inside a fallback",
	"keyed-limiter":         "Limiter per key, 100,000 keys in random order",

	"operation":            "the operation itself",
	"atomic-add":           "an atomic addition",
	"mutex":                "a mutex, locked and unlocked",
	"time-now":             "time.Now",
	"time-since":           "time.Since",
	"context-with-timeout": "context.WithTimeout and cancel",

	"four-composed":         "Four policies and their pipeline",
	"retry":                 "Retry",
	"limiter":               "Limiter",
	"hedge":                 "Hedge",
	"keyed-limiter-per-key": "Limiter per key, for each of 100,000 keys, key included",

	"resilience-success": "resilience, success",
	"resilience-failure": "resilience, failure",
	"gobreaker-success":  "gobreaker, success",
	"gobreaker-failure":  "gobreaker, failure",
}

func title(name string) string {
	if t, ok := titles[name]; ok {
		return t
	}
	return name
}

const twoFailures = "has no retry budget and asks no gate; it does not ask what an error means to other policies, keeps no list of errors, " +
	"and does not tell the operation which attempt it is"

// reasons is why a peer is faster.
var reasons = map[string]string{
	"six/by-hand":                             "scatter: the rounds are on both sides, and the same layers inside a fallback, one more, take less than by hand",
	"breaker-consecutive/eapache":             "counts nothing on a success: it knows no rate, and failures in a row only by their distance in time",
	"breaker-consecutive/failsafe-go-bare":    "the caller settles: a panic or an early return is never recorded",
	"breaker-count-window/failsafe-go-bare":   "the caller settles: a panic or an early return is never recorded",
	"breaker-time-window/failsafe-go-bare":    "the caller settles: a panic or an early return is never recorded",
	"breaker-open/eapache":                    "one atomic load, since a goroutine per opening moves the state; its error names neither the breaker nor the wait",
	"breaker-open/gobreaker":                  "its error is a bare sentinel that names neither the breaker nor the wait; ours goes through the engine and asks the context first",
	"retry-first-attempt/avast-v5":            "has no retry budget to count the call for, and its context is fixed when the retrier is made",
	"retry-first-attempt/eapache":             "has no retry budget, and does not look at the context before the first attempt",
	"retry-two-failures/backoff-v4":           twoFailures,
	"retry-two-failures/backoff-v5":           twoFailures,
	"retry-two-failures/avast-v5":             twoFailures,
	"retry-two-failures/sethvargo":            twoFailures,
	"retry-two-failures/eapache":              twoFailures,
	"limiter-allow/x-time-rate":               "only the limiter; ours asks it from behind the engine, and also counts and keeps the clock from going back",
	"limiter-allow/failsafe-go-bare":          "a fixed window, in which twice the limit can pass around its border; the caller does what the engine does",
	"limiter-allow/uber-ratelimit":            "a leaky bucket without rejection: who comes too early sleeps; no context",
	"limiter-allow/sethvargo-limiter":         "a fixed window, in which twice the limit can pass around its border; the caller does what the engine does",
	"limiter-allow/throttled":                 "only the limiter, and one word for each key, which is swapped without a lock; the caller does what the engine does",
	"limiter-busy/x-time-rate":                "only the limiter; ours asks it from behind the engine, and also counts and keeps the clock from going back",
	"limiter-reject/x-time-rate":              "answers a bool; ours makes an error that says which limiter refused and exactly when to come back",
	"limiter-reject/failsafe-go":              "its error is one that was made in advance; ours says which limiter refused and exactly when to come back",
	"limiter-reject/failsafe-go-bare":         "answers a bool; ours makes an error that says which limiter refused and exactly when to come back",
	"limiter-reject/sethvargo-limiter":        "answers a bool and when its window ends; ours makes an error that also says which limiter refused, and counts the refusal",
	"limiter-reject/throttled":                "answers when to come back, by value; ours makes an error that also says which limiter refused, and counts the refusal",
	"limiter-reject/ulule-limiter":            "answers a bool and when its window ends, by value; ours makes an error that also says which limiter refused",
	"bulkhead/x-sync-semaphore":               "only the semaphore; ours is behind the engine, keeps the peak, and can be resized while in use",
	"bulkhead/x-sync-semaphore-acquire":       "only the semaphore; ours is behind the engine, keeps the peak, and can be resized while in use",
	"bulkhead-alone/x-sync-semaphore":         "two cores take the word from each other at every step, where a mutex leaves it with one of them for a while",
	"bulkhead-alone/x-sync-semaphore-acquire": "two cores take the word from each other at every step, where a mutex leaves it with one of them for a while",
	"limiter-allow/ulule-limiter":             "a fixed window of a second: it counts, and does not refill",
	"bulkhead-full/x-sync-semaphore":          "answers a bool; ours returns an error through the engine and counts the refusal",
	"timeout/context-by-hand":                 "only the context: ours names the timeout as the cause, settles after a panic, counts expiries, and lets a result keep the context",
	"timeout-waiting/context-by-hand":         "only the context: ours names the timeout as the cause, settles after a panic, counts expiries, and lets a result keep the context",
	"six-waiting/by-hand":                     "its contexts cannot be held by a result, and do not name the timeout",
	"keyed-limiter/x-time-rate-sync-map":      "has no bound and never forgets a key; ours notes the use of a key and goes through the engine",
	"keyed-limiter/x-time-rate-mutex-map":     "has no bound and never forgets a key; ours goes through the engine, and its limiters take more memory, so that fewer of them are in the cache",
	"keyed-limiter/sethvargo-limiter":         "has no bound, and forgets keys only in a sweep that stops everybody; its buckets are smaller than our limiters, so that more of them are in the cache, and there is no engine",
	"keyed-limiter/throttled":                 "has no bound and never forgets a key; 8 B for each key, so that more of them are in the cache, and no engine",
	"keyed-limiter/throttled-lru":             "8 B for each key, besides the list that orders them, and no engine; a mutex around all keys",
	"keyed-limiter/ulule-limiter":             "has no bound, and forgets keys only in a sweep; a fixed window, in which twice the limit can pass around its border, and no engine",
}
