// Package scenario lets a program outside this module play scenarios of its own in the lab: the library's policies in
// virtual time, under simulated load, beside what is expected of them. [Main] is the whole program; the example shows one.
//
// A [Scenario] has a function Run that makes worlds ([Runs]), says what it expects ([Lab.Expect]) and draws what it has
// seen ([Lab.Draw]). In a world, pipelines are composed with [Compose], load comes from [World.Open] or from clients
// ([World.Go]), and [Server] is a model of a dependency. A world is made by its seed, bit for bit: take random numbers from
// [World.Rand], [World.Source] and [Actor.Rand], and tell the time with [World.Now].
//
// The package follows the lab: it may change in any minor version.
package scenario

import (
	"math/rand/v2"
	"os"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/lab/internal/command"
	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/reference"
	"github.com/go-resilience/resilience/lab/internal/scenario"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/policy"
)

// A scenario, its parameters, where it runs, and what it has shown.
type (
	Scenario = scenario.Scenario
	Param    = scenario.Param
	Lab      = scenario.Lab
	Number   = reference.Number // what is expected: a mean, and how far one run scatters around it
)

// A world, and what lives in it.
type (
	World        = sim.World
	Actor        = sim.Actor
	Server       = sim.Server
	Tally        = sim.Tally
	Distribution = sim.Distribution
	Arrivals     = sim.Arrivals
)

// A picture.
type (
	Figure = plot.Figure
	Panel  = plot.Panel
	Axis   = plot.Axis
	Series = plot.Series
)

// Unbounded is a queue of a [Server] without a bound.
const Unbounded = sim.Unbounded

// ErrFailed is how a server says that it has failed.
var ErrFailed = sim.ErrFailed

// Main is the lab's command for these scenarios, with its flags: -run, -set, -seed, -csv and the others. It exits.
func Main(scenarios ...*Scenario) { os.Exit(command.Run(scenarios, os.Args[1:], os.Stdout, os.Stderr)) }

// Compose is [resilience.Compose] for a world, where one thing happens after the other.
func Compose(layers ...policy.Layer) *resilience.Pipeline { return sim.Compose(layers...) }

// Runs makes a world for each variant and each seed and returns what they show, by variant and seed. Worlds of the same
// seed have the same arrivals and the same luck, whatever the variant. model sets a world up; what it returns is called
// after the end.
func Runs[T any](lab *Lab, variants, seeds int, model func(w *World, variant int) func() T) [][]T {
	return scenario.Runs(lab, variants, seeds, model)
}

// Column returns one number of each run.
func Column[T any](runs []T, number func(T) float64) []float64 { return scenario.Column(runs, number) }

// Line returns a line over xs, with one point for each variant: the mean of its runs, and a band from the smallest to the
// largest.
func Line[T any](name string, xs []float64, runs [][]T, number func(T) float64) Series {
	return scenario.Line(name, xs, runs, number)
}

// Theory returns a dashed line of f over xs.
func Theory(name string, xs []float64, f func(x float64) float64) Series {
	return scenario.Theory(name, xs, f)
}

// Exactly is a number that does not depend on chance.
func Exactly(v float64) Number { return reference.Exactly(v) }

// Share is a share of n things of which each is counted with probability p.
func Share(p, n float64) Number { return reference.Share(p, n) }

// Count is the number of things that come by chance, mean of them on average.
func Count(mean float64) Number { return reference.Count(mean) }

// Each is a mean of n things that have a mean and a standard deviation of their own.
func Each(mean, deviation, n float64) Number { return reference.Each(mean, deviation, n) }

// Poisson is arrivals that know nothing of each other, perSecond of them on average.
func Poisson(perSecond float64) Arrivals { return sim.Poisson(perSecond) }

// Varying is Poisson arrivals whose rate changes with time and is never above peak.
func Varying(peak float64, perSecond func(at time.Duration) float64) Arrivals {
	return sim.Varying(peak, perSecond)
}

// Regular is arrivals at equal distances.
func Regular(perSecond float64) Arrivals { return sim.Regular(perSecond) }

// Fixed is always d.
func Fixed(d time.Duration) Distribution { return sim.Fixed(d) }

// Exponential has the given mean.
func Exponential(mean time.Duration) Distribution { return sim.Exponential(mean) }

// Lognormal has the given median, and sigma is the standard deviation of its logarithm.
func Lognormal(median time.Duration, sigma float64) Distribution { return sim.Lognormal(median, sigma) }

// Drawn is a distribution of your own.
func Drawn(draw func(*rand.Rand) time.Duration) Distribution { return draw }

// Operation returns an operation, as the policies want it, that runs f as an actor of its own.
var Operation = sim.Operation
