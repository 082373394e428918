package stopwatch

import (
	"sync/atomic"
	"time"
)

// Steady is a [Stopwatch] for state that moves on with time and must never go back: tokens, windows. Its moments do
// not fall, whatever its readings do. Make one with [StartSteady]. It is safe for concurrent use and must not be copied.
//
// The owner keeps the newest moment that its state has seen, and asks with it:
//
//	reading := s.clock.Reading()            // may be read before a lock is taken
//	s.newest = s.clock.Moment(s.newest, reading)
//
// A reading that lies a little behind the newest moment is late, or its clock flaps: it counts as the newest moment. One
// that lies more than a day behind comes from another clock, as inside a testing/synctest bubble around state that was
// made outside of it. Time then goes on from the newest moment at the pace of the new clock; state that waited for the
// old time to come again would be frozen.
type Steady struct {
	watch Stopwatch
	shift atomic.Int64 // from readings of the clock to moments; not 0 once the clock was replaced
}

// replaced is how far back a reading must lie to come from another clock.
const replaced = 24 * time.Hour

// StartSteady returns a running Steady.
func StartSteady() Steady { return Steady{watch: Start()} }

// Reading reads the clock. It is not a moment yet: [Steady.Moment] makes it one.
func (s *Steady) Reading() time.Duration { return s.watch.Elapsed() }

// Moment returns the moment of a reading, which is newest at least.
func (s *Steady) Moment(newest, reading time.Duration) time.Duration {
	if moment := s.moment(reading); moment >= newest {
		return moment
	}
	return s.behind(newest, reading)
}

// behind is Moment for a reading that lies behind. It reads the clock once more before it takes it for another clock: a process
// can also be stopped for days between a reading and its use.
func (s *Steady) behind(newest, reading time.Duration) time.Duration {
	if newest-s.moment(reading) > replaced {
		reading = s.watch.Elapsed()
	}
	if newest-s.moment(reading) > replaced {
		s.shift.Store(int64(newest - reading))
	}
	return max(newest, s.moment(reading))
}

func (s *Steady) moment(reading time.Duration) time.Duration {
	return reading + time.Duration(s.shift.Load())
}

// Time returns the instant at which the clock shows, or will show, moment.
func (s *Steady) Time(moment time.Duration) time.Time {
	return s.watch.Time(moment - time.Duration(s.shift.Load()))
}
