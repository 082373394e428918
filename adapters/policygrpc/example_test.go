package policygrpc_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policygrpc"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

func ExampleUnaryClient() {
	backend := resilience.Compose(
		resilience.Name("users"),
		timeout.Total(5*time.Second),
		retry.New(),
		breaker.New(breaker.FailureRate(0.5, 20), breaker.OpenFor(5*time.Second)),
		bulkhead.New(100),
		timeout.PerAttempt(time.Second),
	)
	connection, err := grpc.NewClient("dns:///users:443",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(), // leaves retries to the pipeline
		grpc.WithChainUnaryInterceptor(policygrpc.UnaryClient(backend)),
		grpc.WithChainStreamInterceptor(policygrpc.StreamClient(backend)),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	fmt.Println(backend)
	// Output: total timeout 5s > retry 3 > breaker > bulkhead 100 > attempt timeout 1s
}

func ExampleUnaryServer() {
	front := resilience.Compose(
		resilience.Name("front"),
		ratelimit.New(1000, 100),                                   // RESOURCE_EXHAUSTED
		bulkhead.New(64, bulkhead.Queue(64, 100*time.Millisecond)), // UNAVAILABLE
	)
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(policygrpc.UnaryServer(front)),
		grpc.ChainStreamInterceptor(policygrpc.StreamServer(front)),
	)
	defer server.Stop()
	fmt.Println(front)
	// Output: rate limit 1000/s burst 100 > bulkhead 64+64
}

// One rate limit for each client: the context of a pipeline is that of gRPC.
func ExampleUnaryServer_perClient() {
	client := func(ctx context.Context) string {
		if p, ok := peer.FromContext(ctx); ok {
			return p.Addr.String() // or what was authenticated
		}
		return ""
	}
	limits := keyed.New(func(string) *ratelimit.Limiter { return ratelimit.New(10, 20) }, keyed.Max(100_000))
	front := resilience.Compose(keyed.By(client, limits))
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(policygrpc.UnaryServer(front)))
	defer server.Stop()
}

// Hedging cuts the tail of the latency of calls that may be made twice.
func ExampleIdempotent() {
	backend := resilience.Compose(retry.New(), hedge.New(), breaker.New())
	interceptor := policygrpc.UnaryClient(backend, policygrpc.Idempotent("/users.Users/Get", "/search.Search/"))
	_ = grpc.WithChainUnaryInterceptor(interceptor)
	fmt.Println(backend)
	// Output: retry 3 > hedge 1 after p95 > breaker
}

func ExamplePerMethod() {
	source := policygrpc.PerMethod(func(method string) *resilience.Pipeline {
		return resilience.Compose(resilience.Name(method), retry.New(), breaker.New(breaker.Name(method)))
	})
	_ = grpc.WithChainUnaryInterceptor(policygrpc.UnaryClient(source))
	fmt.Println(source.PipelineFor("/users.Users/Get"))
	// Output: retry 3 > breaker "/users.Users/Get"
}

func ExampleFromServiceConfig() {
	source, err := policygrpc.FromServiceConfig(`{
		"methodConfig": [{
			"name": [{"service": "users.Users"}],
			"retryPolicy": {
				"maxAttempts": 4,
				"initialBackoff": "0.1s",
				"maxBackoff": "1s",
				"backoffMultiplier": 2,
				"retryableStatusCodes": ["UNAVAILABLE"]
			}
		}],
		"retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}
	}`, breaker.New(), timeout.Total(5*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(source.PipelineFor("/users.Users/Get"))
	fmt.Println(source.PipelineFor("/orders.Orders/Place"))
	// Output:
	// total timeout 5s > retry 4 > breaker
	// total timeout 5s > breaker
}

func ExampleInfo() {
	users := breaker.New(breaker.Name("users"))
	users.ForceOpen()
	interceptor := policygrpc.UnaryClient(resilience.Compose(retry.New(), users))
	var call policygrpc.Call
	err := interceptor(context.Background(), "/users.Users/Get", nil, nil, nil, nil, policygrpc.Info(&call))
	fmt.Println(call.Attempts, call.Code())
	fmt.Println(status.Code(err), errors.Is(err, breaker.ErrOpen), errors.Is(err, policy.ErrRejected))
	// Output:
	// 0 breaker.open
	// Unavailable true true
}

func ExampleOff() {
	probing := []grpc.CallOption{policygrpc.Off()} // of one call: no breaker, no retry
	writing := []grpc.CallOption{policygrpc.With(resilience.Compose(breaker.New()))}
	fmt.Println(len(probing), len(writing))
	// Output: 1 1
}

func ExampleClassify() {
	fmt.Println(policygrpc.Classify(status.Error(codes.Unavailable, "down")))
	fmt.Println(policygrpc.Classify(status.Error(codes.NotFound, "no such user")))
	backend := resilience.Compose(retry.New(), resilience.Classify(policygrpc.Classify)) // for calls without interceptors
	fmt.Println(backend)
	// Output:
	// transient
	// expected
	// retry 3
}
