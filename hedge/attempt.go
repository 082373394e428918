package hedge

import (
	"context"
	"time"

	"github.com/go-resilience/resilience/internal/hold"
)

// attempt is one attempt of a race. It belongs to its own goroutine.
type attempt struct {
	hedge   *Hedge
	call    func(context.Context) error
	delay   time.Duration
	number  int
	context *hold.Context
	cancel  context.CancelCauseFunc
}

func newAttempt(r *race, number int) *attempt {
	ctx, cancel := context.WithCancelCause(withNumber(r.ctx, number))
	held := hold.New(ctx, func() { cancel(nil) })
	return &attempt{hedge: r.hedge, call: r.call, delay: r.delay, number: number, context: held, cancel: cancel}
}

// run makes the attempt. Its context ends with it, unless it succeeded and its result holds the context.
func (a *attempt) run() error {
	succeeded := false
	start := a.hedge.clock.Elapsed()
	defer func() {
		a.context.Settle(succeeded)
		if a.number == 1 {
			a.hedge.observe(a.hedge.clock.Elapsed()-start, a.delay, succeeded)
		}
	}()
	err := a.call(a.context)
	succeeded = err == nil
	return err
}

type numberKey struct{}

// Attempt returns which of the attempts of a hedged call ctx belongs to: 1 for the first, 2 and more for the extra
// ones. An operation learns from it that another server might answer sooner. It returns 1 outside of a hedge.
func Attempt(ctx context.Context) int {
	if number, ok := ctx.Value(numberKey{}).(int); ok {
		return number
	}
	return 1
}

// withNumber marks ctx. The first attempt is marked only inside an extra attempt of a hedge further out.
func withNumber(ctx context.Context, number int) context.Context {
	if Attempt(ctx) == number {
		return ctx
	}
	return context.WithValue(ctx, numberKey{}, number)
}
