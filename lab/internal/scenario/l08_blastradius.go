package scenario

import (
	"math"
	"strconv"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/reference"
	"github.com/go-resilience/resilience/lab/internal/sim"
)

var blastRadius = Scenario{
	Name:     "L8",
	Page:     "blast-radius",
	Question: "One breaker for a sharded dependency?",
	Answer:   "No. With 1 of 10 shards dead, one breaker that is sharp enough to notice leaves 0.5 % of the calls; one breaker per shard leaves 90 %, all that can be had.",
	Setup: []string{
		"10 shards, chosen evenly by chance for each call; one is dead. 1,000 calls/s, which take no time, for 200 s.",
		"On: breaker.FailureRate(th, 20) over a count window of 100, open for 5 s, one probe, one success closes. Off: retry, jitter of the open time.",
		"Per shard: one pipeline for each, in a keyed.Registry.",
	},
	Advice: []string{
		"Give each unit that can fail its own breaker: a shard, a host, a tenant. keyed.New makes one pipeline for each and evicts those that are idle.",
		"A breaker for the whole with a high threshold is not a compromise. At 50 % it never trips, and the dead shard gets 100 calls a second for ever; with a breaker per shard it gets 20 calls and then one every 5 s.",
	},
	Limits: []string{
		"If the client cannot know which shard a call goes to, it cannot have a breaker per shard. Then let the server name the shard in its error.",
		"A thousand shards with one call a minute each: no breaker learns enough. Group them by what fails together.",
	},
	Sources: []string{
		"M. Brooker, Will circuit breakers solve my problems?, 2022, for the argument. The numbers are those of the same breakers, written down again without the library.",
	},
	Params: []Param{
		{"rate", "calls", "per second", 1000, 100, 5000, false},
		{"open", "time of the breakers", "s", 5, .5, 20, false},
		{"shards", "one of which is dead", "", 10, 2, 100, true},
	},
	Run: runBlastRadius,
}

type blast struct {
	available, trips, dead float64
	perSecond              []float64 // calls of the dead shard
}

