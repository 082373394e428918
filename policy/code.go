package policy

import (
	"context"
	"errors"
)

// Code returns a short, stable word for where in a pipeline a call ended, for headers, logs and labels: "breaker.open",
// "bulkhead.full", "ratelimit.limited", "retry.budget", "timeout.attempt". It is what the first error in err's tree with
// a method Code() string answers, the outermost first; an empty answer does not count. For an error that matches
// [context.Canceled] or [context.DeadlineExceeded] and has no code it is "canceled" or "deadline". For nil, and for an
// error of the operation that says nothing, it is "".
func Code(err error) (code string) {
	defer func() {
		if recover() != nil { // a method of the error has panicked, such as that of a nil pointer
			code = ""
		}
	}()
	if code := codeOf(err); code != "" {
		return code
	}
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline"
	}
	return ""
}

// codeOf is Code for what errors say themselves.
func codeOf(err error) string {
	code, _ := firstAnswer(err, func(err error) (string, bool) {
		coded, ok := err.(interface{ Code() string })
		if !ok {
			return "", false
		}
		code := coded.Code()
		return code, code != ""
	})
	return code
}

// NewReason returns an error with a text and a [Code], for the sentinels of a policy: the Reason of its rejections, or
// of what it gives up with. Two reasons are never equal, even if text and code are.
func NewReason(code, text string) error { return &reason{code: code, text: text} }

type reason struct{ code, text string }

func (r *reason) Error() string { return r.text }
func (r *reason) Code() string  { return r.code }
