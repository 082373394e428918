package reference

import (
	"math/rand/v2"
	"slices"
)

// HedgeSetup is the experiment of [Hedged].
type HedgeSetup struct {
	Servers          int
	Rate, Seconds    float64 // calls per second
	Delay            float64 // s until a second attempt; 0: none
	Ratio, PerSecond float64 // tokens per call and per second: 10 s of them at most; both 0: as many as wanted
}

// Hedged is the 99th percentile in ms of calls at servers with exponential service of 10 ms and one queue, which work on
// what nobody waits for any more, and the attempts per call. The first twentieth of the time is not counted.
func Hedged(s HedgeSetup, repeats int) (p99, load Number) {
	numbers := runs(repeats, func(r *rand.Rand) []float64 {
		var l loop
		var times []float64
		var waiting []func()
		busy, calls, attempts := 0, 0.0, 0.0
		tokens, last := max(1, 10*s.PerSecond), 0.0
		var serve func()
		serve = func() {
			for busy < s.Servers && len(waiting) > 0 {
				answer := waiting[0]
				waiting = waiting[1:]
				busy++
				l.after(r.ExpFloat64()/100, func() {
					busy--
					answer()
					serve()
				})
			}
		}
		send := func(answer func()) {
			attempts++
			waiting = append(waiting, answer)
			serve()
		}
		l.arrivals(r, s.Rate, s.Seconds, func() {
			calls++
			came, done := l.now, false
			answer := func() {
				if !done && came > s.Seconds/20 {
					times = append(times, 1000*(l.now-came))
				}
				done = true
			}
			most := 10*s.PerSecond + 10*s.Ratio*s.Rate
			tokens = min(max(1, most), tokens+s.Ratio+(l.now-last)*s.PerSecond)
			last = l.now
			send(answer)
			if s.Delay > 0 {
				l.after(s.Delay, func() {
					unlimited := s.Ratio == 0 && s.PerSecond == 0
					if done || !unlimited && tokens < 1 {
						return
					}
					tokens--
					send(answer)
				})
			}
		})
		l.run()
		slices.Sort(times)
		return []float64{times[int(.99*float64(len(times)))], attempts / calls}
	})
	return numbers[0], numbers[1]
}
