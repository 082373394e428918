package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

// model is what a breaker should do, written to be obviously right: lists of everything that ever happened, and counts
// made anew whenever a test asks.
type model struct {
	// the rules; zero where there is none
	consecutive, failureCount         int
	failures, slow                    int // per hundred
	minimumCalls                      int
	lastCalls                         int
	bucket                            time.Duration
	buckets                           int
	slowAfter, openFor, lease         time.Duration
	probes, successes, failedProbes   int
	generation                        int
	shadow                            bool
	state                             breaker.State
	byProbes                          bool // probes brought the state about
	since                             time.Time
	calls                             []modelCall // since the breaker closed
	inFlight                          []*modelAttempt
	slots                             []*modelSlot // of probes, oldest first
	succeeded, failed                 int          // probes
	rejected, shadowRejected, changes int
	ledger, entered                   map[string]int
}

type modelCall struct {
	at           time.Time
	failed, slow bool
}

type modelAttempt struct {
	ticket     policy.Ticket
	at         time.Time
	generation int
	probe      bool
	nowhere    bool // it counts nowhere: a shadow let it through, or it was stale when its result stayed open
	open       bool // its success was counted
}

type modelSlot struct {
	of    *modelAttempt // nil when the probe has ended
	until time.Time
}

func (m *model) now() breaker.State {
	if m.state == breaker.Open && time.Since(m.since) >= m.openFor {
		return breaker.HalfOpen
	}
	return m.state
}

func (m *model) enter(state breaker.State, byProbes bool) {
	if state != m.state {
		m.changes++
	}
	m.ledger["stale"] += m.unsettled()
	m.state, m.since, m.byProbes, m.slots, m.succeeded, m.failed = state, time.Now(), byProbes, nil, 0, 0
	m.generation++
	m.entered = maps.Clone(m.ledger)
	if state == breaker.Closed {
		m.calls = nil
	}
}

// unsettled returns how many probes would still count.
func (m *model) unsettled() (n int) {
	for _, s := range m.slots {
		if s.of != nil {
			n++
		}
	}
	return n
}

// taken returns how many slots are taken.
func (m *model) taken() (n int) {
	for _, s := range m.slots {
		if time.Now().Before(s.until) {
			n++
		}
	}
	return n
}

// most returns how many slots there are.
func (m *model) most() int { return min(m.probes, max(1, m.successes-m.succeeded)) }

func (m *model) admits() bool {
	switch m.now() {
	case breaker.Closed, breaker.ForcedClosed:
		return true
	case breaker.HalfOpen:
		return m.state == breaker.Open || m.taken() < m.most()
	}
	return false
}

func (m *model) admit(ticket policy.Ticket) *modelAttempt {
	a := &modelAttempt{ticket: ticket, at: time.Now(), nowhere: !m.admits()}
	if m.now() != m.state {
		m.enter(breaker.HalfOpen, false)
	}
	a.generation = m.generation
	m.inFlight = append(m.inFlight, a)
	if a.nowhere {
		m.shadowRejected++
		return a
	}
	if m.state == breaker.HalfOpen {
		a.probe = true
		for i := 0; i < len(m.slots) && len(m.slots) >= m.most(); {
			if time.Now().Before(m.slots[i].until) {
				i++
				continue
			}
			if m.slots[i].of != nil {
				m.ledger["stale"]++
			}
			m.slots = slices.Delete(m.slots, i, i+1)
		}
		m.slots = append(m.slots, &modelSlot{a, time.Now().Add(m.lease)})
	}
	return a
}

