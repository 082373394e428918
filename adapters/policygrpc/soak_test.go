package policygrpc_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policygrpc"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// misbehave does one of everything that the tests know, and reports whether the answer should be good.
func misbehave(ctx context.Context, headers func(metadata.MD) error, trailers func(metadata.MD)) error {
	switch rand.IntN(16) {
	case 0:
		return errUnavailable
	case 1:
		return errInternal
	case 2:
		return retryInfo(codes.ResourceExhausted, time.Duration(rand.IntN(5))*time.Millisecond)
	case 3:
		trailers(metadata.Pairs("grpc-retry-pushback-ms", []string{"0", "3", "-1", "x"}[rand.IntN(4)]))
		return errUnavailable
	case 4:
		_ = headers(metadata.MD{})
		return errUnavailable
	case 5:
		return status.Error(codes.Code(rand.IntN(20)), "any code")
	case 6:
		<-ctx.Done()
		return ctx.Err()
	case 7:
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
	}
	return nil
}

// sicklyService misbehaves in every method.
func sicklyService() *service {
	s := &service{}
	s.unary = func(ctx context.Context, _ int, in *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
		err := misbehave(ctx, func(md metadata.MD) error { return grpc.SendHeader(ctx, md) }, func(md metadata.MD) { _ = grpc.SetTrailer(ctx, md) })
		return &testgrpc.SimpleResponse{Payload: in.GetPayload()}, err
	}
	s.output = func(_ int, in *testgrpc.StreamingOutputCallRequest, stream testgrpc.TestService_StreamingOutputCallServer) error {
		if err := misbehave(stream.Context(), stream.SendHeader, stream.SetTrailer); err != nil {
			return err
		}
		if err := outputs(stream, "a", "b"); err != nil {
			return err
		}
		return misbehave(stream.Context(), stream.SendHeader, stream.SetTrailer)
	}
	s.input = func(_ int, stream testgrpc.TestService_StreamingInputCallServer) error {
		if err := misbehave(stream.Context(), stream.SendHeader, stream.SetTrailer); err != nil {
			return err
		}
		for {
			if _, err := stream.Recv(); err == io.EOF {
				return stream.SendAndClose(&testgrpc.StreamingInputCallResponse{})
			} else if err != nil {
				return err
			}
		}
	}
	s.duplex = func(_ int, stream testgrpc.TestService_FullDuplexCallServer) error {
		for {
			in, err := stream.Recv()
			if err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if err := misbehave(stream.Context(), stream.SendHeader, stream.SetTrailer); err != nil {
				return err
			}
			if err := stream.Send(&testgrpc.StreamingOutputCallResponse{Payload: in.GetPayload()}); err != nil {
				return err
			}
		}
	}
	return s
}

// ledger counts what is begun and what is ended.
type ledger struct{ admitted, settled atomic.Int64 }

func (l *ledger) Stage() policy.Stage { return policy.StageAttemptTimeout - 1 }
func (l *ledger) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	l.admitted.Add(1)
	return ctx, policy.Ticket{}, nil
}
func (l *ledger) Settle(context.Context, policy.Ticket, policy.Outcome) { l.settled.Add(1) }

