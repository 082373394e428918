package playground

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/lab/internal/play"
)

// runs is what a state shows: both sides.
type runs [2]*play.Result

func (r runs) success(side int) float64 { return float64(r[side].Succeeded) / float64(r[side].Calls) }

// mean is the mean of something over seconds.
func mean(r *play.Result, from, until int, of func(*play.Row) int) float64 {
	sum := 0
	for i := from; i < until; i++ {
		sum += of(&r.Rows[i])
	}
	return float64(sum) / float64(until-from)
}

func succeeded(row *play.Row) int { return row.Succeeded }
func attempts(row *play.Row) int  { return row.Attempts }
func waiting(row *play.Row) int   { return row.Waiting }

// opens is the second in which a breaker first is open, -1 for never.
func opens(r *play.Result) int {
	for i := range r.Rows {
		for _, state := range r.Rows[i].Breaker {
			if state == play.StateOpen {
				return i
			}
		}
	}
	return -1
}

// with returns an address in which something is changed, as a reader would.
func with(address, change string) string { return address + "&" + change }

// claims is what the steps of the lessons say that there is to see, by lesson and step.
var claims = map[string][]func(t *testing.T, address string, run func(address string) runs){
	order.Title: {
		func(t *testing.T, address string, run func(string) runs) {
			r := run(address)
			require.InDelta(t, 3, mean(r[0], 21, 39, attempts)/mean(r[1], 21, 39, attempts), .2, "triple the load")
			require.Zero(t, mean(r[0], 21, 39, succeeded), "and no success")
			more := run(with(address, "a.attempts=6"))
			require.Greater(t, mean(more[0], 21, 39, attempts), 1.7*mean(r[0], 21, 39, attempts))
			for _, r := range []runs{r, more} {
				require.Zero(t, mean(r[0], 23, 40, succeeded), "and no success before 40 s")
			}
		},
		func(t *testing.T, address string, run func(string) runs) {
			r := run(address)
			require.InDelta(t, 22, opens(r[1]), 1, "after about two seconds")
			require.InDelta(t, 25, opens(r[0]), 1, "after about five")
			require.InDelta(t, 150, mean(r[0], 21, 24, attempts), 25)
			both := run(with(address, "b.breaker.place=1"))
			require.Equal(t, both[0].Hash, both[1].Hash, "B becomes A")
		},
		func(t *testing.T, address string, run func(string) runs) {
			r := run(address)
			require.Equal(t, -1, opens(r[0]), "never sees the half")
			require.Positive(t, opens(r[1]))
			require.InDelta(t, .78, mean(r[0], 22, 40, succeeded)/mean(r[0], 22, 40, func(row *play.Row) int { return row.Calls }), .06)
			require.Less(t, r.success(1), r.success(0)-.15, "most of them would have succeeded")
			require.Equal(t, -1, opens(run(with(address, "b.failures=75"))[1]))
		},
		func(t *testing.T, address string, run func(string) runs) {
			r := run(address)
			require.InDelta(t, 98, mean(r[0], 21, 39, attempts), 10)
			require.InDelta(t, 60, mean(r[1], 21, 39, attempts), 3)
			require.Positive(t, r[1].Rejected)
			require.Less(t, r.success(1), r.success(0)-.05, "it has a price")
		},
		func(t *testing.T, address string, run func(string) runs) {
			r := run(address)
			require.Greater(t, r[0].P999, 1000.)
			require.LessOrEqual(t, r[1].P999, 800.)
			require.Less(t, r.success(1), r.success(0))
		},
	},
	storm.Title: {
		func(t *testing.T, address string, run func(string) runs) {
			for _, more := range []string{"", "t=20a10u", "t=10a20u"} {
				r := run(with(address, more))
				require.InDelta(t, 75, mean(r[0], 32, 60, succeeded), 5, "it is over")
			}
		},
		func(t *testing.T, address string, run func(string) runs) {
			r := run(address)
			require.Zero(t, mean(r[0], 26, 60, succeeded), "the storm does not end")
			require.InDelta(t, 75, mean(r[1], 26, 60, succeeded), 5)
			require.Greater(t, mean(r[0], 30, 60, waiting), 450.)
			require.InDelta(t, 75, mean(run(with(address, "a.retry=0"))[0], 26, 60, succeeded), 5)
		},
		func(t *testing.T, address string, run func(string) runs) {
			require.Zero(t, mean(run(address)[0], 26, 60, succeeded))
			require.InDelta(t, 30, mean(run(with(address, "rate=30"))[0], 26, 60, succeeded), 4, "below the hidden capacity")
			require.Zero(t, mean(run(with(address, "rate=50"))[0], 26, 60, succeeded), "somewhere above")
		},
		func(t *testing.T, address string, run func(string) runs) {
			r := run(address)
			require.Zero(t, mean(r[0], 26, 60, succeeded))
			require.InDelta(t, 75, mean(r[1], 26, 60, succeeded), 5)
			require.Less(t, mean(r[1], 22, 60, attempts), 90.)
			require.Zero(t, mean(run(with(address, "b.budget=1"))[1], 26, 60, succeeded), "the default is the whole capacity")
		},
		func(t *testing.T, address string, run func(string) runs) {
			r := run(address)
			require.Zero(t, mean(r[0], 26, 60, succeeded))
			require.InDelta(t, 75, mean(r[1], 31, 60, succeeded), 5)
			require.InDelta(t, 75, mean(run(with(address, "b.open=500"))[1], 31, 60, succeeded), 5)
		},
		func(t *testing.T, address string, run func(string) runs) {
			require.InDelta(t, 75, mean(run(address)[0], 26, 60, succeeded), 5)
			require.Zero(t, mean(run(with(address, "queue=100"))[0], 26, 60, succeeded), "the storm returns")
		},
	},
	jitter.Title: {
		func(t *testing.T, address string, run func(string) runs) {
			r := run(address)
			require.InDelta(t, .1, r.success(0), .01)
			require.InDelta(t, 1, run(with(address, "clients=10")).success(0), 0)
		},
		func(t *testing.T, address string, run func(string) runs) {
			r := run(address)
			require.Equal(t, []int{100, 90, 0, 80, 0, 0, 0, 70}, func() (seen []int) {
				for i := 5; i < 13; i++ {
					seen = append(seen, r[0].Rows[i].Attempts)
				}
				return seen
			}())
			require.InDelta(t, 1, r.success(1), .005)
			require.InDelta(t, .4, r.success(0), .01)
			require.InDelta(t, 1, run(with(address, "a.jitter=1")).success(0), .005)
		},
		func(t *testing.T, address string, run func(string) runs) {
			r := run(address)
			require.Greater(t, r[0].Attempts, 5*r[1].Attempts/2)
			require.Less(t, r.success(0), .7)
		},
		func(t *testing.T, address string, run func(string) runs) {
			r := run(address)
			require.Less(t, r.success(0), .75)
			require.InDelta(t, 1, r.success(1), .005)
			require.InDelta(t, 1, run(with(address, "a.delay=1000")).success(0), .005)
		},
		func(t *testing.T, address string, run func(string) runs) {
			r := run(address)
			full := run(with(address, "a.jitter=1"))
			for _, side := range []int{0, 1} {
				require.InDelta(t, 1, r.success(side), .01)
				require.Less(t, full[0].P50, r[side].P50, "full jitter is quickest")
			}
		},
		func(t *testing.T, address string, run func(string) runs) {
			r := run(address)
			require.InDelta(t, r.success(0), r.success(1), .03)
			for _, side := range []int{0, 1} {
				require.InDelta(t, 310, mean(r[side], 10, 60, attempts), 40)
			}
			budget := run(with(address, "b.budget=2"))
			require.Less(t, mean(budget[1], 10, 60, attempts), .5*mean(r[1], 10, 60, attempts), "fewer than half")
			require.InDelta(t, r.success(1), budget.success(1), .03, "as many successes")
		},
	},
	hedging.Title: {
		func(t *testing.T, address string, run func(string) runs) {
			r := run(address)
			require.InDelta(t, 280, r[0].P99, 30)
			require.InDelta(t, 190, r[1].P99, 20)
			require.InDelta(t, 1.05, float64(r[1].Attempts)/float64(r[1].Calls), .01)
		},
		func(t *testing.T, address string, run func(string) runs) {
			r := run(address)
			require.Less(t, r[0].P99, r[1].P99)
			require.InDelta(t, 1.5, float64(r[0].Attempts)/float64(r[0].Calls), .03)
		},
		func(t *testing.T, address string, run func(string) runs) {
			r := run(address)
			require.Greater(t, r[1].P50, 4000.)
			require.Less(t, r[0].P99, 500.)
			room := run(with(address, "rate=100"))
			require.Less(t, room[1].P99, room[0].P99)
		},
		func(t *testing.T, address string, run func(string) runs) {
			r := run(address)
			require.InDelta(t, 1, r.success(1), 0)
			require.Greater(t, r[1].P99, 3*r[0].P99, "many times later")
		},
		func(t *testing.T, address string, run func(string) runs) {
			r := run(address)
			require.Greater(t, mean(r[0], 40, 60, waiting), 500., "the queue stays")
			require.Less(t, mean(r[1], 40, 60, waiting), 20.)
			require.Less(t, mean(r[0], 40, 60, succeeded), 110.)
		},
	},
}

