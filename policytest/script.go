package policytest

import (
	"context"
	"sync/atomic"

	"github.com/go-resilience/resilience/policy"
)

// Script returns an operation and the number of its calls so far. Call number i returns the zero T and errs[i-1], or
// value and nil where that error is nil; so does every call after the last error: it succeeds with value.
//
//	call, calls := policytest.Script(User{Name: "ada"}, errDB, nil, errDB)
//
// fails, succeeds, fails, and succeeds from then on. The operation does not look at its context. Both functions are
// safe for concurrent use.
func Script[T any](value T, errs ...error) (op policy.Func[T], calls func() int) {
	var count atomic.Int64
	op = func(context.Context) (T, error) {
		number := int(count.Add(1))
		if number <= len(errs) && errs[number-1] != nil {
			return *new(T), errs[number-1]
		}
		return value, nil
	}
	return op, func() int { return int(count.Load()) }
}
