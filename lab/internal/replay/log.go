package replay

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-resilience/resilience/lab/internal/replay/logs"
)

// MaxSpan is the longest stretch of time that is replayed at once.
const MaxSpan = 31 * 24 * time.Hour

// Log is recorded traffic: calls in the order in which they came, and the attempts that reached the dependency in the order
// in which they began. Times count from the first call.
type Log struct {
	Notes    logs.Notes
	Begin    time.Time // of the first call
	Span     time.Duration
	Numbered bool // lines have a call and the number of the attempt; otherwise each is taken for a call

	calls    []call
	attempts []attempt
	kinds    []string // of failures; the first is "", success
	failures []error  // by kind
	censored int      // attempts that were cut short
	further  int      // calls that have a second attempt, or a later one
	headless int      // and no first one
}

// call is a call as it was recorded.
type call struct {
	at, took time.Duration
	first    int32 // of its attempts, -1: all were refused
	outcome  uint8 // index of kinds, 0: it succeeded
	noted    bool
}

// attempt is an attempt as it was recorded.
type attempt struct {
	at, took time.Duration
	call     int32
	next     int32 // attempt of the same call, -1: none
	outcome  uint8 // index of kinds
	cut      cut
}

// cut says what ended an attempt before its answer came.
type cut uint8

const (
	whole    cut = iota
	byPolicy     // a policy that was in force when the log was recorded
	byCaller     // who called, or something between: it would do so again
)

func (a *attempt) end() time.Duration { return a.at + a.took }

// maxKinds bounds the kinds of failures that are told apart.
const maxKinds = 200

// line is a record as it waits for the end of the log.
type line struct {
	start, queued, took int64 // nanoseconds, start since 1970
	call                uint64
	attempt             int32
	outcome             uint8
	refused             bool
	cut                 cut
}

// Read reads a log to its end. progress, if not nil, hears of the lines that were read.
func Read(source logs.Source, progress func(lines int)) (*Log, error) {
	b := builder{log: &Log{}, kinds: map[string]uint8{"": 0}, seed: maphash.MakeSeed()}
	b.log.kinds = []string{""}
	b.log.failures = []error{nil}
	for {
		record, err := source.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := b.add(&record); err != nil {
			return nil, err
		}
		if len(b.lines)%10_000 == 0 && progress != nil {
			progress(len(b.lines))
		}
	}
	b.log.Notes = source.Notes()
	return b.finish()
}

type builder struct {
	log   *Log
	lines []line
	kinds map[string]uint8
	seed  maphash.Seed
	ids   int // lines that have call and attempt
}

func (b *builder) add(r *logs.Record) error {
	start := r.Start.UnixNano()
	if year := r.Start.Year(); year < 1971 || year > 2200 {
		return fmt.Errorf("replay: a line of the year %d: times must be from 1971 to 2200", year)
	}
	if len(b.lines) >= math.MaxInt32 {
		return errors.New("replay: the log has more than 2,147,483,647 lines: replay a part of it")
	}
	l := line{start: start, took: int64(max(0, r.Latency)), queued: int64(max(0, r.Queued)), attempt: int32(min(max(0, r.Attempt), math.MaxInt32)), refused: r.Kind == "rejected" && r.Policy != ""}
	if r.Call != "" && r.Attempt > 0 {
		l.call = maphash.String(b.seed, r.Call)
		b.ids++
	} else {
		l.attempt = 0
	}
	if r.Failed || l.refused {
		l.outcome = b.kind(r)
	}
	if r.Censored && r.Failed {
		l.cut = byCaller
		if strings.HasPrefix(r.Code, "timeout.") { // by our own recorder
			l.cut = byPolicy
		}
	}
	b.lines = append(b.lines, l)
	return nil
}

// kind returns the index of a kind of failure.
func (b *builder) kind(r *logs.Record) uint8 {
	name := r.Kind
	switch {
	case r.Kind == "rejected" && r.Policy != "": // by a pipeline, which a candidate takes the place of
		name = refusalName("", r.Code)
	case name == "":
		name = "failed"
	}
	key := name + "\x00" + r.Class
	index, known := b.kinds[key]
	if !known {
		if len(b.log.kinds) == maxKinds {
			return maxKinds - 1
		}
		index = uint8(len(b.log.kinds))
		b.kinds[key] = index
		b.log.kinds = append(b.log.kinds, name)
		b.log.failures = append(b.log.failures, newFailure(name, r.Class))
	}
	return index
}

