package policyredis

import (
	"context"
	"reflect"

	"github.com/go-resilience/resilience/internal/option"
)

// Scripter is what a client must be able to do: run a script, by its text and by its SHA-1. The clients of go-redis
// (*redis.Client, *redis.ClusterClient, *redis.Ring, redis.UniversalClient) are Scripters as they are, and so are the adapters
// rueidiscompat.NewAdapter of rueidis and valkeycompat.NewAdapter of valkey-go. For any other client, and for rueidis and
// valkey-go without their adapters, write the two methods, with a [Reply] as the result; the package's examples have them.
// A pipeline is none, though it has the methods: it answers later.
//
// The methods must be safe for concurrent use. They should return soon after ctx has ended. A call that does not return
// by the [Deadline] is abandoned: it keeps its goroutine, and is counted as abandoned, until it returns. See also
// [TrustClient].
type Scripter[R Result] interface {
	Eval(ctx context.Context, script string, keys []string, args ...any) R
	EvalSha(ctx context.Context, sha1 string, keys []string, args ...any) R
}

// Result is what a client returns: an int64 or an error. The text of a server's error must be the server's own, as in
// "NOSCRIPT No matching script".
type Result interface {
	Result() (any, error)
}

// Reply is a [Result] for a [Scripter] that you write yourself.
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
	keepsDeadlines() bool // it says so, of the deadlines of contexts
}

type scripter[R Result] struct{ Scripter[R] }

func (s scripter[R]) eval(ctx context.Context, keys []string, args []any) (any, error) {
	return s.Eval(ctx, script, keys, args...).Result()
}

func (s scripter[R]) evalSha(ctx context.Context, keys []string, args []any) (any, error) {
	return s.EvalSha(ctx, scriptName, keys, args...).Result()
}

// keepsDeadlines reports whether the client is one of go-redis for a single server, and set to keep to the deadlines of contexts.
// It looks at the options, since this package does not link go-redis. With a negative timeout it sets no deadline on connections,
// and a CredentialsProvider gets no context, nor does a StreamingCredentialsProvider, which older versions do not have. Clients
// of clusters hold a lock while they ask what commands there are, and others wait for that.
func (s scripter[R]) keepsDeadlines() (yes bool) {
	defer func() {
		if recover() != nil { // in somebody else's Options, or they have other fields
			yes = false
		}
	}()
	method := reflect.ValueOf(s.Scripter).MethodByName("Options")
	if !method.IsValid() || method.Type().NumIn() != 0 || method.Type().NumOut() != 1 {
		return false
	}
	options := reflect.Indirect(method.Call(nil)[0])
	if options.Kind() != reflect.Struct || !options.FieldByName("Addr").IsValid() {
		return false
	}
	if streaming := options.FieldByName("StreamingCredentialsProvider"); streaming.IsValid() && !streaming.IsNil() {
		return false
	}
	return options.FieldByName("ContextTimeoutEnabled").Bool() && options.FieldByName("CredentialsProvider").IsNil() &&
		options.FieldByName("ReadTimeout").Int() >= 0 && options.FieldByName("WriteTimeout").Int() >= 0
}

// clientOf returns nil for a client that is nil.
func clientOf[R Result](s Scripter[R]) client {
	if option.IsNil(s) {
		return nil
	}
	return scripter[R]{s}
}