// end ends an attempt, or its operation if the result stays open. throttled is a neutral verdict of a special kind.
func (m *model) end(a *modelAttempt, verdict policy.Verdict, throttled, open bool) {
	slot := slices.IndexFunc(m.slots, func(s *modelSlot) bool { return s.of == a })
	ours := a.generation == m.generation && (!a.probe || slot >= 0)
	if a.open {
		ours = a.generation == m.generation || a.probe && a.generation+1 == m.generation && m.byProbes
	}
	slow := !a.open && m.slowAfter > 0 && a.ticket.Start >= 0 && time.Since(a.at) >= m.slowAfter
	failed := verdict == policy.Failure
	switch {
	case a.nowhere || a.open && !failed:
		return
	case !ours:
		if !a.probe || a.open {
			m.ledger["stale"]++ // of a probe it was known before
		}
		a.nowhere = true
		return
	case verdict == policy.Neutral:
		m.ledger["neutral"]++
	case failed:
		m.ledger["failures"]++
	default:
		m.ledger["successes"]++
	}
	if slot >= 0 && !a.open {
		if m.slots[slot].of = nil; throttled {
			m.slots[slot].until = time.Now().Add(m.openFor)
		} else {
			m.slots = slices.Delete(m.slots, slot, slot+1)
		}
	}
	a.open = open
	switch {
	case verdict == policy.Neutral:
	case m.state == breaker.HalfOpen && (failed || slow):
		if m.failed++; m.failed > m.failedProbes {
			m.enter(breaker.Open, true)
		}
	case m.state == breaker.HalfOpen:
		if m.succeeded++; m.succeeded >= m.successes {
			m.enter(breaker.Closed, true)
		}
	case m.state == breaker.Closed:
		m.calls = append(m.calls, modelCall{time.Now(), failed, slow})
		if m.trips(failed, slow) {
			m.enter(breaker.Open, false)
		}
	}
}

// row returns the failures since the last success.
func (m *model) row() (n int) {
	for i := len(m.calls) - 1; i >= 0 && m.calls[i].failed; i-- {
		n++
	}
	return n
}

// window returns how many calls are in the window, and how many of them are bad.
func (m *model) window() (calls, failed, slow int) {
	in := m.calls
	if m.lastCalls > 0 {
		in = in[max(0, len(in)-m.lastCalls):]
	}
	for _, c := range in {
		if m.bucket > 0 && c.at.Before(m.oldest()) {
			continue
		}
		calls++
		if c.failed {
			failed++
		}
		if c.slow {
			slow++
		}
	}
	return calls, failed, slow
}

// oldest returns the start of the oldest bucket in the window. The first begins when the breaker closes.
func (m *model) oldest() time.Time {
	current := m.since.Add(time.Since(m.since) / m.bucket * m.bucket)
	return current.Add(-time.Duration(m.buckets-1) * m.bucket)
}

func (m *model) trips(failed, slow bool) bool {
	if failed && m.consecutive > 0 && m.row() >= m.consecutive {
		return true
	}
	calls, failures, slows := m.window()
	if failed && m.failureCount > 0 && failures >= m.failureCount {
		return true
	}
	if calls < m.minimumCalls {
		return false
	}
	return failed && m.failures > 0 && failures*100 >= m.failures*calls || slow && m.slow > 0 && slows*100 >= m.slow*calls
}

// newModel draws rules, and returns a breaker and a model with them.
func newModel(t *rapid.T) (*breaker.Breaker, *model) {
	m := &model{since: time.Now(), ledger: map[string]int{}, entered: map[string]int{}}
	opts := m.draw(t)
	if rapid.Bool().Draw(t, "shadow from the start") {
		m.shadow = true
		opts = append(opts, breaker.Shadow())
	}
	return breaker.New(opts...), m
}

