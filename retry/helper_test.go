package retry_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-resilience/resilience/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errBackend = errors.New("backend failed")
	errOpen    = errors.New("circuit open")
)

// fakeBreaker is a small breaker: it opens after a number of failures in a row, for a time, and then lets one probe
// through at a time.
type fakeBreaker struct {
	threshold int
	openFor   time.Duration

	mu       sync.Mutex
	failures int
	until    time.Time // zero when closed
	probing  bool
	settled  []policy.Outcome
}

func (b *fakeBreaker) Stage() policy.Stage { return policy.StageBreaker }
func (b *fakeBreaker) String() string      { return "fake breaker" }

func (b *fakeBreaker) Ready(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refusal()
}

func (b *fakeBreaker) refusal() error {
	switch {
	case b.until.IsZero():
		return nil
	case time.Now().Before(b.until):
		return &policy.Rejection{Kind: "breaker", Reason: errOpen, Until: b.until}
	case b.probing:
		return &policy.Rejection{Kind: "breaker", Reason: errOpen}
	}
	return nil
}

func (b *fakeBreaker) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refusal(); err != nil {
		return nil, policy.Ticket{}, err
	}
	b.probing = !b.until.IsZero()
	return ctx, policy.Ticket{}, nil
}

func (b *fakeBreaker) Settle(_ context.Context, _ policy.Ticket, outcome policy.Outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settled = append(b.settled, outcome)
	probe := b.probing
	b.probing = false
	switch {
	case outcome.Kind == policy.NotCalled:
	case outcome.Succeeded():
		b.failures, b.until = 0, time.Time{}
	default:
		if b.failures++; probe || b.failures >= b.threshold {
			b.until = time.Now().Add(b.openFor)
		}
	}
}

func (b *fakeBreaker) open() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until = time.Now().Add(b.openFor)
}

// full is a guard that always refuses and is no gate, like a bulkhead without a free slot.
type full struct {
	refusals int
	with     error // nil: a rejection
}

var errFull = errors.New("full")

func (*full) Stage() policy.Stage { return policy.StageBulkhead }
func (f *full) Admit(context.Context) (context.Context, policy.Ticket, error) {
	f.refusals++
	if f.with != nil {
		return nil, policy.Ticket{}, f.with
	}
	return nil, policy.Ticket{}, &policy.Rejection{Kind: "bulkhead", Reason: errFull}
}
func (*full) Settle(context.Context, policy.Ticket, policy.Outcome) { panic("never admitted") }

// script is an operation that fails with errs, one after the other, and then with rest; if that is nil, it succeeds.
// Its value is the number of the entry, negative for a failure.
type script struct {
	errs    []error
	rest    error
	entered int
	times   []time.Time
}

func fails(errs ...error) *script { return &script{errs: errs} }
func always(err error) *script    { return &script{rest: err} }

func (s *script) do(context.Context) (int, error) {
	s.entered++
	s.times = append(s.times, time.Now())
	err := s.rest
	if s.entered <= len(s.errs) {
		err = s.errs[s.entered-1]
	}
	if err != nil {
		return -s.entered, err
	}
	return s.entered, nil
}
