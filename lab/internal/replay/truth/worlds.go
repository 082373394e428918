package truth

import (
	"math"
	"time"

	"github.com/go-resilience/resilience/lab/internal/sim"
)

const ms = time.Millisecond

func during(from, until, in, out float64) func(float64) float64 {
	return func(t float64) float64 {
		if t >= from && t < until {
			return in
		}
		return out
	}
}

func always(p float64) func(float64, int, int) float64 {
	return func(float64, int, int) float64 { return p }
}

func byTime(f func(float64) float64) func(float64, int, int) float64 {
	return func(t float64, _, _ int) float64 { return f(t) }
}

func flapping(period, bad, in, out float64) func(float64) float64 {
	return func(t float64) float64 {
		if math.Mod(t, period) < bad {
			return in
		}
		return out
	}
}

// retries are the layers of a simple retry, and a timeout for each attempt.
func retries(attempts, limit string) string {
	text := ""
	if attempts != "" {
		text = `{"kind":"retry","attempts":` + attempts + `,"constant":"20ms","noBudget":true}`
	}
	if limit != "" {
		if text != "" {
			text += ","
		}
		text += `{"kind":"timeout","perAttempt":"` + limit + `"}`
	}
	return text
}

// Tuned are the worlds that the thresholds of the verdict were found with.
func Tuned() []*World {
	lognormal, exponential := sim.Lognormal, sim.Exponential
	return complete(60, []*World{
		{Name: "healthy, 0.5 % errors", Kind: "healthy", Peak: 200, Service: lognormal(20*ms, .6), Fails: always(.005)},
		{Name: "healthy, 3 % slow by 20", Kind: "healthy", Peak: 200, Service: sim.Either(.03, exponential(500*ms), lognormal(20*ms, .5)), Fails: always(.003)},
		{Name: "5 % random errors, 40 slots", Kind: "healthy", Peak: 200, Slots: 40, Service: exponential(30 * ms), Fails: always(.05)},
		{Name: "30 % errors for a while", Kind: "in time", Peak: 200, Service: lognormal(20*ms, .6), Fails: byTime(during(20, 40, .3, .003))},
		{Name: "75 % errors for a while, fast", Kind: "in time", Peak: 200, Service: lognormal(20*ms, .6), FailFast: .2, Fails: byTime(during(20, 35, .75, .003))},
		{Name: "dead for 15 s, fast", Kind: "in time", Peak: 200, Service: lognormal(20*ms, .6), FailFast: .1, Fails: byTime(during(20, 35, 1, .003))},
		{Name: "dead for 15 s, hangs 1 s", Kind: "in time", Peak: 200, Service: lognormal(20*ms, .6), FailFast: 50, Fails: byTime(during(20, 35, 1, .003))},
		{Name: "2 s bad, 3 s good", Kind: "in time", Peak: 200, Service: lognormal(20*ms, .6), Fails: byTime(flapping(5, 2, .8, .003))},
		{Name: "10 times slower for 15 s, no queue", Kind: "in time", Peak: 200, Service: lognormal(20*ms, .6), Slower: during(20, 35, 10, 1)},
		{Name: "2.5 times slower, 12 slots", Kind: "queue", Peak: 200, Slots: 12, Service: exponential(24 * ms), Slower: during(20, 35, 2.5, 1), Fails: always(.003)},
		{Name: "5 times slower, 12 slots, skips gone", Kind: "queue", Peak: 200, Slots: 12, SkipGone: true, Service: exponential(24 * ms), Slower: during(20, 35, 5, 1), Fails: always(.003)},
		{Name: "M/M/10, load .8, 1 % errors", Kind: "queue", Peak: 200, Slots: 10, Service: exponential(40 * ms), Fails: always(.01)},
		{Name: "M/M/10, load .95, 5 % errors", Kind: "queue", Peak: 200, Slots: 10, Service: exponential(47 * ms), Fails: always(.05)},
		{Name: "twice the load, 8 slots, queue of 40", Kind: "queue", Peak: 400, Rate: during(20, 35, 1, .5), Slots: 8, Queue: 40, Service: exponential(26 * ms), Fails: always(.003)},
		{Name: "twice the load, 8 slots, no bound", Kind: "queue", Peak: 400, Rate: during(20, 35, 1, .5), Slots: 8, Service: exponential(26 * ms), Fails: always(.003)},
		{Name: "frozen for 5 s, 10 slots", Kind: "queue", Peak: 200, Slots: 10, Service: exponential(25 * ms), Frozen: [2]float64{20, 25}},
		{Name: "last first, frozen for 5 s, 10 slots", Kind: "queue", Peak: 200, Slots: 10, LastFirst: true, Service: exponential(25 * ms), Frozen: [2]float64{20, 25}},
		{Name: "errors by load, 1.8 times the load", Kind: "thrashing", Peak: 360, Rate: during(20, 35, 1, .55), Slots: 10, Queue: 200, Service: exponential(25 * ms), Fails: func(_ float64, waiting, _ int) float64 { return .003 + min(.9, float64(waiting)/100) }},
		{Name: "slower by load, 1.6 times the load", Kind: "thrashing", Peak: 320, Rate: during(20, 30, 1, .6), Service: lognormal(20*ms, .5), SlowByLoad: func(busy int) float64 { return 1 + math.Pow(float64(busy)/12, 1.5) }, Fails: always(.005)},
		{Name: "slower by load, twice slower for 10 s", Kind: "thrashing", Peak: 200, Service: lognormal(20*ms, .5), Slower: during(20, 30, 2, 1), SlowByLoad: func(busy int) float64 { return 1 + float64(busy)/15 }, Fails: byTime(during(20, 30, .1, .005))},
		{Name: "4 % of calls are bad", Kind: "call-bound", Peak: 200, Service: lognormal(20*ms, .6), BadCalls: .04},
		{Name: "3 % of calls are bad, 30 % errors for a while", Kind: "call-bound", Peak: 200, Service: lognormal(20*ms, .6), BadCalls: .03, Fails: byTime(during(20, 40, .3, .003))},
		{Name: "calls of very different sizes", Kind: "call-bound", Peak: 200, Service: lognormal(40*ms, .2), Sizes: 1.3, Fails: always(.01)},
		{Name: "recorded with 3 tries, 50 % errors for a while", Kind: "recorded", Peak: 200, Service: lognormal(20*ms, .6), Fails: byTime(during(20, 35, .5, .003)), Policies: retries("3", ""), Numbered: true},
		{Name: "recorded with 3 tries and 400 ms, 10 slots: storm", Kind: "recorded", Peak: 200, Slots: 10, Service: exponential(30 * ms), Slower: during(20, 25, 2.2, 1), Policies: retries("3", "400ms"), Numbered: true},
		{Name: "recorded with 300 ms, 10 times slower", Kind: "recorded", Peak: 200, Service: lognormal(20*ms, .6), Slower: during(20, 35, 10, 1), Policies: retries("", "300ms"), Numbered: true},
		{Name: "recorded with 150 ms, 4 % slow", Kind: "recorded", Peak: 200, Service: sim.Either(.04, exponential(400*ms), lognormal(20*ms, .5)), Policies: retries("", "150ms"), Numbered: true},
		{Name: "16 slots, load .3, 70 % errors for a while", Kind: "hidden", Peak: 200, Slots: 16, Service: exponential(24 * ms), Fails: byTime(during(20, 35, .7, .003))},
		{Name: "10 slots, queue of 20, load .5, 50 % errors", Kind: "hidden", Peak: 200, Slots: 10, Queue: 20, Service: exponential(25 * ms), Fails: byTime(during(20, 35, .5, .003))},
		{Name: "10 slots, 2.5 times slower and 30 % errors", Kind: "queue", Peak: 200, Slots: 10, Queue: 100, Service: exponential(25 * ms), Slower: during(20, 30, 2.5, 1), Fails: byTime(during(20, 30, .3, .003))},
		{Name: "bursts of twice the load, 12 slots", Kind: "queue", Peak: 400, Rate: flapping(10, 3, 1, .3), Slots: 12, Queue: 60, Service: exponential(30 * ms), Fails: always(.01)},
		{Name: "recorded with 2 tries and 1 s, 10 slots, load .7", Kind: "recorded", Peak: 200, Slots: 10, Queue: 100, Service: exponential(35 * ms), Slower: during(20, 30, 1.5, 1), Fails: always(.02), Policies: retries("2", "1s"), Numbered: true},
		{Name: "3 calls a second, 50 % errors for a while", Kind: "thin", Horizon: 120, Peak: 3, Service: lognormal(20*ms, .6), Fails: byTime(during(40, 70, .5, .003)), Thin: true},
	})
}

