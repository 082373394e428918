package fallback

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
)

// Policy is a policy with a fallback. It is made by [Value], [Func] or [LastGood], and safe for concurrent use.
type Policy[T any] struct {
	config
	kind   string
	inner  policy.Policy[T]
	answer func(ctx context.Context, err error) (T, error)
	last   *lastGood[T] // nil unless the fallback is LastGood

	mu     sync.Mutex
	counts Snapshot
}

var (
	_ policy.OpenPolicy[int] = (*Policy[int])(nil)
	_ fmt.Stringer           = (*Policy[int])(nil)
)

// Value returns p with value as the answer when p fails. The value is shared by all calls: if it is or holds a
// pointer, what that points to must not be changed.
//
// Value panics with a [*policy.ConfigError] when p is nil or an option is wrong.
func Value[T any](p policy.Policy[T], value T, opts ...Option) *Policy[T] {
	answer := func(context.Context, error) (T, error) { return value, nil }
	return newPolicy("fallback.Value", "value", p, answer, opts)
}

// Func returns p with answer called when p fails, with the context of the caller and the error of p. If answer returns
// an error too, the call returns both, see [Error], beside answer's value. The context may have ended by its deadline:
// what answer does must be quick, or have a deadline of its own.
//
// answer is called on the goroutine of the call. A panic in it goes on to the caller. Func panics with a
// [*policy.ConfigError] when p or answer is nil or an option is wrong.
func Func[T any](p policy.Policy[T], answer func(ctx context.Context, err error) (T, error), opts ...Option) *Policy[T] {
	return newPolicy("fallback.Func", "function", p, answer, opts)
}

// LastGood returns p with the last successful result as the answer when p fails, unless that is older than maxAge. The
// result is kept as it is: if it is or holds a pointer, callers share what that points to, and must not change it.
//
// There is one last good result for all callers: use a LastGood for one question only ("the current rates"), never for
// operations that depend on an argument, since the answer for one user would be given to another. Of calls that overlap,
// the result of the one that began last is kept, also when an earlier one ends after it.
//
// When there is no result that is young enough, the error of p is returned together with [ErrNoLastGood]. LastGood
// panics with a [*policy.ConfigError] when p is nil, maxAge is not positive, or an option is wrong.
func LastGood[T any](p policy.Policy[T], maxAge time.Duration, opts ...Option) *Policy[T] {
	if err := Validate(maxAge, opts...); err != nil {
		panic(err)
	}
	last := &lastGood[T]{maxAge: maxAge, clock: stopwatch.Start()}
	f := newPolicy("fallback.LastGood", fmt.Sprintf("last good of %v", maxAge), p, last.answer, opts)
	f.last = last
	return f
}

func newPolicy[T any](
	constructor, kind string, p policy.Policy[T], answer func(context.Context, error) (T, error), opts []Option,
) *Policy[T] {
	c, problems := configure(constructor, opts)
	if option.IsNil(p) {
		problems.Add("the policy is nil")
	}
	if answer == nil {
		problems.Add("the function is nil")
	}
	if err := problems.Err(); err != nil {
		panic(err)
	}
	return &Policy[T]{config: c, kind: kind, inner: p, answer: answer}
}

// Do runs op through the policy, and returns the fallback's answer when that fails. It panics when op or ctx is nil.
func (f *Policy[T]) Do(ctx context.Context, op policy.Func[T]) (T, error) {
	f.mustBeMade()
	call := uint64(0)
	if f.last != nil {
		call = f.last.begin()
	}
	value, err := f.inner.Do(ctx, op)
	switch {
	case err == nil:
		if f.last != nil {
			f.last.keep(call, value)
		}
		return value, nil
	case !f.mayAnswer(ctx, err):
		f.count(func(s *Snapshot) { s.Skipped++ })
		return value, err
	}
	return f.fallBack(ctx, err)
}

// Open is Do for a result that stays open until its permit is settled, such as a stream. The fallback's answer comes with
// a nil permit, which may be settled too. A failed result that came with a permit, because it can still be read, is given
// up when the fallback has answered. [LastGood] answers, but keeps no result of Open, which its caller uses up.
//
// Around a policy that is no [policy.OpenPolicy], Open returns an error that says so, without calling op or the fallback.
func (f *Policy[T]) Open(ctx context.Context, op policy.Func[T]) (T, *policy.Permit, error) {
	f.mustBeMade()
	inner := f.opener()
	if inner == nil {
		return *new(T), nil, fmt.Errorf("fallback: Open around %T: %w", f.inner, errNotOpen)
	}
	value, permit, err := inner.Open(ctx, op)
	switch {
	case err == nil:
		return value, permit, nil
	case !f.mayAnswer(ctx, err):
		f.count(func(s *Snapshot) { s.Skipped++ })
		return value, permit, err
	}
	defer permit.Done(err)
	value, err = f.fallBack(ctx, err)
	return value, nil, err
}

// opener returns the policy if its results can stay open, otherwise nil.
func (f *Policy[T]) opener() policy.OpenPolicy[T] {
	if around, ok := f.inner.(*Policy[T]); ok && around.opener() == nil {
		return nil
	}
	inner, _ := f.inner.(policy.OpenPolicy[T])
	return inner
}

// mayAnswer reports whether the fallback is to answer a call that has failed with err.
func (f *Policy[T]) mayAnswer(ctx context.Context, err error) bool {
	return !policy.Canceled(ctx) && (f.applies == nil || f.applies(err))
}

// fallBack returns the fallback's answer to err.
func (f *Policy[T]) fallBack(ctx context.Context, err error) (T, error) {
	value, failed := f.answer(ctx, err)
	if failed != nil {
		f.count(func(s *Snapshot) { s.Failed++ })
		return value, &Error{Err: err, Fallback: failed}
	}
	f.count(func(s *Snapshot) { s.Answered++ })
	return value, nil
}

// mustBeMade panics for the zero value.
func (f *Policy[T]) mustBeMade() {
	if f == nil || f.inner == nil {
		panic("fallback: a Policy that was not made by Value, Func or LastGood")
	}
}

func (f *Policy[T]) count(add func(*Snapshot)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	add(&f.counts)
}

// String returns the kind of fallback and what it stands around, if that says so, such as
// `fallback value > total timeout 2s > retry 3`.
func (f *Policy[T]) String() string {
	f.mustBeMade()
	text := "fallback " + f.kind
	if f.name != "" {
		text = fmt.Sprintf("fallback %q %s", f.name, f.kind)
	}
	if inner, ok := f.inner.(fmt.Stringer); ok {
		text += " > " + inner.String()
	}
	return text
}
