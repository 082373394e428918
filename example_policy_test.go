package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/retry"
)

// Maintenance refuses calls while a maintenance window is open.
type Maintenance struct {
	until atomic.Pointer[time.Time]
}

var ErrMaintenance = policy.NewReason("maintenance.window", "maintenance window")

func (m *Maintenance) Announce(until time.Time) { m.until.Store(&until) }

func (m *Maintenance) Stage() policy.Stage { return policy.StageBreaker }

func (m *Maintenance) Ready(context.Context) error {
	if until := m.until.Load(); until != nil && time.Now().Before(*until) {
		return &policy.Rejection{Kind: "maintenance", Reason: ErrMaintenance, Until: *until}
	}
	return nil
}

func (m *Maintenance) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, m.Ready(ctx)
}

func (m *Maintenance) Settle(context.Context, policy.Ticket, policy.Outcome) {}

// A policy of one's own: a plain type with a stage and the two methods of a guard. It has Ready too, so retries ask
// it before they sleep.
func Example_policy() {
	window := &Maintenance{}
	backend := resilience.Compose(retry.New(), window)
	call, calls := policytest.Script(User{Name: "Ada"})

	_, err := resilience.Do(context.Background(), backend, call)
	fmt.Println(err, calls())

	window.Announce(time.Now().Add(time.Hour))
	_, err = resilience.Do(context.Background(), backend, call)
	fmt.Println(errors.Is(err, ErrMaintenance), errors.Is(err, policy.ErrRejected), calls())
	// Output:
	// <nil> 1
	// true true 1
}

// Each rule of the contract, checked against the policy.
func TestMaintenance(t *testing.T) {
	policytest.Guard(t, func() policy.Guard { return &Maintenance{} })
}