// Fresh are worlds with other parameters, which no threshold has seen.
func Fresh() []*World {
	lognormal, exponential := sim.Lognormal, sim.Exponential
	return complete(48, []*World{
		{Name: "healthy, 1 % errors, 320 a second", Kind: "healthy", Peak: 320, Service: lognormal(12*ms, .8), Fails: always(.01)},
		{Name: "healthy, 1.5 % slow by 15", Kind: "healthy", Peak: 150, Service: sim.Either(.015, exponential(450*ms), lognormal(30*ms, .4)), Fails: always(.002)},
		{Name: "3 % random errors, 60 slots", Kind: "healthy", Peak: 260, Slots: 60, Service: exponential(45 * ms), Fails: always(.03)},
		{Name: "no error at all", Kind: "healthy", Peak: 110, Service: lognormal(60*ms, .3)},
		{Name: "18 % errors for a while", Kind: "in time", Peak: 260, Service: lognormal(15*ms, .7), Fails: byTime(during(12, 30, .18, .002))},
		{Name: "90 % errors for a while, fast", Kind: "in time", Peak: 140, Service: lognormal(35*ms, .5), FailFast: .3, Fails: byTime(during(25, 33, .9, .004))},
		{Name: "dead for 8 s, fast", Kind: "in time", Peak: 250, Service: lognormal(18*ms, .5), FailFast: .1, Fails: byTime(during(30, 38, 1, .001))},
		{Name: "dead for 20 s, hangs 0.8 s", Kind: "in time", Peak: 120, Service: lognormal(20*ms, .5), FailFast: 40, Fails: byTime(during(15, 35, 1, .002))},
		{Name: "1 s bad, 6 s good", Kind: "in time", Peak: 220, Service: lognormal(25*ms, .5), Fails: byTime(flapping(7, 1, .6, .002))},
		{Name: "6 times slower for 20 s, no queue", Kind: "in time", Peak: 160, Service: lognormal(25*ms, .7), Slower: during(15, 35, 6, 1)},
		{Name: "3 times slower, 20 slots", Kind: "queue", Peak: 260, Slots: 20, Service: exponential(30 * ms), Slower: during(18, 30, 3, 1), Fails: always(.005)},
		{Name: "4 times slower, 8 slots, skips gone", Kind: "queue", Peak: 140, Slots: 8, SkipGone: true, Service: exponential(22 * ms), Slower: during(25, 35, 4, 1), Fails: always(.002)},
		{Name: "M/M/16, load .75, 2 % errors", Kind: "queue", Peak: 240, Slots: 16, Service: exponential(50 * ms), Fails: always(.02)},
		{Name: "M/M/6, load .9, 1 % errors", Kind: "queue", Peak: 150, Slots: 6, Service: exponential(36 * ms), Fails: always(.01)},
		{Name: "1.7 times the load, 14 slots, queue of 30", Kind: "queue", Peak: 500, Rate: during(15, 30, 1, .6), Slots: 14, Queue: 30, Service: exponential(33 * ms), Fails: always(.004)},
		{Name: "1.5 times the load, 10 slots, no bound", Kind: "queue", Peak: 300, Rate: during(25, 40, 1, .66), Slots: 10, Service: exponential(37 * ms), Fails: always(.004)},
		{Name: "frozen for 3 s, 20 slots", Kind: "queue", Peak: 250, Slots: 20, Service: exponential(40 * ms), Frozen: [2]float64{30, 33}},
		{Name: "last first, frozen for 4 s, 14 slots", Kind: "queue", Peak: 180, Slots: 14, LastFirst: true, Service: exponential(40 * ms), Frozen: [2]float64{25, 29}},
		{Name: "errors by load, 1.5 times the load", Kind: "thrashing", Peak: 300, Rate: during(15, 28, 1, .66), Slots: 12, Queue: 150, Service: exponential(36 * ms), Fails: func(_ float64, waiting, _ int) float64 { return .002 + min(.7, float64(waiting)/60) }},
		{Name: "slower by load, 1.4 times the load", Kind: "thrashing", Peak: 260, Rate: during(25, 40, 1, .7), Service: lognormal(30*ms, .4), SlowByLoad: func(busy int) float64 { return 1 + math.Pow(float64(busy)/18, 2) }, Fails: always(.003)},
		{Name: "slower by load, 1.6 times slower for 15 s", Kind: "thrashing", Peak: 150, Service: lognormal(30*ms, .5), Slower: during(20, 35, 1.6, 1), SlowByLoad: func(busy int) float64 { return 1 + float64(busy)/20 }, Fails: byTime(during(20, 35, .05, .003))},
		{Name: "2.5 % of calls are bad", Kind: "call-bound", Peak: 240, Service: lognormal(16*ms, .7), BadCalls: .025},
		{Name: "6 % of calls are bad, recorded with 2 tries", Kind: "call-bound", Peak: 160, Service: lognormal(30*ms, .5), BadCalls: .06, Policies: retries("2", ""), Numbered: true},
		{Name: "1.5 % of calls are bad, 40 % errors for a while", Kind: "call-bound", Peak: 200, Service: lognormal(24*ms, .6), BadCalls: .015, Fails: byTime(during(15, 28, .4, .002))},
		{Name: "calls of rather different sizes", Kind: "call-bound", Peak: 180, Service: lognormal(50*ms, .2), Sizes: 1, Fails: always(.008)},
		{Name: "recorded with 3 tries, 35 % errors for a while", Kind: "recorded", Peak: 220, Service: lognormal(25*ms, .5), Fails: byTime(during(15, 35, .35, .003)), Policies: retries("3", ""), Numbered: true},
		{Name: "recorded with 2 tries, 2 % errors", Kind: "recorded", Peak: 240, Service: lognormal(28*ms, .5), Fails: always(.02), Policies: retries("2", ""), Numbered: true},
		{Name: "recorded with 2 tries, 12 % errors for a while", Kind: "recorded", Peak: 150, Service: lognormal(40*ms, .6), Fails: byTime(during(15, 45, .12, .003)), Policies: retries("2", ""), Numbered: true},
		{Name: "recorded with 3 tries, 25 % errors", Kind: "recorded", Peak: 160, Service: lognormal(18*ms, .5), Fails: always(.25), Policies: retries("3", ""), Numbered: true},
		{Name: "recorded with 3 tries, 60 % errors for 8 s", Kind: "recorded", Peak: 200, Service: lognormal(30*ms, .4), Fails: byTime(during(30, 38, .6, .005)), Policies: retries("3", ""), Numbered: true},
		{Name: "recorded with 2 tries, M/M/14, load .7, 3 % errors", Kind: "recorded", Peak: 240, Slots: 14, Service: exponential(40 * ms), Fails: always(.03), Policies: retries("2", ""), Numbered: true},
		{Name: "recorded with 2 tries, 1 s bad, 4 s good", Kind: "recorded", Peak: 180, Service: lognormal(22*ms, .6), Fails: byTime(flapping(5, 1, .7, .004)), Policies: retries("2", ""), Numbered: true},
		{Name: "recorded with 3 tries and 500 ms, 12 slots: storm", Kind: "recorded", Peak: 240, Slots: 12, Service: exponential(32 * ms), Slower: during(25, 31, 2, 1), Policies: retries("3", "500ms"), Numbered: true},
		{Name: "recorded with 400 ms, 8 times slower", Kind: "recorded", Peak: 150, Service: lognormal(30*ms, .5), Slower: during(25, 40, 8, 1), Policies: retries("", "400ms"), Numbered: true},
		{Name: "recorded with 250 ms, 2 % slow", Kind: "recorded", Peak: 220, Service: sim.Either(.02, exponential(600*ms), lognormal(25*ms, .5)), Policies: retries("2", "250ms"), Numbered: true},
		{Name: "recorded with 2 tries and 800 ms, 14 slots, load .65", Kind: "recorded", Peak: 250, Slots: 14, Queue: 80, Service: exponential(36 * ms), Slower: during(15, 25, 1.6, 1), Fails: always(.015), Policies: retries("2", "800ms"), Numbered: true},
		{Name: "20 slots, load .25, 60 % errors for a while", Kind: "hidden", Peak: 220, Slots: 20, Service: exponential(23 * ms), Fails: byTime(during(25, 38, .6, .002))},
		{Name: "8 slots, queue of 15, load .45, 40 % errors", Kind: "hidden", Peak: 160, Slots: 8, Queue: 15, Service: exponential(22 * ms), Fails: byTime(during(15, 30, .4, .002))},
		{Name: "16 slots, twice slower and 20 % errors", Kind: "queue", Peak: 260, Slots: 16, Queue: 120, Service: exponential(32 * ms), Slower: during(25, 37, 2, 1), Fails: byTime(during(25, 37, .2, .003))},
		{Name: "bursts of 2.5 times the load, 16 slots", Kind: "queue", Peak: 450, Rate: flapping(12, 4, 1, .4), Slots: 16, Queue: 50, Service: exponential(34 * ms), Fails: always(.006)},
		{Name: "healthy, in milliseconds", Kind: "healthy", Peak: 200, Service: lognormal(70*ms, .5), Fails: always(.006), Tick: ms},
		{Name: "25 % errors for a while, in milliseconds, 2 tries", Kind: "recorded", Peak: 180, Service: lognormal(45*ms, .5), Fails: byTime(during(20, 35, .25, .002)), Policies: retries("2", ""), Numbered: true, Tick: ms},
		{Name: "6 calls a second, 30 % errors for a while", Kind: "thin", Horizon: 120, Peak: 6, Service: lognormal(30*ms, .5), Fails: byTime(during(30, 80, .3, .002)), Thin: true},
	})
}