func runBlastRadius(lab *Lab) {
	shards := int(math.Round(lab.In("shards")))
	rate, open := lab.Param("rate"), lab.Param("open")
	seconds := Pick(lab, 40, 200, 600)
	newBreaker := func(threshold float64, o *blast) *breaker.Breaker {
		return breaker.New(breaker.FailureRate(threshold, 20), breaker.CountWindow(100), breaker.OpenFor(gap(lab.In("open"), 1)), breaker.Jitter(0),
			breaker.OnChange(func(c breaker.Change) {
				if c.From == breaker.Closed {
					o.trips++
				}
			}))
	}
	global := func(threshold float64) func(o *blast) func(shard int) *resilience.Pipeline {
		return func(o *blast) func(int) *resilience.Pipeline {
			one := compose(newBreaker(threshold, o))
			return func(int) *resilience.Pipeline { return one }
		}
	}
	variants := []struct {
		name string
		make func(o *blast) func(shard int) *resilience.Pipeline
	}{
		{"one breaker, 5 %", global(.05)},
		{"one breaker, 50 %", global(.5)},
		{"one per shard, 50 %", func(o *blast) func(int) *resilience.Pipeline {
			each := keyed.New(func(string) *resilience.Pipeline { return compose(newBreaker(.5, o)) })
			return func(shard int) *resilience.Pipeline { return each.Get(strconv.Itoa(shard)) }
		}},
	}
	model := func(w *sim.World, variant int) func() blast {
		o := blast{perSecond: make([]float64, seconds)}
		pipeline := variants[variant].make(&o)
		healthy, dead := &sim.Server{}, &sim.Server{Fails: func(time.Duration) float64 { return 1 }}
		dead.Attempted = func(at time.Duration) { o.perSecond[int(at/time.Second)]++ }
		choice := w.Rand("shard")
		tally := w.Open(sim.Poisson(lab.In("rate")), time.Duration(seconds)*time.Second, func(a *sim.Actor) error {
			shard := choice.IntN(shards)
			if shard == 0 {
				return pipeline(shard).Run(a, dead.Call)
			}
			return pipeline(shard).Run(a, healthy.Call)
		})
		return func() blast {
			o.available, o.dead = 100*tally.Success(), float64(dead.Requests)
			return o
		}
	}
	runs := Runs(lab, 1, Pick(lab, 1, 8, 20), model) // when it opens is chance
	runs = append(runs, Runs(lab, len(variants)-1, Pick(lab, 1, 2, 20), func(w *sim.World, variant int) func() blast { return model(w, variant+1) })...)
	available := func(o blast) float64 { return o.available }
	trips := func(o blast) float64 { return o.trips }
	const source = "the same breaker, by hand"
	by := remember(lab, "one", func() two {
		return pair(reference.OneBreaker(.05, rate, 1/lab.Param("shards"), open, float64(seconds), 20))
	})
	some, sometimes := by.a, by.b
	calls := rate * float64(seconds)
	most := reference.Share(1-1/lab.Param("shards"), calls)
	lab.Expect("availability %, "+variants[0].name, column(runs[0], available), some.Times(100), source)
	lab.Expect("availability %, "+variants[1].name, column(runs[1], available), most.Times(100), "all but one shard")
	lab.Expect("availability %, "+variants[2].name, column(runs[2], available), most.Times(100), "all but one shard")
	lab.Expect("trips, "+variants[0].name, column(runs[0], trips), sometimes.Times(float64(seconds)), source)
	lab.ExpectWithin("trips, "+variants[1].name, column(runs[1], trips), 0, 0, "one shard is less than the threshold")
	lab.ExpectWithin("trips, "+variants[2].name, column(runs[2], trips), 1, 1, "the dead shard's")
	period := open + lab.Param("shards")/rate
	probes := math.Floor(float64(seconds) / period)
	lab.ExpectWithin("calls of the dead shard, "+variants[2].name, column(runs[2], func(o blast) float64 { return o.dead }), 20+probes-1, 20+math.Floor(float64(seconds)/open), "20, and one in each open time")
	lab.Expect("calls of the dead shard per second, "+variants[1].name, column(runs[1], func(o blast) float64 { return o.dead / float64(seconds) }), reference.Count(calls/lab.Param("shards")).Times(1/float64(seconds)), "its share")

	bars := plot.Panel{Title: "Availability", X: plot.Axis{Label: "one at 5 %  ·  one at 50 %  ·  one per shard at 50 %", Bare: true, Min: plot.At(.5), Max: plot.At(3.5)}, Y: plot.Axis{Label: "calls that succeed, %", Min: plot.At(0), Max: plot.At(100)}}
	dead := plot.Panel{Title: "Calls of the dead shard so far", X: plot.Axis{Label: "seconds"}, Y: plot.Axis{Label: "calls", Log: true}}
	for i, v := range variants {
		at := float64(i + 1)
		bars.Series = append(bars.Series, plot.Series{Name: v.name, X: []float64{at - .3, at - .3, at + .3, at + .3}, Y: []float64{0, mean(column(runs[i], available)), mean(column(runs[i], available)), 0},
			Low: []float64{0, 0, 0, 0}, High: []float64{0, mean(column(runs[i], available)), mean(column(runs[i], available)), 0}})
		so := plot.Series{Name: v.name, Style: plot.Step}
		sum := 0.0
		for second, n := range runs[i][0].perSecond {
			sum += n
			so.X, so.Y = append(so.X, float64(second+1)), append(so.Y, sum)
		}
		dead.Series = append(dead.Series, so)
	}
	lab.Draw(&plot.Figure{Title: "1 of 10 shards is dead", Columns: 2, Panels: []plot.Panel{bars, dead}})
}
