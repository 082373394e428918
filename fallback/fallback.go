package fallback

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
)

// ErrNoLastGood is matched by the error of a call that failed when [LastGood] had no result, or only one that was too
// old. The error matches that of the policy too.
var ErrNoLastGood = errors.New("no good result that is young enough")

// Policy is a policy with a fallback. It is made by [Value], [Func] or [LastGood], and safe for concurrent use.
type Policy[T any] struct {
	config
	kind   string
	inner  policy.Policy[T]
	answer func(ctx context.Context, err error) (T, error)
	keep   func(value T) // of a success; nil unless the fallback is LastGood

	mu     sync.Mutex
	counts Snapshot
}

var (
	_ policy.Policy[int] = (*Policy[int])(nil)
	_ fmt.Stringer       = (*Policy[int])(nil)
)

// Value returns p with value as the answer when p fails. The value is shared by all calls: if it is or holds a
// pointer, nobody must change what that points to.
//
// Value panics with a [*policy.ConfigError] when p is nil or an option makes no sense.
func Value[T any](p policy.Policy[T], value T, opts ...Option) *Policy[T] {
	answer := func(context.Context, error) (T, error) { return value, nil }
	return newPolicy("fallback.Value", "value", p, answer, opts)
}

// Func returns p with answer called when p fails, with the context of the caller and the error of p. If answer returns
// an error too, the call returns both, see [Error], beside answer's value. The context may have ended by its deadline:
// what answer does must be quick, or have a deadline of its own.
//
// answer is called on the goroutine of the call. A panic in it goes on to the caller. Func panics with a
// [*policy.ConfigError] when p or answer is nil or an option makes no sense.
func Func[T any](p policy.Policy[T], answer func(ctx context.Context, err error) (T, error), opts ...Option) *Policy[T] {
	return newPolicy("fallback.Func", "function", p, answer, opts)
}

// LastGood returns p with the last successful result as the answer when p fails, unless that is older than maxAge. The
// result is kept as it is: if it is or holds a pointer, callers share what that points to, and must not change it.
//
// There is one last good result, whoever asked for it: use a LastGood for one question only ("the current rates"),
// never for operations that depend on an argument, since the answer for one user would be given to another.
//
// When there is no result that is young enough, the error of p is returned together with [ErrNoLastGood]. LastGood
// panics with a [*policy.ConfigError] when p is nil, maxAge is not positive, or an option makes no sense.
func LastGood[T any](p policy.Policy[T], maxAge time.Duration, opts ...Option) *Policy[T] {
	if err := Validate(maxAge, opts...); err != nil {
		panic(err)
	}
	last := &lastGood[T]{maxAge: maxAge, clock: stopwatch.Start()}
	f := newPolicy("fallback.LastGood", fmt.Sprintf("last good of %v", maxAge), p, last.answer, opts)
	f.keep = last.keep
	return f
}

func newPolicy[T any](constructor, kind string, p policy.Policy[T], answer func(context.Context, error) (T, error), opts []Option) *Policy[T] {
	c, problems := configure(constructor, opts)
	if v := reflect.ValueOf(p); p == nil || v.Kind() == reflect.Pointer && v.IsNil() {
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
	value, err := f.inner.Do(ctx, op)
	switch {
	case err == nil:
		if f.keep != nil {
			f.keep(value)
		}
		return value, nil
	case errors.Is(ctx.Err(), context.Canceled) || f.applies != nil && !f.applies(err):
		f.count(func(s *Snapshot) { s.Skipped++ })
		return value, err
	}
	value, failed := f.answer(ctx, err)
	if failed != nil {
		f.count(func(s *Snapshot) { s.Failed++ })
		return value, &Error{Err: err, Fallback: failed}
	}
	f.count(func(s *Snapshot) { s.Answered++ })
	return value, nil
}

func (f *Policy[T]) count(add func(*Snapshot)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	add(&f.counts)
}

// String returns the kind of fallback and what it stands around, if that says so, such as
// `fallback value > total timeout 2s > retry 3`.
func (f *Policy[T]) String() string {
	text := "fallback " + f.kind
	if f.name != "" {
		text = fmt.Sprintf("fallback %q %s", f.name, f.kind)
	}
	if inner, ok := f.inner.(fmt.Stringer); ok {
		text += " > " + inner.String()
	}
	return text
}

// Snapshot is what a fallback has done so far.
type Snapshot struct {
	Answered uint64 // calls that failed and got the fallback's answer
	Failed   uint64 // calls whose fallback failed too
	Skipped  uint64 // failed calls without a fallback: the caller had cancelled, or [If] said no
}

// Snapshot returns one consistent value. It changes nothing.
func (f *Policy[T]) Snapshot() Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts
}

// Error is the error of a call that failed, and whose fallback failed too. It matches both errors.
type Error struct {
	Err      error // why the call failed
	Fallback error // why the fallback failed
}

// Error returns one line.
func (e *Error) Error() string { return fmt.Sprintf("%v; fallback: %v", e.Err, e.Fallback) }

// Unwrap returns both errors, that of the call first.
func (e *Error) Unwrap() []error { return []error{e.Err, e.Fallback} }
