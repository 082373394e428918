package main

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policygrpc"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// newPipeline returns what calls of one service go through.
func newPipeline(name string) *resilience.Pipeline {
	return resilience.Compose(
		resilience.Name(name),
		timeout.Total(5*time.Second),
		retry.New(retry.Exponential(20*time.Millisecond, time.Second)),
		breaker.New(breaker.FailureRate(0.5, 20), breaker.OpenFor(5*time.Second)),
		bulkhead.New(100),
		timeout.PerAttempt(time.Second),
	)
}

// dial connects to a server whose calls go through backend. grpc.WithDisableRetry leaves all retries to it.
func dial(address string, backend resilience.Source) (*grpc.ClientConn, error) {
	return grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithChainUnaryInterceptor(policygrpc.UnaryClient(backend)),
		grpc.WithChainStreamInterceptor(policygrpc.StreamClient(backend)),
	)
}