// draw draws rules. A window that there is already stays as it is.
func (m *model) draw(t *rapid.T) []breaker.Option {
	old := *m
	m.openFor = 5 * time.Second
	m.probes, m.successes = rapid.IntRange(1, 3).Draw(t, "probes"), rapid.IntRange(1, 4).Draw(t, "successes")
	m.failedProbes = rapid.IntRange(0, 2).Draw(t, "failed probes")
	m.lease = time.Duration(rapid.IntRange(2, 8).Draw(t, "lease")) * time.Second // above the threshold of slow calls
	m.consecutive, m.failureCount, m.failures, m.slow, m.slowAfter, m.minimumCalls = 0, 0, 0, 0, 0, 0
	opts := []breaker.Option{breaker.OpenFor(m.openFor), breaker.Jitter(0), breaker.Probes(m.probes), breaker.Successes(m.successes),
		breaker.FailedProbes(m.failedProbes), breaker.ProbeLease(m.lease), breaker.Classify(modelClasses)}
	kind := rapid.IntRange(1, 15).Draw(t, "rules")
	if old.lastCalls > 0 || old.bucket > 0 {
		kind |= 8
	} else if m.generation > 0 || len(m.calls) > 0 { // a breaker without a window gets none
		kind = 1
	}
	if kind&1 != 0 {
		m.consecutive = rapid.IntRange(1, 5).Draw(t, "consecutive")
		opts = append(opts, breaker.ConsecutiveFailures(m.consecutive))
	}
	if kind&14 == 0 {
		return opts
	}
	m.minimumCalls = rapid.IntRange(1, 6).Draw(t, "minimum calls")
	if kind&2 != 0 {
		m.failures = rapid.IntRange(1, 100).Draw(t, "failures")
		opts = append(opts, breaker.FailureRate(float64(m.failures)/100, m.minimumCalls))
	}
	if kind&4 != 0 {
		m.slow, m.slowAfter = rapid.IntRange(1, 100).Draw(t, "slow"), time.Second
		opts = append(opts, breaker.SlowCalls(m.slowAfter, float64(m.slow)/100, m.minimumCalls))
	}
	if kind&8 != 0 {
		m.failureCount = rapid.IntRange(1, 6).Draw(t, "failure count")
		opts = append(opts, breaker.FailureCount(m.failureCount))
	}
	switch {
	case old.lastCalls > 0 || old.bucket > 0:
	case rapid.Bool().Draw(t, "count window"):
		m.lastCalls = rapid.IntRange(6, 12).Draw(t, "last calls")
	default:
		m.buckets = rapid.IntRange(1, 5).Draw(t, "buckets")
		m.bucket = time.Duration(rapid.IntRange(1, 4).Draw(t, "bucket")) * 500 * time.Millisecond
	}
	if m.lastCalls > 0 {
		return append(opts, breaker.CountWindow(m.lastCalls))
	}
	return append(opts, breaker.TimeWindow(m.bucket*time.Duration(m.buckets), m.buckets))
}

var errThrottled = errors.New("throttled")

func modelClasses(err error) policy.Class {
	switch err {
	case errNeutral:
		return policy.Ignored
	case errThrottled:
		return policy.Throttled
	}
	return policy.Unclassified
}

// checkInBubbles checks a property in virtual time, each case in a bubble of its own: rapid itself must stay outside,
// as it looks at the clock.
func checkInBubbles(t *testing.T, property func(*rapid.T)) {
	rapid.Check(t, func(rt *rapid.T) {
		var failure any // how rapid ends a case
		synctest.Test(t, func(*testing.T) {
			defer func() { failure = recover() }()
			property(rt)
		})
		// To rapid, panics from one line are one failure. "No data left" must be another one, or it would be what every
		// failure shrinks to.
		switch {
		case failure == nil:
		case fmt.Sprintf("%T", failure) == "rapid.invalidData":
			panic(failure)
		default:
			panic(failure)
		}
	})
}

// Attempts begin and end in any order, results stay open, time passes, operators interfere and change the rules: the
// breaker and the model must agree on every admission, every state and every count. Run it with -rapid.checks=10000.
func TestFault027_033_TheBreakerIsItsModel(t *testing.T) { checkInBubbles(t, theBreakerIsItsModel) }

