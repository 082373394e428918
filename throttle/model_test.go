package throttle_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/throttle"
)

// record is an attempt as the model remembers it: by the numbers of the buckets in which things happened.
type record struct {
	ticket    policy.Ticket
	start     int64
	open      bool
	withdrawn bool
	refused   bool
}

// bubble keeps rapid from asking for t.Deadline, which a bubble does not have.
type bubble struct{ rapid.TB }

// The throttle against a model that keeps every attempt for ever and counts from scratch: identical counts.
func TestCountsMatchAListOfAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(bubble{t}, func(t *rapid.T) {
			buckets := rapid.Int64Range(2, 6).Draw(t, "buckets")
			const width = 10 * time.Millisecond
			guard := throttle.New(throttle.Window(time.Duration(buckets)*width, int(buckets)), throttle.Padding(1), throttle.Rand(lowest{}))
			begin := time.Now()
			bucket := func() int64 { return int64(time.Since(begin) / width) }

			var records []*record
			var accepted []int64 // the buckets in which attempts were accepted
			newest := int64(0)   // the bucket of the latest admission
			model := func() (requests, accepts int64) {
				now := bucket()
				for _, r := range records {
					if r.start > now-buckets && !r.withdrawn && (r.refused || !r.open || r.start <= now-2) {
						requests++
					}
				}
				for _, b := range accepted {
					if b > now-buckets {
						accepts++
					}
				}
				return requests, accepts
			}
			settle := func(t *rapid.T, outcome policy.Outcome) {
				var open []*record
				for _, r := range records {
					if r.open {
						open = append(open, r)
					}
				}
				if len(open) == 0 {
					t.Skip("nothing in flight")
				}
				r := rapid.SampledFrom(open).Draw(t, "attempt")
				r.open = false
				r.withdrawn = outcome.Kind == policy.NotCalled
				if outcome.Succeeded() {
					accepted = append(accepted, newest)
				}
				guard.Settle(t.Context(), r.ticket, outcome)
			}
			t.Repeat(map[string]func(*rapid.T){
				"admit": func(t *rapid.T) {
					requests, accepts := model()
					_, ticket, err := guard.Admit(t.Context())
					newest = bucket()
					// the lowest draw refuses whenever the probability is above zero
					if requests > 2*accepts != errors.Is(err, throttle.ErrThrottled) {
						t.Fatalf("%d requests, %d accepts: %v", requests, accepts, err)
					}
					records = append(records, &record{ticket: ticket, start: newest, open: err == nil, refused: err != nil})
				},
				"succeed":  func(t *rapid.T) { settle(t, policy.Outcome{Kind: policy.Returned}) },
				"fail":     func(t *rapid.T) { settle(t, policy.Outcome{Kind: policy.Returned, Err: errBackend}) },
				"panic":    func(t *rapid.T) { settle(t, policy.Outcome{Kind: policy.Panicked}) },
				"withdraw": func(t *rapid.T) { settle(t, policy.Outcome{Kind: policy.NotCalled}) },
				"wait": func(t *rapid.T) {
					time.Sleep(time.Duration(rapid.IntRange(1, 35).Draw(t, "ms")) * time.Millisecond)
				},
				"": func(t *rapid.T) {
					requests, accepts := model()
					snapshot := guard.Snapshot()
					if requests != snapshot.Requests || accepts != snapshot.Accepts {
						t.Fatalf("model: %d requests, %d accepts; throttle: %+v", requests, accepts, snapshot)
					}
				},
			})
		})
	})
}

// An observer never sees nonsense while buckets of the real clock turn over quickly.
func TestTurningUnderLoad(t *testing.T) {
	guard := throttle.New(throttle.Window(30*time.Microsecond, 3))
	stop := make(chan struct{})
	seen := make(chan throttle.Snapshot)
	go func() {
		defer close(seen)
		for {
			s := guard.Snapshot()
			if s.Requests < 0 || s.Accepts < 0 || s.Probability < 0 || s.Probability >= 1 {
				seen <- s
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	done := make(chan struct{})
	for g := range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range 20_000 {
				ctx, ticket, err := guard.Admit(t.Context())
				if err == nil {
					guard.Settle(ctx, ticket, []policy.Outcome{{}, {Kind: policy.Returned}, {Kind: policy.Panicked}}[(i+g)%3])
				}
			}
		}()
	}
	for range 4 {
		<-done
	}
	close(stop)
	nonsense, any := <-seen
	require.False(t, any, "%+v", nonsense)
}
