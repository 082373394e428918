package reference

import (
	"math/rand/v2"

	"github.com/go-resilience/resilience/lab/internal/minheap"
)

// SlowTime is a server with slots of exponential service and one queue, first come first served, that is slower by a
// factor for some time; it works on what nobody waits for any more. After that time: how many wait, and after how many
// seconds the goodput (calls that took less than a second, averaged over 5 s) is back at 90 %, and the queue empty.
func SlowTime(rate float64, slots int, service, slower, from, until float64, repeats int) (backlog, goodput, empty Number) {
	numbers := runs(repeats, func(r *rand.Rand) []float64 {
		free := make(minheap.Heap[float64], slots)
		good := make([]float64, int(until)+140)
		waiting, last, sample, empty := 0.0, 0.0, until, -1.0 // last: when the last one began
		for now := r.ExpFloat64() / rate; now < float64(len(good)); now += r.ExpFloat64() / rate {
			for ; sample < now && empty < 0; sample += .1 { // it is looked at so often
				if sample > until && last <= sample {
					empty = sample - until
				}
			}
			begin := max(now, free[0])
			last = begin
			work := r.ExpFloat64() * service
			if begin >= from && begin < until {
				work *= slower
			}
			free.Replace(begin + work)
			if begin+work-now < 1 {
				good[int(now)]++
			}
			if now < until && begin >= until {
				waiting++
			}
		}
		back := 0.0
		for second := int(until); second+5 <= len(good); second++ {
			sum := 0.0
			for _, n := range good[second : second+5] {
				sum += n
			}
			if sum >= 5*.9*rate {
				back = float64(second) - until
				break
			}
		}
		return []float64{waiting, back, empty}
	})
	return numbers[0], numbers[1], numbers[2]
}
