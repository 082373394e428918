package keyed_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errFull    = errors.New("no slot")
	errBackend = errors.New("backend failed")
)

// slots is a guard that counts attempts in flight and may be declared down: a small bulkhead and breaker in one.
type slots struct {
	key      string
	limit    int64
	inFlight atomic.Int64
	settled  atomic.Int64
	down     atomic.Bool
	asked    atomic.Int64 // how often Idle was asked
	onAdmit  func()       // what happens before Admit takes a slot
	onIdle   func()       // what happens between the answer of Idle and its return
}

func newSlots(limit int64) func(string) *slots {
	return func(key string) *slots { return &slots{key: key, limit: limit} }
}

func (s *slots) Stage() policy.Stage { return policy.StageBulkhead }
func (s *slots) String() string      { return fmt.Sprintf("slots %d", s.limit) }

func (s *slots) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if err := s.Ready(ctx); err != nil {
		return nil, policy.Ticket{}, err
	}
	if s.onAdmit != nil {
		s.onAdmit()
	}
	if s.inFlight.Add(1) > s.limit {
		s.inFlight.Add(-1)
		return nil, policy.Ticket{}, &policy.Rejection{Kind: "slots", Reason: errFull}
	}
	return ctx, policy.Ticket{Number: 1}, nil
}

func (s *slots) Settle(_ context.Context, ticket policy.Ticket, _ policy.Outcome) {
	s.inFlight.Add(-ticket.Number)
	s.settled.Add(1)
}

func (s *slots) Ready(context.Context) error {
	if s.down.Load() {
		return &policy.Rejection{Kind: "slots", Reason: errFull}
	}
	return nil
}

func (s *slots) Idle() bool {
	s.asked.Add(1)
	answer := s.inFlight.Load() == 0 && !s.down.Load()
	if s.onIdle != nil {
		s.onIdle()
	}
	return answer
}

// always says that values of a type without a method Idle may be forgotten.
func always[V any]() keyed.Option { return keyed.IdleIf(func(V) bool { return true }) }

type keyInContext struct{}

func withKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyInContext{}, key)
}

func keyOf(ctx context.Context) string {
	key, _ := ctx.Value(keyInContext{}).(string)
	return key
}

// numbered is key number i.
func numbered(i int) string { return fmt.Sprintf("key-%d", i) }
