package reference

import (
	"math"
	"math/rand/v2"

	"github.com/go-resilience/resilience/lab/internal/minheap"
)

// Queue is the share of calls that wait and the mean wait at c servers with one queue. Calls come Poisson, load of them in
// each mean service time, for a horizon of which the first part is not counted. All times are in service times.
func Queue(c int, load, horizon, warm float64, fixed bool, repeats int) (share, wait Number) {
	numbers := runs(repeats, func(r *rand.Rand) []float64 {
		free := make(minheap.Heap[float64], c) // when each server will be
		calls, waits, waited := 0.0, 0.0, 0.0
		for now := r.ExpFloat64() / load; now < horizon; now += r.ExpFloat64() / load {
			begin := math.Max(now, free[0])
			service := 1.0
			if !fixed {
				service = r.ExpFloat64()
			}
			free.Replace(begin + service)
			if now < warm {
				continue
			}
			calls++
			if begin > now {
				waits++
				waited += begin - now
			}
		}
		return []float64{waits / calls, waited / calls}
	})
	return numbers[0], numbers[1]
}

// Lost is the share of calls that find all slots taken, without a queue. Calls come Poisson, rate a second, for warm
// seconds that are not counted and for seconds that are, and hold a slot for a time.
func Lost(slots int, rate, warm, seconds float64, hold func(r *rand.Rand) float64, repeats int) Number {
	return runs(repeats, func(r *rand.Rand) []float64 {
		var busy minheap.Heap[float64] // until when
		calls, refused := 0.0, 0.0
		for now := r.ExpFloat64() / rate; now < warm+seconds; now += r.ExpFloat64() / rate {
			busy.Drop(now)
			took, full := hold(r), len(busy) == slots
			if !full {
				busy.Push(now + took)
			}
			if now >= warm {
				calls++
				if full {
					refused++
				}
			}
		}
		return []float64{refused / calls}
	})[0]
}

// HangingSetup is the experiment of [Hanging].
type HangingSetup struct {
	Slots         int
	Rate          float64 // calls per second
	Share, Hold   float64 // of the calls hang, for so many seconds; the others take 0.1 s
	Cap           int     // of those that hang; 0: none of their own
	Warm, Seconds float64 // not counted, and counted
}

// Hanging is the share of the healthy calls that are refused, and of all calls that fail: those, and all that hang.
func Hanging(s HangingSetup, repeats int) (healthy, all Number) {
	numbers := runs(repeats, func(r *rand.Rand) []float64 {
		var well, hanging minheap.Heap[float64] // until when
		calls, healthy, refused, failed := 0.0, 0.0, 0.0, 0.0
		for now := r.ExpFloat64() / s.Rate; now < s.Warm+s.Seconds; now += r.ExpFloat64() / s.Rate {
			well.Drop(now)
			hanging.Drop(now)
			full := len(well)+len(hanging) == s.Slots
			hangs := r.Float64() < s.Share
			switch {
			case full:
			case !hangs:
				well.Push(now + .1)
			case s.Cap == 0 || len(hanging) < s.Cap:
				hanging.Push(now + s.Hold)
			}
			if now < s.Warm {
				continue
			}
			calls++
			if hangs || full {
				failed++
			}
			if !hangs {
				healthy++
				if full {
					refused++
				}
			}
		}
		return []float64{refused / healthy, failed / calls}
	})
	return numbers[0], numbers[1]
}

// Throttled is the calls sent and the calls accepted per second, of 1,000 that come, when each is refused with probability
// (calls − k · accepted) / (calls + 1), counted over 120 s in steps of a tenth, and the backend accepts capacity a second,
// of a bucket of a tenth of that. The first half of 400 s is not counted.
func Throttled(k, rate, capacity, room float64, repeats int) (sent, accepted Number) {
	numbers := runs(repeats, func(r *rand.Rand) []float64 {
		const parts = 10
		var calls, accepts [parts]float64 // of 12 s each
		sum := func(a [parts]float64) (s float64) {
			for _, v := range a {
				s += v
			}
			return s
		}
		tokens, last, current := room, 0.0, 0
		sent, good := 0.0, 0.0
		for now := r.ExpFloat64() / rate; now < 400; now += r.ExpFloat64() / rate {
			if part := int(now / 12); part != current {
				current = part
				calls[part%parts], accepts[part%parts] = 0, 0
			}
			all, taken := sum(calls), sum(accepts)
			calls[current%parts]++
			if r.Float64() < (all-k*taken)/(all+1) {
				continue
			}
			tokens = math.Min(room, tokens+(now-last)*capacity)
			last = now
			ok := tokens >= 1
			if ok {
				tokens--
				accepts[current%parts]++
			}
			if now >= 200 {
				sent += 1.0 / 200
				if ok {
					good += 1.0 / 200
				}
			}
		}
		return []float64{sent, good}
	})
	return numbers[0], numbers[1]
}
