package main

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policygrpc"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/ratelimit"
)

// newServer returns a server behind a front door. The health service bypasses it unless it is included.
func newServer() *grpc.Server {
	front := resilience.Compose(
		resilience.Name("front"),
		ratelimit.New(1000, 100),                                   // RESOURCE_EXHAUSTED
		bulkhead.New(64, bulkhead.Queue(64, 100*time.Millisecond)), // UNAVAILABLE
	)
	return grpc.NewServer(
		grpc.ChainUnaryInterceptor(policygrpc.UnaryServer(front, policygrpc.AllMethods())),
		grpc.ChainStreamInterceptor(policygrpc.StreamServer(front, policygrpc.AllMethods())),
	)
}

// running is a server that runs.
type running struct {
	address string
	stop    func()
}

// serve runs a server on loopback.
func serve(health healthgrpc.HealthServer) (*running, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := newServer()
	healthgrpc.RegisterHealthServer(server, health)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // returns when the server is stopped
	}()
	return &running{listener.Addr().String(), func() {
		server.Stop()
		<-done
	}}, nil
}

var errDown = status.Error(codes.Unavailable, "out of order")

// flaky fails every second time.
type flaky struct {
	healthgrpc.UnimplementedHealthServer
	calls atomic.Int64
}

func (f *flaky) fails() bool { return f.calls.Add(1)%2 == 1 }

func (f *flaky) Check(context.Context, *healthgrpc.HealthCheckRequest) (*healthgrpc.HealthCheckResponse, error) {
	if f.fails() {
		return nil, errDown
	}
	return &healthgrpc.HealthCheckResponse{Status: healthgrpc.HealthCheckResponse_SERVING}, nil
}

func (f *flaky) Watch(_ *healthgrpc.HealthCheckRequest, stream healthgrpc.Health_WatchServer) error {
	if f.fails() {
		return errDown
	}
	for _, state := range []healthgrpc.HealthCheckResponse_ServingStatus{
		healthgrpc.HealthCheckResponse_SERVING, healthgrpc.HealthCheckResponse_NOT_SERVING,
	} {
		if err := stream.Send(&healthgrpc.HealthCheckResponse{Status: state}); err != nil {
			return err
		}
	}
	return nil
}

// sick always fails.
type sick struct {
	healthgrpc.UnimplementedHealthServer
}

func (*sick) Check(context.Context, *healthgrpc.HealthCheckRequest) (*healthgrpc.HealthCheckResponse, error) {
	return nil, errDown
}
