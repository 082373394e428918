package hedge

import "context"

// operation is what is inside the hedge: do for a result that is complete when it returns, open for one that stays open.
type operation struct {
	do   func(ctx context.Context) error
	open func(ctx context.Context, end context.CancelFunc) error
}

// alone calls the operation under the caller's context.
func (o operation) alone(ctx context.Context) error {
	if o.open != nil {
		return o.open(ctx, func() {})
	}
	return o.do(ctx)
}

// attempt is one attempt of a race.
type attempt struct {
	race   *race
	number int
	ctx    context.Context
	cancel context.CancelCauseFunc
	ended  bool // the caller has taken its ending
}

func newAttempt(r *race, number int) *attempt {
	ctx, cancel := context.WithCancelCause(withNumber(r.ctx, number))
	return &attempt{race: r, number: number, ctx: ctx, cancel: cancel}
}

// run makes the attempt, on a goroutine of its own.
func (a *attempt) run() error {
	hedge, succeeded := a.race.hedge, false // also when it panics
	start := hedge.clock.Elapsed()
	defer func() {
		if a.number == 1 {
			hedge.observe(hedge.clock.Elapsed()-start, a.race.delay, succeeded)
		}
	}()
	err := a.enter()
	if err == nil {
		succeeded = true
		a.race.succeeded(a.number)
	}
	return err
}

// enter calls the operation. The context ends with it, unless the operation has returned and sees to that itself.
func (a *attempt) enter() error {
	open := false
	defer func() {
		if !open {
			a.end()
		}
	}()
	if a.race.op.open == nil {
		return a.race.op.do(a.ctx)
	}
	err := a.race.op.open(a.ctx, a.end)
	open = true
	return err
}

func (a *attempt) end() { a.cancel(nil) }

type numberKey struct{}

// Attempt returns which of the attempts of a hedged call ctx belongs to: 1 for the first, 2 and more for the extra
// ones. An operation learns from it that another server might answer sooner. It returns 1 outside of a hedge.
func Attempt(ctx context.Context) int {
	if number, ok := ctx.Value(numberKey{}).(int); ok {
		return number
	}
	return 1
}

// withNumber marks ctx. The first attempt is marked only inside an extra attempt of a hedge outside.
func withNumber(ctx context.Context, number int) context.Context {
	if Attempt(ctx) == number {
		return ctx
	}
	return context.WithValue(ctx, numberKey{}, number)
}
