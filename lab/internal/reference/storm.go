package reference

import (
	"math"
	"math/rand/v2"
)

// StormSetup is the experiment of [Storm].
type StormSetup struct {
	Rate, Capacity, Timeout float64 // calls and requests per second; seconds
	From, Until, Seconds    float64 // the server is frozen; calls come
	Retry                   bool    // one, at once
	Budget                  float64 // 0: none; otherwise tokens per call, which are there for 10 s, and one token besides
}

// Storm is a server that freezes, first come first served, which works on what nobody waits for any more: the second from
// which the goodput averages 90 % of the rate over 5 s, NaN for never, and the attempts per second from 60 s on.
func Storm(s StormSetup, repeats int) (recovery, sent Number) {
	numbers := runs(repeats, func(r *rand.Rand) []float64 {
		seconds := int(s.Seconds)
		goodput, attempts := make([]float64, seconds), make([]float64, seconds)
		free, reserve := 0.0, 1.0
		var deposits []float64           // when what is left of each expires
		left := 0.0                      // of the oldest
		send := func(now float64) bool { // whether the answer comes in time
			if second := int(now); second < seconds {
				attempts[second]++
			}
			begin := math.Max(now, free)
			done := begin + 1/s.Capacity
			if begin < s.Until && done > s.From {
				done = s.Until + done - math.Max(begin, s.From)
			}
			free = done
			return done < now+s.Timeout
		}
		var second []struct{ came, at float64 } // attempts that will be made, in order
		now := r.ExpFloat64() / s.Rate
		for now < s.Seconds || len(second) > 0 {
			if len(second) > 0 && second[0].at <= now {
				if send(second[0].at) {
					goodput[int(second[0].came)]++
				}
				second = second[1:]
				continue
			}
			if now >= s.Seconds {
				now = math.Inf(1)
				continue
			}
			came := now
			now += r.ExpFloat64() / s.Rate
			if send(came) {
				goodput[int(came)]++
				if s.Budget > 0 {
					deposits = append(deposits, came+10)
				}
				continue
			}
			if s.Retry {
				if s.Budget > 0 {
					failed := came + s.Timeout
					deposits = append(deposits, failed+10)
					for len(deposits) > 0 && deposits[0] < failed {
						deposits, left = deposits[1:], 0
					}
					if have := float64(len(deposits))*s.Budget + left; have >= 1-1e-9 {
						n := int(math.Ceil((1-left)/s.Budget - 1e-9))
						left += float64(n)*s.Budget - 1
						deposits = deposits[n:]
					} else if reserve == 1 {
						reserve = 0
					} else {
						continue
					}
				}
				second = append(second, struct{ came, at float64 }{came, came + s.Timeout})
			}
		}
		recovery := math.NaN()
		for i := int(s.Until); i+5 <= seconds; i++ {
			sum := 0.0
			for _, n := range goodput[i : i+5] {
				sum += n
			}
			if sum >= 5*.9*s.Rate {
				recovery = float64(i)
				break
			}
		}
		sum := 0.0
		for _, n := range attempts[60:] {
			sum += n
		}
		return []float64{recovery, sum / float64(seconds-60)}
	})
	return numbers[0], numbers[1]
}
