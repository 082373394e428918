package policyredis

import (
	"context"
	"reflect"
)

// Scripter is what a client must be able to do: run a script, by its text and by its SHA-1. The clients of go-redis
// (*redis.Client, *redis.ClusterClient, *redis.Ring, redis.UniversalClient) are Scripters as they are, and so are the adapters
// rueidiscompat.NewAdapter of rueidis and valkeycompat.NewAdapter of valkey-go. For any other client, and for rueidis and
// valkey-go without their adapters, write the two methods, with a [Reply] as the result; the package's examples have them.
//
// The methods must be safe for concurrent use. They should return soon after ctx has ended. A call that does not return by the
// [Deadline] is left alone with its goroutine, and counted as abandoned until it does.
type Scripter[R Result] interface {
	Eval(ctx context.Context, script string, keys []string, args ...any) R
	EvalSha(ctx context.Context, sha1 string, keys []string, args ...any) R
}

// Result is what a client answers: an int64, or an error. The error of a server says what the server said, as in
// "NOSCRIPT No matching script".
type Result interface {
	Result() (any, error)
}

// Reply is a [Result] for those who write a [Scripter] themselves.
type Reply struct {
	Value any
	Err   error
}

// Result returns the fields.
func (r Reply) Result() (any, error) { return r.Value, r.Err }

// client is a Scripter without its type parameter.
type client interface {
	eval(ctx context.Context, keys []string, args []any) (any, error)
	evalSha(ctx context.Context, keys []string, args []any) (any, error)
}

type scripter[R Result] struct{ Scripter[R] }

func (s scripter[R]) eval(ctx context.Context, keys []string, args []any) (any, error) {
	return s.Eval(ctx, script, keys, args...).Result()
}

func (s scripter[R]) evalSha(ctx context.Context, keys []string, args []any) (any, error) {
	return s.EvalSha(ctx, scriptName, keys, args...).Result()
}

// clientOf returns nil for a client that is nil.
func clientOf[R Result](s Scripter[R]) client {
	if v := reflect.ValueOf(s); s == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil
	}
	return scripter[R]{s}
}