// What the lessons say is so.
func TestLessonsSayWhatIsSo(t *testing.T) {
	for i := range lessons {
		l := &lessons[i]
		require.Len(t, claims[l.Title], len(l.Steps)-1, l.Title)
		for n, claim := range claims[l.Title] {
			if n != 1 && !testsize.Whole() {
				continue
			}
			t.Run(l.Title, func(t *testing.T) {
				t.Parallel()
				claim(t, l.Steps[n].Address, func(address string) (r runs) {
					s := play.Decode(address)
					for side := range r {
						r[side] = s.Run(side, play.Watcher{})
						require.NoError(t, r[side].Err)
						require.Empty(t, r[side].Refused+r[side].Cut)
					}
					return r
				})
			})
		}
	}
}

// Lessons are complete, and what they show exists.
func TestLessonsAreWhole(t *testing.T) {
	keys := map[string]bool{"t": true}
	for _, p := range play.Params() {
		keys[p.Key] = true
	}
	require.Len(t, lessons, 4)
	for _, l := range lessons {
		require.NotEmpty(t, l.Idea)
		require.GreaterOrEqual(t, len(l.Steps), 5, l.Title)
		require.LessOrEqual(t, len(l.Steps), 7, l.Title)
		require.Len(t, l.Steps[0].Controls, 1, "%s: it begins with one control", l.Title)
		require.Empty(t, l.Steps[len(l.Steps)-1].Controls, "%s: it ends in the sandbox", l.Title)
		for n, step := range l.Steps {
			require.NotEmpty(t, step.Text)
			require.NotEmpty(t, step.Look)
			require.Less(t, len(strings.Join(step.Text, "")+step.Look), 700, "%s, step %d: it is long", l.Title, n+1)
			s := play.Decode(step.Address)
			require.Equal(t, *s, *play.Decode(s.Encode()))
			for item := range strings.SplitSeq(step.Address, "&") {
				key, _, _ := strings.Cut(item, "=")
				require.True(t, keys[key], "%s, step %d: %s", l.Title, n+1, item)
			}
			for _, key := range step.Controls {
				require.True(t, keys[key], "%s, step %d: %s", l.Title, n+1, key)
			}
		}
		require.Len(t, l.Quiz, 3)
		for _, q := range l.Quiz {
			require.Len(t, q.Options, 3)
			require.Less(t, q.Answer, 3)
			require.NotEmpty(t, q.Why)
		}
	}
}