// finish makes the log of its lines.
func (b *builder) finish() (*Log, error) {
	l := b.log
	if len(b.lines) == 0 {
		return nil, errors.New("replay: the log has no line that says when a request began and how it ended")
	}
	l.Numbered = b.ids > len(b.lines)/2
	slices.SortStableFunc(b.lines, func(a, b line) int { return compare(a.start-a.queued, b.start-b.queued) })
	first, last := b.lines[0].start-b.lines[0].queued, b.lines[len(b.lines)-1].start
	if span := last - first; span > int64(MaxSpan) {
		return nil, fmt.Errorf("replay: the log spans %d days, from %s to %s; at most %d days can be replayed at once",
			span/int64(24*time.Hour), day(first), day(last), MaxSpan/(24*time.Hour))
	}
	l.Begin = time.Unix(0, first).UTC()
	b.spread()
	b.join(first)
	for i := range l.attempts {
		if l.attempts[i].cut != whole {
			l.censored++
		}
	}
	l.Span = l.calls[len(l.calls)-1].at
	return l, nil
}

func day(nanoseconds int64) string {
	return time.Unix(0, nanoseconds).UTC().Format("2006-01-02")
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// spread sets lines apart that began at the same tick of a coarse clock: evenly within the tick, in the order of the log,
// and never two at the same instant.
func (b *builder) spread() {
	tick := int64(max(1, b.log.Notes.Resolution))
	if tick == 1 {
		return // only what is equal is set apart, see join
	}
	for i := 0; i < len(b.lines); {
		begin := b.lines[i].start - b.lines[i].queued
		j := i
		for j < len(b.lines) && b.lines[j].start-b.lines[j].queued == begin {
			j++
		}
		step := tick / int64(j-i)
		for k := i; k < j; k++ {
			// Multiples of a step would meet the timers of other calls, so each has a remainder of its own.
			b.lines[k].start += step*int64(k-i) + int64(uint64(k)*2654435761%uint64(max(1, step)))
		}
		i = j
	}
}

// join makes calls of lines.
func (b *builder) join(first int64) {
	l := b.log
	l.attempts = make([]attempt, 0, len(b.lines))
	byNumber := map[uint64]int32{} // index of the call
	previous := time.Duration(-1)
	var numbers []uint8 // of attempts of each call: 1 for the first, 2 for further ones
	for i := range b.lines {
		n := &b.lines[i]
		index, known := int32(0), false
		if n.attempt > 0 {
			index, known = byNumber[n.call]
		}
		if !known {
			index = int32(len(l.calls))
			previous = max(previous+1, time.Duration(n.start-n.queued-first))
			l.calls = append(l.calls, call{at: previous, first: -1})
			numbers = append(numbers, 0)
			if n.attempt > 0 {
				byNumber[n.call] = index
			}
		}
		switch {
		case n.attempt == 1:
			numbers[index] |= 1
		case n.attempt > 1:
			numbers[index] |= 2
		}
		c := &l.calls[index]
		start := max(time.Duration(n.start-first), c.at+time.Duration(n.queued))
		c.note(n.outcome, start+time.Duration(n.took)-c.at)
		if !n.refused {
			l.attempts = append(l.attempts, attempt{at: start, took: time.Duration(n.took), call: index, next: -1, outcome: n.outcome, cut: n.cut})
		}
	}
	b.lines = nil
	for _, seen := range numbers {
		if seen&2 > 0 {
			l.further++
		}
		if seen == 2 {
			l.headless++
		}
	}
	slices.SortStableFunc(l.attempts, func(a, b attempt) int { return compare(int64(a.at), int64(b.at)) })
	last := make([]int32, len(l.calls)) // attempt of each call, from 1
	for i := range l.attempts {
		c := l.attempts[i].call
		if last[c] == 0 {
			l.calls[c].first = int32(i)
		} else {
			l.attempts[last[c]-1].next = int32(i)
		}
		last[c] = int32(i) + 1
		if a := &l.attempts[i]; a.cut == byCaller && l.Numbered && l.calls[c].outcome == 0 {
			a.cut = byPolicy // the loser of a hedge
		}
	}
}

// note adds an attempt, or a refusal, to what became of a call: its success, otherwise how it ended last.
func (c *call) note(outcome uint8, took time.Duration) {
	if c.noted && (c.outcome == 0 || outcome != 0 && took < c.took) {
		return
	}
	c.outcome, c.took, c.noted = outcome, took, true
}

func (c *call) refused() bool { return c.first < 0 }

// PerSecond returns how many lines there are in a second.
func (l *Log) PerSecond() float64 {
	return float64(l.Notes.Records) / max(1, l.Span.Seconds())
}
