package ratelimit_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

// In every window, a key gets at most burst + rate·window of the attempts that are made: whatever comes back, whoever else
// comes, and whether it has room of its own, shares a bucket, or goes from one to the other.
func TestFault283_PerKeyWindowBoundOfTheAttemptsThatWereMade(t *testing.T) {
	shared := false
	rapid.Check(t, func(r *rapid.T) {
		perSecond := rapid.SampledFrom([]float64{1, 3, 7.7, 100, 3e5}).Draw(r, "rate")
		burst := rapid.IntRange(1, 6).Draw(r, "burst")
		others := rapid.SampledFrom([]int{0, 100, 700}).Draw(r, "others")
		steps := slice(r, rapid.IntRange(0, 1<<20), 200)
		check(r, t, func(fail func(string, ...any)) {
			p := ratelimit.NewPerKey(perSecond, burst, clientOf, ratelimit.Keys(1))
			type attempt struct {
				permit *policy.Permit
				at     time.Duration
				key    int
				gone   bool
			}
			var open, all []*attempt
			start, next := time.Now(), 0
			for _, s := range steps {
				switch what, value := s%5, s/5; {
				case what == 0:
					time.Sleep(time.Duration(float64(value%2000) / 500 / perSecond * 1e9))
				case what == 1 && len(open) > 0:
					i := value % len(open)
					open[i].permit.Settle(neverCalled)
					open[i].gone = true
					open = append(open[:i], open[i+1:]...)
				case what == 2:
					for range value % (others + 1) {
						p.Allow(fmt.Sprint("other ", next%(2*others)))
						next++
					}
				default:
					key := value % 3
					if permit, err := policy.Acquire(client(fmt.Sprint(key)), p); err == nil {
						a := &attempt{permit: permit, at: time.Since(start), key: key}
						open, all = append(open, a), append(all, a)
					}
				}
			}
			for key := range 3 {
				var made []time.Duration
				for _, a := range all {
					if a.key == key && !a.gone {
						made = append(made, a.at)
					}
				}
				checkWindows(fail, made, perSecond, burst)
			}
			shared = shared || p.Snapshot().Overflowed > 0
		})
	})
	if !shared {
		t.Error("no key has shared a bucket")
	}
}