func theBreakerIsItsModel(t *rapid.T) {
	b, m := newModel(t)
	end := func(i int, verdict policy.Verdict, err error) {
		a := m.inFlight[i]
		b.Settle(context.Background(), a.ticket, policy.Outcome{Kind: policy.Returned, Err: err})
		m.end(a, verdict, err == errThrottled, false)
		m.inFlight = slices.Delete(m.inFlight, i, i+1)
	}
	some := func(t *rapid.T) int {
		if len(m.inFlight) == 0 {
			t.Skip("nothing in flight")
		}
		return rapid.IntRange(0, len(m.inFlight)-1).Draw(t, "attempt")
	}
	settle := func(verdict policy.Verdict, err error) func(*rapid.T) {
		return func(t *rapid.T) { end(some(t), verdict, err) }
	}
	admit := func(t *rapid.T) {
		want := m.admits() || m.shadow
		_, ticket, err := b.Admit(context.Background())
		if (err == nil) != want {
			t.Fatalf("admitted: %v, want %v; the breaker is %v", err == nil, want, b.State())
		}
		if want {
			m.admit(ticket)
		} else {
			m.rejected++
		}
	}
	call := func(verdict policy.Verdict, err error) func(*rapid.T) { // admission, and the end at once
		return func(t *rapid.T) {
			before := len(m.inFlight)
			if admit(t); len(m.inFlight) > before {
				end(before, verdict, err)
			}
		}
	}
	rarely := func(act func(*rapid.T)) func(*rapid.T) {
		return func(t *rapid.T) {
			if rapid.IntRange(0, 19).Draw(t, "rarely") > 0 {
				t.Skip("not now")
			}
			act(t)
		}
	}
	control := func(act func(), state breaker.State) func(*rapid.T) {
		return rarely(func(*rapid.T) {
			act()
			m.enter(state, false)
		})
	}
	t.Repeat(map[string]func(*rapid.T){
		"admit":          admit,
		"admit too":      admit,
		"succeed":        settle(policy.Success, nil),
		"fail":           settle(policy.Failure, errDown),
		"call":           call(policy.Success, nil),
		"failing call":   call(policy.Failure, errDown),
		"neutral":        settle(policy.Neutral, errNeutral),
		"throttled":      settle(policy.Neutral, errThrottled),
		"throttled call": call(policy.Neutral, errThrottled),
		"stay open": func(t *rapid.T) {
			a := m.inFlight[some(t)]
			if a.open {
				t.Skip("it does already")
			}
			a.ticket = b.Returned(context.Background(), a.ticket)
			m.end(a, policy.Success, false, true)
		},
		"wait": func(t *rapid.T) { time.Sleep(time.Duration(rapid.IntRange(0, 1000).Draw(t, "ms")) * time.Millisecond) },
		"wait exactly": func(t *rapid.T) {
			time.Sleep(time.Duration(rapid.IntRange(0, 12).Draw(t, "half seconds")) * 500 * time.Millisecond)
		},
		"wait long":    func(t *rapid.T) { time.Sleep(time.Duration(rapid.IntRange(0, 60).Draw(t, "seconds")) * time.Second) },
		"trip":         control(b.Trip, breaker.Open),
		"reset":        control(b.Reset, breaker.Closed),
		"force open":   control(b.ForceOpen, breaker.ForcedOpen),
		"force closed": control(b.ForceClosed, breaker.ForcedClosed),
		"shadow":       rarely(func(*rapid.T) { b.Shadow(); m.shadow = true }),
		"enforce":      rarely(func(*rapid.T) { b.Enforce(); m.shadow = false }),
		"reconfigure": rarely(func(t *rapid.T) {
			opts := m.draw(t)
			if m.shadow {
				opts = append(opts, breaker.Shadow())
			}
			if err := b.Reconfigure(opts...); err != nil {
				t.Fatal(err)
			}
		}),
		"": func(t *rapid.T) { m.compare(t, b) },
	})
}

