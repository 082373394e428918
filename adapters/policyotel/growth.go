package policyotel

import (
	"math"
	"sync"

	"go.opentelemetry.io/otel/attribute"
)

// growth makes counters that never fall of what is read of one target. A policy or pipeline that is replaced counts from 0
// again, under the same name: the SDK would export that as a negative change.
type growth struct {
	mu     sync.Mutex // held while the target is read and handed over: else the older of two readings would pass for a beginning
	counts map[counter]*counted
	round  uint64
}

type counter struct {
	name  string
	attrs attribute.Distinct
}

type counted struct {
	before float64 // by those that were replaced
	last   float64
	round  uint64 // in which it was read last
}

// of returns what a counter has come to, given what was read. What is no count, such as NaN for a number that is not known,
// leaves it where it is: NaN would stay in it for good.
func (g *growth) of(id counter, number float64) float64 {
	c := g.counts[id]
	if c == nil {
		if g.counts == nil {
			g.counts = make(map[counter]*counted)
		}
		c = &counted{}
		g.counts[id] = c
	}
	if !(number >= 0 && number <= math.MaxFloat64) {
		number = c.last
	}
	if number < c.last {
		c.before += c.last
	}
	c.last, c.round = number, g.round
	return c.before + c.last
}

// forget forgets the counters that were not read in this round: their policies are gone.
func (g *growth) forget() {
	for id, c := range g.counts {
		if c.round != g.round {
			delete(g.counts, id)
		}
	}
}
