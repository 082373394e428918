// Grpc calls two servers on loopback, one that fails now and then and one that always fails, through clients with
// retries and a breaker each. Each server has its own front door. It prints the results, and takes about a second.
//
//	go run ./examples/grpc
//
// Where to read: client.go is all that a client needs, server.go all that a server needs. Both use gRPC's health
// service, since its code comes with gRPC.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"google.golang.org/grpc/codes"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience/adapters/policygrpc"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	if err := run(context.Background(), os.Stdout, log); err != nil {
		fmt.Fprintln(os.Stderr, "grpc:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, log *slog.Logger) error {
	flaky, err := serve(&flaky{})
	if err != nil {
		return err
	}
	defer flaky.stop()
	sick, err := serve(&sick{})
	if err != nil {
		return err
	}
	defer sick.stop()

	if err := wellAgain(ctx, out, log, flaky.address); err != nil {
		return err
	}
	return refusals(ctx, out, sick.address)
}

// wellAgain calls a server that fails now and then: callers do not notice.
func wellAgain(ctx context.Context, out io.Writer, log *slog.Logger, address string) error {
	connection, err := dial(address, newPipeline("flaky"))
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	client := healthgrpc.NewHealthClient(connection)

	for i := range 3 {
		var call policygrpc.Call
		answer, err := client.Check(ctx, &healthgrpc.HealthCheckRequest{}, policygrpc.Info(&call))
		if err != nil {
			return err
		}
		log.Info("answered", "call", call)
		fmt.Fprintf(out, "call %d: %v, attempts %d\n", i, answer.GetStatus(), call.Attempts)
	}

	// A stream is begun anew until its first message, and holds its slot until it ends.
	stream, err := client.Watch(ctx, &healthgrpc.HealthCheckRequest{})
	if err != nil {
		return err
	}
	for {
		answer, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "stream: %v\n", answer.GetStatus())
	}
}

// refusals calls a server that always fails: after a few failures the breaker spares the server and its callers.
func refusals(ctx context.Context, out io.Writer, address string) error {
	connection, err := dial(address, newPipeline("sick"))
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	client := healthgrpc.NewHealthClient(connection)

	failed, refused := 0, 0
	for range 40 {
		var call policygrpc.Call
		_, err := client.Check(ctx, &healthgrpc.HealthCheckRequest{}, policygrpc.Info(&call))
		switch {
		case status.Code(err) != codes.Unavailable:
			return fmt.Errorf("the sick server answered: %w", err)
		case call.Attempts == 0:
			refused++
		default:
			failed++
		}
	}
	fmt.Fprintf(out, "sick server: %d calls failed, %d were refused\n", failed, refused)
	return nil
}