// compare compares everything that can be seen.
func (m *model) compare(t *rapid.T, b *breaker.Breaker) {
	s := b.Snapshot()
	if want := m.now(); s.State != want || b.State() != want || s.Shadow != m.shadow {
		t.Fatalf("state %v and %v, shadow %v, want %v, %v", s.State, b.State(), s.Shadow, want, m.shadow)
	}
	if got, want := b.Ready(context.Background()) == nil, m.admits() || m.shadow; got != want {
		t.Fatalf("ready: %v, want %v", got, want)
	}
	if s.Probes != m.taken() || int(s.InFlight) != m.unsettled() {
		t.Fatalf("%d probes and %d in flight, want %d and %d", s.Probes, s.InFlight, m.taken(), m.unsettled())
	}
	identity(t, s)
	for name, got := range map[string][2]uint64{
		"successes": {s.Successes, s.Current.Successes}, "failures": {s.Failures, s.Current.Failures},
		"neutral": {s.Neutral, s.Current.Neutral}, "stale": {s.Stale, s.Current.Stale},
	} {
		if want := m.ledger[name]; int(got[0]) != want || int(got[1]) != want-m.entered[name] {
			t.Fatalf("%s %v, want %v, of which %v before: %+v", name, got, want, m.entered[name], s)
		}
	}
	if int(s.Rejected) != m.rejected || int(s.ShadowRejected) != m.shadowRejected || int(s.Changes) != m.changes {
		t.Fatalf("%d rejected, %d in shadow, %d changes, want %d, %d, %d", s.Rejected, s.ShadowRejected, s.Changes,
			m.rejected, m.shadowRejected, m.changes)
	}
	if m.state != breaker.Closed {
		return
	}
	calls, failed, slow := m.window()
	if m.lastCalls+m.buckets > 0 && (int(s.Calls) != calls || int(s.CallsFailed) != failed || int(s.CallsSlow) != slow) {
		t.Fatalf("window %d %d %d, want %d %d %d", s.Calls, s.CallsFailed, s.CallsSlow, calls, failed, slow)
	}
	successes := 0
	for i := len(m.calls) - 1; i >= 0 && !m.calls[i].failed; i-- {
		successes++
	}
	if s.ConsecutiveFailures != m.row() || s.ConsecutiveSuccesses != successes {
		t.Fatalf("%d failures and %d successes in a row, want %d and %d", s.ConsecutiveFailures, s.ConsecutiveSuccesses, m.row(), successes)
	}
}

// Only seconds, and only calls that end at once: then it can be said without buckets when a window of time must trip
// and when it must not, from the calls of the last second but one bucket, and of the whole window.
func TestFault027_TheTimeWindowIsWithinOneBucket(t *testing.T) {
	checkInBubbles(t, func(t *rapid.T) {
		const minimum = 4
		buckets := rapid.IntRange(1, 8).Draw(t, "buckets")
		bucket := time.Duration(rapid.IntRange(1, 50).Draw(t, "bucket")) * 20 * time.Millisecond
		window := bucket * time.Duration(buckets)
		b := breaker.New(breaker.FailureRate(1, minimum), breaker.TimeWindow(window, buckets))
		var failures []time.Time
		within := func(d time.Duration) (n int) {
			for _, at := range failures {
				if time.Since(at) < d {
					n++
				}
			}
			return n
		}
		for range 60 {
			time.Sleep(time.Duration(rapid.Int64Range(0, int64(window)).Draw(t, "gap")))
			failTimes(b, 1)
			failures = append(failures, time.Now())
			open := b.State() == breaker.Open
			if open && within(window) < minimum {
				t.Fatalf("opened on %d failures in the window", within(window))
			}
			if !open && within(window-bucket+1) >= minimum {
				t.Fatalf("closed on %d failures in the window but one bucket", within(window-bucket+1))
			}
			if open {
				return
			}
		}
	})
}

func TestFault033_AMillionRecords(t *testing.T) {
	records := 1_000_000
	if raceEnabled {
		records = 50_000
	}
	synctest.Test(t, func(t *testing.T) {
		// A rate that cannot be reached, so that the window runs on and on.
		b := breaker.New(breaker.FailureRate(1, 50), breaker.TimeWindow(10*time.Second, 10))
		type second struct{ calls, failures int64 }
		var seconds [10]second
		random := uint64(1)
		next := func(n uint64) uint64 {
			random = random*6364136223846793005 + 1442695040888963407
			return random >> 33 % n
		}
		for i := 0; i < records; i++ {
			failed := next(3) == 0 && i%40 != 0
			outcome := policy.Outcome{Kind: policy.Returned}
			if failed {
				outcome.Err = errDown
				seconds[0].failures++
			}
			seconds[0].calls++
			_, ticket, err := b.Admit(t.Context())
			require.NoError(t, err)
			b.Settle(t.Context(), ticket, outcome)
			for next(20) == 0 {
				time.Sleep(time.Second)
				copy(seconds[1:], seconds[:])
				seconds[0] = second{}
			}
			if i%100 == 0 {
				var want second
				for _, s := range seconds {
					want.calls += s.calls
					want.failures += s.failures
				}
				s := b.Snapshot()
				require.Equal(t, want, second{s.Calls, s.CallsFailed})
			}
		}
	})
}
