package breaker_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

// model is what a breaker should do, written to be obviously right: lists of everything that ever happened, and counts
// made anew whenever somebody asks.
type model struct {
	// the rules; zero where there is none
	consecutive                   int
	failures, slow                int // per hundred
	minimumCalls                  int
	lastCalls                     int
	bucket                        time.Duration
	buckets                       int
	slowAfter, openFor, lease     time.Duration
	probes, successes, generation int

	state     breaker.State
	since     time.Time
	calls     []modelCall // since the breaker closed
	inFlight  []*modelAttempt
	succeeded int // probes
	ledger    map[string]int
}

type modelCall struct {
	at           time.Time
	failed, slow bool
}

type modelAttempt struct {
	permit     *policy.Permit
	at         time.Time
	generation int
	probe      bool
}

func (m *model) now() breaker.State {
	if m.state == breaker.Open && time.Since(m.since) >= m.openFor {
		return breaker.HalfOpen
	}
	return m.state
}

func (m *model) enter(state breaker.State) {
	m.state, m.since, m.succeeded = state, time.Now(), 0
	m.generation++
	if state == breaker.Closed {
		m.calls = nil
	}
}

// running returns how many probes hold a slot.
func (m *model) running() (n int) {
	for _, a := range m.inFlight {
		if a.probe && m.valid(a) {
			n++
		}
	}
	return n
}

func (m *model) valid(a *modelAttempt) bool {
	return a.generation == m.generation && (!a.probe || time.Since(a.at) < m.lease)
}

func (m *model) admits() bool {
	switch m.now() {
	case breaker.Closed, breaker.ForcedClosed:
		return true
	case breaker.HalfOpen:
		return m.state == breaker.Open || m.running() < m.probes
	}
	return false
}

func (m *model) admit(permit *policy.Permit) {
	if m.state == breaker.Open {
		m.enter(breaker.HalfOpen)
	}
	m.inFlight = append(m.inFlight, &modelAttempt{permit, time.Now(), m.generation, m.state == breaker.HalfOpen})
}

