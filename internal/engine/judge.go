package engine

import (
	"context"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/policy"
)

// A hedge decides by what the errors of its attempts mean. The engine knows: it has classified each of them, for this pipeline.
// So the context that a wrapper is given leads to a judge, whom the hedge asks with [ClassOf] and [Entered].

// ClassOf returns the class that the engine has found for err, the error of an attempt of a wrapper. ctx is the context that
// the wrapper was given.
func ClassOf(ctx context.Context, err error) policy.Class {
	if judge, ok := ctx.Value(judgeKey{}).(judge); ok {
		return judge.classOf(err)
	}
	return ownClass(err)
}

// Entered reports whether the attempt of a wrapper that has ended with err had entered the operation, true if that is not
// known. Of several attempts with the same error, one that was refused decides. ctx is the context that the wrapper was
// given.
func Entered(ctx context.Context, err error) bool {
	judge, ok := ctx.Value(judgeKey{}).(judge)
	return !ok || judge.hadEntered(err)
}

// Wrapped reports whether ctx belongs to an attempt of a wrapper: one that may go on after the caller has left.
func Wrapped(ctx context.Context) bool { return ctx.Value(judgeKey{}) != nil }

// judge knows what the errors of the attempts of a wrapper mean.
type judge interface {
	classOf(err error) policy.Class
	hadEntered(err error) bool
}

// judgeContext is a context in which [ClassOf] finds a judge.
type judgeContext struct {
	context.Context
	judge judge
}

type judgeKey struct{}

func (j *judgeContext) Value(key any) any {
	if key == (judgeKey{}) {
		return j.judge
	}
	return j.Context.Value(key)
}

// judged is an error that an attempt of a wrapper has ended with, and what it means.
type judged struct {
	err     error
	class   policy.Class
	entered bool // the attempt entered the operation
}

func (r *race[T]) classOf(err error) policy.Class {
	if j, ok := r.find(err); ok {
		return j.class
	}
	return ownClass(err)
}

func (r *race[T]) hadEntered(err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range r.judged {
		if !j.entered && match.Same(j.err, err) {
			return false
		}
	}
	return true
}

// classOfAll returns the class of err as the error of the whole: the class of the attempt that ended with it, or else the
// gravest one. A refusal does not speak for attempts that entered the operation and failed.
func (r *race[T]) classOfAll(err error, gravest policy.Class) policy.Class {
	if j, ok := r.find(err); ok && j.entered {
		return j.class
	}
	return gravest
}

// find returns what is known of the attempt that has ended with err.
func (r *race[T]) find(err error) (_ judged, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range r.judged {
		if match.Same(j.err, err) {
			return j, true
		}
	}
	return judged{}, false
}
