package policyredis_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/valkey-io/valkey-go"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policyredis"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
)

func fetch(context.Context) (string, error) { return "sunny", nil }

// A client of go-redis is a Scripter as it is. The limit holds for all processes that use the key.
func ExampleNew() {
	server, err := miniredis.Run() // in production, the address of your Redis
	if err != nil {
		panic(err)
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1})
	defer client.Close()

	api := policyredis.New(client, "weather-api", 100, 20, policyredis.FailLocal(10)) // 10 processes
	backend := resilience.Compose(retry.New(), api)

	weather, err := resilience.Do(context.Background(), backend, fetch)
	fmt.Println(weather, err)

	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	fmt.Println(api.Drain(ctx)) // at the end of the process
	// Output:
	// sunny <nil>
	// <nil>
}

type tenantKey struct{}

func tenantOf(ctx context.Context) string {
	tenant, _ := ctx.Value(tenantKey{}).(string)
	return tenant
}

func ExampleNewPerKey() {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1})
	defer client.Close()

	tenants := policyredis.NewPerKey(client, 1.0/3600, 1, tenantOf, policyredis.FailLocal(10), policyredis.Deadline(time.Second))
	for _, tenant := range []string{"ann", "ann", "bob"} {
		err := tenants.Allow(context.Background(), tenant, 1)
		fmt.Println(tenant, errors.Is(err, ratelimit.ErrLimited))
	}
	// Output:
	// ann false
	// ann true
	// bob false
}

// rueidisScripts is a client of rueidis as a Scripter. rueidiscompat.NewAdapter(client) is another.
type rueidisScripts struct{ client rueidis.Client }

func (s rueidisScripts) Eval(ctx context.Context, script string, keys []string, args ...any) policyredis.Reply {
	command := s.client.B().Eval().Script(script).Numkeys(int64(len(keys))).Key(keys...).Arg(texts(args)...).Build()
	value, err := s.client.Do(ctx, command).ToAny()
	return policyredis.Reply{Value: value, Err: err}
}

func (s rueidisScripts) EvalSha(ctx context.Context, sha1 string, keys []string, args ...any) policyredis.Reply {
	command := s.client.B().Evalsha().Sha1(sha1).Numkeys(int64(len(keys))).Key(keys...).Arg(texts(args)...).Build()
	value, err := s.client.Do(ctx, command).ToAny()
	return policyredis.Reply{Value: value, Err: err}
}

// texts returns the arguments of a script, which are strings.
func texts(args []any) []string {
	texts := make([]string, len(args))
	for i, arg := range args {
		texts[i] = arg.(string)
	}
	return texts
}

// rueidis builds its commands; two methods make its client a Scripter.
func ExampleScripter_rueidis() {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	defer server.Close()
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Addr()}, DisableCache: true})
	if err != nil {
		panic(err)
	}
	defer client.Close()

	api := policyredis.New(rueidisScripts{client}, "weather-api", 100, 20, policyredis.FailLocal(10))
	fmt.Println(resilience.Do(context.Background(), api, fetch))
	// Output: sunny <nil>
}

// valkeyScripts is a client of valkey-go as a Scripter. valkeycompat.NewAdapter(client) is another.
type valkeyScripts struct{ client valkey.Client }

func (s valkeyScripts) Eval(ctx context.Context, script string, keys []string, args ...any) policyredis.Reply {
	command := s.client.B().Eval().Script(script).Numkeys(int64(len(keys))).Key(keys...).Arg(texts(args)...).Build()
	value, err := s.client.Do(ctx, command).ToAny()
	return policyredis.Reply{Value: value, Err: err}
}

func (s valkeyScripts) EvalSha(ctx context.Context, sha1 string, keys []string, args ...any) policyredis.Reply {
	command := s.client.B().Evalsha().Sha1(sha1).Numkeys(int64(len(keys))).Key(keys...).Arg(texts(args)...).Build()
	value, err := s.client.Do(ctx, command).ToAny()
	return policyredis.Reply{Value: value, Err: err}
}

// The same for valkey-go.
func ExampleScripter_valkey() {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	defer server.Close()
	client, err := valkey.NewClient(valkey.ClientOption{InitAddress: []string{server.Addr()}, DisableCache: true})
	if err != nil {
		panic(err)
	}
	defer client.Close()

	api := policyredis.New(valkeyScripts{client}, "weather-api", 100, 20, policyredis.FailLocal(10))
	fmt.Println(resilience.Do(context.Background(), api, fetch))
	// Output: sunny <nil>
}
