package retry_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/retry"
)

// century is the longest wait that is really made: the clock of a bubble does not go much further.
const century = 100 * 365 * 24 * time.Hour

// One failure, whose error says when to come back, and then a success: when the second attempt is made, and why there is
// none, for every delay, hint, bound of hints and deadline.
func FuzzHints(f *testing.F) {
	f.Add(int64(time.Second), int64(2*time.Second), int64(30*time.Second), int64(0))
	f.Add(int64(0), int64(-5), int64(1), int64(time.Second))
	f.Add(int64(math.MaxInt64), int64(math.MinInt64), int64(math.MaxInt64), int64(math.MaxInt64))
	f.Add(int64(1), int64(math.MaxInt64), int64(math.MaxInt64), int64(0))
	f.Add(int64(5), int64(10), int64(10), int64(10))
	f.Add(int64(5), int64(10), int64(9), int64(11))
	f.Fuzz(func(t *testing.T, delay, asked, most, deadline int64) {
		options := []retry.Option{retry.Constant(time.Duration(delay)), retry.NoJitter(), retry.MaxRetryAfter(time.Duration(most))}
		if retry.Validate(options...) != nil {
			return
		}
		wait := time.Duration(max(delay, asked))
		var want error
		switch {
		case asked > most:
			want = retry.ErrRetryAfter
		case deadline > 0 && int64(wait) >= deadline:
			want = retry.ErrDeadline
		case wait > century:
			return
		}
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			if deadline > 0 {
				limited, cancel := context.WithTimeout(ctx, time.Duration(deadline))
				defer cancel()
				ctx = limited
			}
			start, attempts := time.Now(), 0
			_, err := resilience.Do(ctx, retry.New(options...), func(context.Context) (int, error) {
				if attempts++; attempts == 1 {
					return 0, hint(asked)
				}
				return 0, nil
			})
			switch took := time.Since(start); {
			case want == nil && (err != nil || attempts != 2 || took != wait):
				t.Fatalf("%d attempts in %v, %v; want two, %v apart", attempts, took, err, wait)
			case want != nil && (!errors.Is(err, want) || attempts != 1 || took != 0):
				t.Fatalf("%d attempts in %v, %v; want one, and at once: %v", attempts, took, err, want)
			}
		})
	})
}

func TestFault113_TheBudgetIsItsModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 100, 100).Draw(r, "data")
		var problem string
		synctest.Test(t, func(*testing.T) { problem = playBudget(data) })
		if problem != "" {
			r.Fatal(problem)
		}
	})
}

func FuzzBudget(f *testing.F) {
	f.Add([]byte{3, 0, 0, 20, 2, 0, 2, 0, 3, 0, 2, 0, 2, 0})
	f.Add([]byte{0, 2, 2, 0, 2, 0, 1, 255, 2, 0, 2, 0})
	f.Add([]byte{4, 5, 2, 1, 2, 1, 2, 1, 0, 3, 3, 0, 1, 9, 1, 200, 0, 100, 2, 0})
	// 258 calls in a second, and eleven seconds later.
	f.Add([]byte{1, 0, 0, 1, 0, 1, 0, 2, 0, 5, 0, 8, 0, 11, 0, 16, 0, 18, 0, 22, 0, 26, 0, 27, 0, 28, 0, 31, 0, 31, 0, 31, 1, 105})
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			if problem := playBudget(data[:min(len(data), 400)]); problem != "" {
				t.Fatal(problem)
			}
		})
	})
}

// account is a budget in exact fractions, written so that it can be read.
type account struct {
	tokens, floor, ratio, perSecond *big.Rat

	now   time.Duration
	calls map[time.Duration]int64 // by second
}

// most is what it holds: what it began with, and what the calls of the last ten seconds have earned.
func (a *account) most() *big.Rat {
	calls := int64(0)
	for second, n := range a.calls {
		if a.now/time.Second-second <= 10 {
			calls += n
		}
	}
	return new(big.Rat).Add(a.floor, new(big.Rat).Mul(a.ratio, big.NewRat(calls, 1)))
}

func (a *account) call() {
	a.calls[a.now/time.Second]++
	a.tokens.Add(a.tokens, a.ratio)
}

func (a *account) pass(d time.Duration) {
	a.now += d
	a.add(new(big.Rat).Mul(a.perSecond, big.NewRat(int64(d), int64(time.Second))))
}

func (a *account) add(n *big.Rat) {
	if a.tokens.Add(a.tokens, n); a.tokens.Cmp(a.most()) > 0 {
		a.tokens.Set(a.most())
	}
}

// playBudget compares a budget in use with exact fractions: what is there, and who may retry. The first two bytes are the
// budget; each two that follow are something that happens. It returns the first difference.
func playBudget(data []byte) (problem string) {
	numbers := []float64{0, 0.001, 0.1, 0.2, 1.0 / 3, 1, 3, 10}
	if len(data) < 2 || data[0]%8 == 0 && data[1]%8 == 0 {
		return ""
	}
	ratio, perSecond := numbers[data[0]%8], numbers[data[1]%8]
	budget := retry.NewBudget(ratio, perSecond)
	exact := func(f float64) *big.Rat { return new(big.Rat).SetFloat64(f) }
	floor := exact(max(1, 10*perSecond))
	model := account{tokens: new(big.Rat).Set(floor), floor: floor, ratio: exact(ratio), perSecond: exact(perSecond), calls: map[time.Duration]int64{}}
	const exactCalls = 256 // a second: of more than these, a budget may count some in a later second
	const close = 2e-6     // to a whole token: the budget may be short of it by a millionth
	held, denied := 0, uint64(0)
	call := resilience.Compose(retry.New(retry.WithBudget(budget), retry.Attempts(1)))

	for data = data[2:]; len(data) >= 2; data = data[2:] {
		value := int64(data[1])
		switch data[0] % 4 {
		case 0: // calls, which fail or do not
			for range min(value%32, exactCalls-model.calls[model.now/time.Second]) {
				_ = call.Run(context.Background(), func(context.Context) error { return []error{nil, errBackend}[value>>7] })
				model.call()
			}
		case 1:
			d := time.Duration(value*value) * time.Millisecond // up to a minute
			time.Sleep(d)
			model.pass(d)
		case 2:
			there, _ := model.tokens.Float64()
			switch allowed := budget.Withdraw(); {
			case allowed != (there >= 1) && math.Abs(there-1) > close:
				return fmt.Sprintf("with %v tokens: %v", there, allowed)
			case allowed:
				held++
				model.tokens.Sub(model.tokens, big.NewRat(1, 1))
			default:
				denied++
			}
		case 3:
			if held > 0 {
				held--
				budget.Return()
				model.add(big.NewRat(1, 1))
			}
		}
		there, _ := model.tokens.Float64()
		if s := budget.Snapshot(); math.Abs(s.Tokens-there) > close || s.Denied != denied {
			return fmt.Sprintf("%+v, want %v tokens, %d denied", s, there, denied)
		}
	}
	return ""
}