// complete sets what is the same in most worlds.
func complete(horizon float64, worlds []*World) []*World {
	for _, w := range worlds {
		if w.Horizon == 0 {
			w.Horizon = horizon
		}
		if w.Queue == 0 {
			w.Queue = sim.Unbounded
		}
	}
	return worlds
}

// Pipeline is a candidate: the layers for a rate of calls.
type Pipeline struct {
	Name   string
	Layers string // with %RATE% for 0.9 times the mean rate of calls
}

const guarded = `{"kind":"timeout","total":"2s"},{"kind":"retry"},{"kind":"breaker","failureRate":{"rate":0.5,"minimumCalls":20}},{"kind":"bulkhead","limit":64},{"kind":"timeout","perAttempt":"300ms"}`

// Candidates are the pipelines that are tried in every world.
func Candidates() []Pipeline {
	return []Pipeline{
		{"retry, breaker", `{"kind":"retry"},{"kind":"breaker","failureRate":{"rate":0.5,"minimumCalls":20}}`},
		{"and bulkhead, timeouts", guarded},
		{"and hedge", guarded + `,{"kind":"hedge","idempotent":true}`},
		{"rate limit, retry", `{"kind":"timeout","total":"2s"},{"kind":"retry"},{"kind":"ratelimit","perSecond":%RATE%,"burst":20},{"kind":"timeout","perAttempt":"300ms"}`},
		{"3 tries, no budget", `{"kind":"retry","attempts":3,"exponential":{"initial":"20ms","longest":"100ms"},"noBudget":true},{"kind":"timeout","perAttempt":"200ms"}`},
	}
}
