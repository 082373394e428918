// Package truth makes worlds whose dependency is known, records their traffic, and compares what a replay predicts from the
// recording with what really comes of it.
package truth

import (
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"time"

	"github.com/go-resilience/resilience/lab/internal/replay"
	"github.com/go-resilience/resilience/lab/internal/replay/logs"
	"github.com/go-resilience/resilience/lab/internal/sim"
)

// World is traffic and a dependency. Times are in seconds from the beginning.
type World struct {
	Name, Kind string
	Horizon    float64
	Peak       float64                 // calls a second
	Rate       func(t float64) float64 // share of the peak, nil: all of it

	Slots, Queue int // of the server; 0 slots are any number
	LastFirst    bool
	SkipGone     bool
	Service      sim.Distribution
	Slower       func(t float64) float64
	SlowByLoad   func(busy int) float64
	Fails        func(t float64, waiting, busy int) float64
	FailFast     float64    // factor of the service of failures; 0: 1
	Frozen       [2]float64 // from, until
	BadCalls     float64    // share of calls whose every attempt fails
	Sizes        float64    // standard deviation of the logarithm of the size of a call, which its attempts share

	Policies string // that were in force when the traffic was recorded, as layers of a configuration
	Numbered bool   // the log has numbers of attempts
	Tick     time.Duration
	Thin     bool
}

var errFailed = errors.New("5xx")

// arrivals makes the times at which calls come, the first at 0.
func (t *World) arrivals(seed uint64) (all []time.Duration) {
	r := rand.New(rand.NewPCG(seed, 77))
	for at := r.ExpFloat64() / t.Peak; at < t.Horizon; at += r.ExpFloat64() / t.Peak {
		if t.Rate == nil || r.Float64() < t.Rate(at) {
			all = append(all, time.Duration(at*1e9))
		}
	}
	for i := len(all) - 1; i >= 0; i-- {
		all[i] -= all[0]
	}
	return all
}

// noted is an attempt that was made.
type noted struct {
	call, nth int
	at, took  time.Duration
	failed    bool
	cut       bool
}

// model is the true dependency. note, if not nil, hears of attempts.
func (t *World) model(note func(noted)) replay.Model {
	return replay.NewModel("truth", func(w *sim.World) func(a *sim.Actor, call, nth int) error {
		factor, inflight := 1.0, 0
		at := func(s float64) time.Duration { return time.Duration(s * 1e9) }
		server := &sim.Server{
			Slots: t.Slots, Queue: t.Queue, LastFirst: t.LastFirst, SkipGone: t.SkipGone,
			FrozenFrom: at(t.Frozen[0]), FrozenUntil: at(t.Frozen[1]),
		}
		server.Service = func(r *rand.Rand) time.Duration { return time.Duration(float64(t.Service(r)) * factor) }
		if t.Slower != nil || t.SlowByLoad != nil {
			server.Slower = func(at time.Duration) float64 {
				f := 1.0
				if t.Slower != nil {
					f = t.Slower(at.Seconds())
				}
				if t.SlowByLoad != nil {
					busy := server.Busy()
					if t.Slots == 0 {
						busy = inflight
					}
					f *= t.SlowByLoad(busy)
				}
				return f
			}
		}
		type property struct{ luck, size float64 }
		properties := map[int]property{}
		r := w.Rand("properties")
		return func(a *sim.Actor, call, nth int) error {
			own, known := properties[call]
			if !known {
				own = property{r.Float64(), math.Exp(t.Sizes * r.NormFloat64())}
				properties[call] = own
			}
			came := a.Now()
			fails := own.luck < t.BadCalls
			if t.Fails != nil && a.Rand("failure").Float64() < t.Fails(came.Seconds(), server.Waiting(), server.Busy()) {
				fails = true
			}
			factor = own.size
			if fails && t.FailFast > 0 {
				factor = t.FailFast
			}
			inflight++
			err := server.Serve(a)
			inflight--
			if err == nil && fails {
				err = errFailed
			}
			if note != nil {
				note(noted{call, nth, came, a.Now() - came, err != nil, err != nil && a.Err() != nil})
			}
			return err
		}
	})
}

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// line is a line of the log.
func (t *World) line(n noted) logs.Record {
	tick := max(1, t.Tick)
	r := logs.Record{Start: noon.Add(n.at), Latency: n.took.Truncate(tick)}
	if tick > 1 { // the log has the end, as nginx does
		r.Start = noon.Add((n.at + n.took).Truncate(tick)).Add(-r.Latency)
	}
	if t.Numbered {
		r.Call, r.Attempt = string(rune('0'+n.call%10))+time.Duration(n.call).String(), n.nth
	}
	switch {
	case n.cut:
		r.Failed, r.Kind, r.Code, r.Censored = true, "timeout", "timeout.attempt", true
	case n.failed:
		r.Failed, r.Kind = true, "5xx"
	}
	return r
}

func layers(text string) (*replay.Candidate, error) {
	return replay.NewCandidate("p.json", []byte(`{"pipelines":{"p":{"layers":[`+text+`]}}}`), "")
}

type source struct {
	records []logs.Record
	next    int
	notes   logs.Notes
}

func (s *source) Next() (logs.Record, error) {
	if s.next == len(s.records) {
		return logs.Record{}, io.EOF
	}
	s.next++
	return s.records[s.next-1], nil
}

func (s *source) Notes() logs.Notes {
	s.notes.Lines, s.notes.Records = s.next, s.next
	return s.notes
}