func TestSoak(t *testing.T) {
	length := testsize.Pick(time.Second, time.Minute)
	slots := bulkhead.New(64, bulkhead.Queue(64, 20*time.Millisecond))
	db := breaker.New(breaker.FailureRate(0.8, 50), breaker.OpenFor(5*time.Millisecond), breaker.ProbeLease(time.Second))
	books := &ledger{}
	backend := resilience.Compose(
		resilience.Name("soak"),
		timeout.Total(300*time.Millisecond),
		retry.New(retry.Attempts(3), retry.Constant(time.Millisecond), retry.WithBudget(retry.NewBudget(1, 1000))),
		hedge.New(hedge.After(10*time.Millisecond), hedge.Limit(1, 1000)),
		db, ratelimit.New(1e5, 1000), slots, books, timeout.PerAttempt(50*time.Millisecond))
	serverSlots := bulkhead.New(48)
	front := resilience.Compose(resilience.Name("front"), ratelimit.New(1e5, 1000), serverSlots)
	b := start(t, sicklyService(), setting{tcp: true, source: backend,
		options: []policygrpc.Option{policygrpc.Idempotent(unaryMethod, outputMethod)},
		serve: []grpc.ServerOption{
			grpc.UnaryInterceptor(policygrpc.UnaryServer(front)), grpc.StreamInterceptor(policygrpc.StreamServer(front)),
			grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: 500 * time.Millisecond, MaxConnectionAgeGrace: 50 * time.Millisecond}),
		}})

	var calls, good, wrong atomic.Int64
	stop := time.Now().Add(length)
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for i := 0; time.Now().Before(stop) || good.Load() == 0; i++ {
				calls.Add(1)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rand.IntN(200))*time.Millisecond)
				if rand.IntN(8) == 0 {
					time.AfterFunc(time.Duration(rand.IntN(20))*time.Millisecond, cancel)
				}
				text := fmt.Sprintf("%d/%d", worker, i)
				ok, err := anyCall(ctx, b, text)
				if !ok {
					wrong.Add(1)
				}
				if err == nil {
					good.Add(1)
				}
				cancel() // what was abandoned ends here
			}
		})
	}
	wg.Wait()
	require.Zero(t, wrong.Load(), "answers that belong to another call")
	require.Positive(t, good.Load())
	require.Eventually(t, func() bool {
		return slots.Snapshot().InFlight == 0 && books.admitted.Load() == books.settled.Load() && serverSlots.Snapshot().InFlight == 0
	}, 10*time.Second, 10*time.Millisecond, "the ledgers balance: %d admitted, %d settled", books.admitted.Load(), books.settled.Load())
	s := db.Snapshot()
	require.Equal(t, s.Requests, s.Successes+s.Failures+s.Neutral+s.Stale+s.InFlight, "%+v", s)
	require.Zero(t, s.InFlight)
	t.Logf("%d calls, %d good, %d attempts at the server, %d admitted and settled", calls.Load(), good.Load(), b.count(), books.admitted.Load())
}

// anyCall makes a call of any kind. It reports whether what came belongs to the call.
func anyCall(ctx context.Context, b *backend, text string) (ok bool, err error) {
	var header, trailer metadata.MD
	var from peer.Peer
	var call policygrpc.Call
	opts := []grpc.CallOption{grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&from), policygrpc.Info(&call)}
	switch rand.IntN(5) {
	case 0, 1:
		answer, err := b.client.UnaryCall(ctx, &testgrpc.SimpleRequest{Payload: payload(text)}, opts...)
		return err != nil || body(answer) == text, err
	case 2:
		stream, err := b.client.StreamingOutputCall(ctx, &testgrpc.StreamingOutputCallRequest{Payload: payload(text)}, opts...)
		if err != nil || rand.IntN(4) == 0 {
			return true, err
		}
		var texts []string
		for {
			m, err := stream.Recv()
			if err != nil {
				return strings.HasPrefix("ab", strings.Join(texts, "")), ended(err)
			}
			texts = append(texts, string(m.GetPayload().GetBody()))
		}
	case 3:
		stream, err := b.client.StreamingInputCall(ctx, opts...)
		if err != nil {
			return true, err
		}
		for range rand.IntN(4) {
			_ = stream.Send(&testgrpc.StreamingInputCallRequest{Payload: payload(text)})
		}
		if rand.IntN(4) == 0 {
			return true, nil
		}
		_, err = stream.CloseAndRecv()
		return true, err
	}
	stream, err := b.client.FullDuplexCall(ctx, opts...)
	if err != nil {
		return true, err
	}
	for range rand.IntN(4) {
		if err := stream.Send(&testgrpc.StreamingOutputCallRequest{Payload: payload(text)}); err != nil {
			break
		}
		m, err := stream.Recv()
		if err != nil {
			return true, ended(err)
		}
		if string(m.GetPayload().GetBody()) != text {
			return false, nil
		}
	}
	if rand.IntN(2) == 0 {
		return true, nil // abandoned
	}
	_ = stream.CloseSend()
	_, err = stream.Recv()
	return true, ended(err)
}

func ended(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}