func (m *model) settle(a *modelAttempt, verdict policy.Verdict) {
	slow := m.slowAfter > 0 && time.Since(a.at) >= m.slowAfter
	failed := verdict == policy.Failure
	switch {
	case !m.valid(a):
		m.ledger["stale"]++
		return
	case verdict == policy.Neutral:
		m.ledger["neutral"]++
		return
	case failed:
		m.ledger["failures"]++
	default:
		m.ledger["successes"]++
	}
	switch {
	case a.probe && (failed || slow):
		m.enter(breaker.Open)
	case a.probe:
		m.succeeded++
		if m.succeeded == m.successes {
			m.enter(breaker.Closed)
		}
	case m.state == breaker.Closed:
		m.calls = append(m.calls, modelCall{time.Now(), failed, slow})
		if m.trips(failed, slow) {
			m.enter(breaker.Open)
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
	if calls < m.minimumCalls {
		return false
	}
	return failed && m.failures > 0 && failures*100 >= m.failures*calls || slow && m.slow > 0 && slows*100 >= m.slow*calls
}

// newModel draws rules, and returns a breaker and a model with them.
func newModel(t *rapid.T) (*breaker.Breaker, *model) {
	m := &model{
		openFor: 5 * time.Second, since: time.Now(), ledger: map[string]int{},
		probes: rapid.IntRange(1, 3).Draw(t, "probes"), successes: rapid.IntRange(1, 4).Draw(t, "successes"),
		lease: time.Duration(rapid.IntRange(2, 8).Draw(t, "lease")) * time.Second, // above the threshold of slow calls
	}
	opts := []breaker.Option{breaker.OpenFor(m.openFor), breaker.Jitter(0), breaker.Probes(m.probes), breaker.Successes(m.successes),
		breaker.ProbeLease(m.lease), breaker.Classify(neutrally)}
	kind := rapid.IntRange(1, 7).Draw(t, "rules")
	if kind&1 != 0 {
		m.consecutive = rapid.IntRange(1, 5).Draw(t, "consecutive")
		opts = append(opts, breaker.ConsecutiveFailures(m.consecutive))
	}
	if kind&6 == 0 {
		return breaker.New(opts...), m
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
	if rapid.Bool().Draw(t, "count window") {
		m.lastCalls = rapid.IntRange(m.minimumCalls, 12).Draw(t, "last calls")
		opts = append(opts, breaker.CountWindow(m.lastCalls))
	} else {
		m.buckets = rapid.IntRange(1, 5).Draw(t, "buckets")
		m.bucket = time.Duration(rapid.IntRange(1, 4).Draw(t, "bucket")) * 500 * time.Millisecond
		opts = append(opts, breaker.TimeWindow(m.bucket*time.Duration(m.buckets), m.buckets))
	}
	return breaker.New(opts...), m
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

// Attempts begin and end in any order, time passes, people interfere: the breaker and the model must agree on every
// admission, every state and every count. Run it with -rapid.checks=10000.
func TestFault027_033_TheBreakerIsItsModel(t *testing.T) {
	checkInBubbles(t, func(t *rapid.T) {
		b, m := newModel(t)
		settle := func(verdict policy.Verdict, err error) func(*rapid.T) {
			return func(t *rapid.T) {
				if len(m.inFlight) == 0 {
					t.Skip("nothing in flight")
				}
				i := rapid.IntRange(0, len(m.inFlight)-1).Draw(t, "attempt")
				a := m.inFlight[i]
				a.permit.Done(err)
				m.settle(a, verdict)
				m.inFlight = append(m.inFlight[:i], m.inFlight[i+1:]...)
			}
		}
		admit := func(t *rapid.T) {
			want := m.admits()
			permit, err := policy.Acquire(context.Background(), b)
			if (err == nil) != want {
				t.Fatalf("admitted: %v, want %v; the breaker is %v", err == nil, want, b.State())
			}
			if want {
				m.admit(permit)
			}
		}
		call := func(verdict policy.Verdict, err error) func(*rapid.T) { // admission, and the end at once
			return func(t *rapid.T) {
				before := len(m.inFlight)
				admit(t)
				if len(m.inFlight) == before {
					return
				}
				a := m.inFlight[before]
				m.inFlight = m.inFlight[:before]
				a.permit.Done(err)
				m.settle(a, verdict)
			}
		}
		control := func(act func(), state breaker.State) func(*rapid.T) {
			return func(t *rapid.T) {
				if rapid.IntRange(0, 19).Draw(t, "rarely") > 0 {
					t.Skip("not now")
				}
				act()
				m.enter(state)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"admit":        admit,
			"admit too":    admit,
			"succeed":      settle(policy.Success, nil),
			"fail":         settle(policy.Failure, errDown),
			"call":         call(policy.Success, nil),
			"failing call": call(policy.Failure, errDown),
			"neutral":      settle(policy.Neutral, errNeutral),
			"wait":         func(t *rapid.T) { time.Sleep(time.Duration(rapid.IntRange(0, 1000).Draw(t, "ms")) * time.Millisecond) },
			"wait exactly": func(t *rapid.T) {
				time.Sleep(time.Duration(rapid.IntRange(0, 12).Draw(t, "half seconds")) * 500 * time.Millisecond)
			},
			"wait long":    func(t *rapid.T) { time.Sleep(time.Duration(rapid.IntRange(0, 60).Draw(t, "seconds")) * time.Second) },
			"trip":         control(b.Trip, breaker.Open),
			"reset":        control(b.Reset, breaker.Closed),
			"force open":   control(b.ForceOpen, breaker.ForcedOpen),
			"force closed": control(b.ForceClosed, breaker.ForcedClosed),
			"": func(t *rapid.T) {
				s := b.Snapshot()
				if want := m.now(); s.State != want || b.State() != want {
					t.Fatalf("state %v and %v, want %v", s.State, b.State(), want)
				}
				if got, want := b.Ready(context.Background()) == nil, m.admits(); got != want {
					t.Fatalf("ready: %v, want %v", got, want)
				}
				if got, want := s.Probes, m.running(); got != want {
					t.Fatalf("%d probes, want %d", got, want)
				}
				identity(t, s)
				if int(s.Successes) != m.ledger["successes"] || int(s.Failures) != m.ledger["failures"] || int(s.Neutral) != m.ledger["neutral"] ||
					int(s.Stale) < m.ledger["stale"] || int(s.Stale) > m.ledger["stale"]+len(m.inFlight) {
					t.Fatalf("ledger %+v, want %v", s, m.ledger)
				}
				if m.state != breaker.Closed {
					return
				}
				calls, failed, slow := m.window()
				if m.minimumCalls > 0 && (int(s.Calls) != calls || int(s.CallsFailed) != failed || int(s.CallsSlow) != slow) {
					t.Fatalf("window %d %d %d, want %d %d %d", s.Calls, s.CallsFailed, s.CallsSlow, calls, failed, slow)
				}
				if got, want := s.ConsecutiveFailures, m.row(); got != want {
					t.Fatalf("%d failures in a row, want %d", got, want)
				}
			},
		})
	})
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
