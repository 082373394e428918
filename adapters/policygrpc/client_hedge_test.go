package policygrpc_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policygrpc"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// racing returns a pipeline that hedges after a millisecond.
func racing(layers ...policy.Layer) *resilience.Pipeline {
	return resilience.Compose(append(layers, hedge.New(hedge.After(time.Millisecond), hedge.Limit(10, 1e6)))...)
}

func TestHedgingIsForMethodsThatAreIdempotent(t *testing.T) {
	// slow returns a method whose first answer waits for a second attempt, if there is to be one.
	slow := func(attempts int) func(context.Context, int, *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
		second := make(chan struct{})
		return func(_ context.Context, number int, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
			switch {
			case number == 2:
				close(second)
			case attempts == 2:
				<-second
			default:
				time.Sleep(50 * time.Millisecond)
			}
			return reply("ok"), nil
		}
	}
	for name, test := range map[string]struct {
		options  []policygrpc.Option
		mark     func(context.Context) context.Context
		attempts int
	}{
		"by default not":      {nil, nil, 1},
		"the method":          {[]policygrpc.Option{policygrpc.Idempotent(unaryMethod)}, nil, 2},
		"another method":      {[]policygrpc.Option{policygrpc.Idempotent(outputMethod)}, nil, 1},
		"the service":         {[]policygrpc.Option{policygrpc.Idempotent("/grpc.testing.TestService/")}, nil, 2},
		"not the method":      {[]policygrpc.Option{policygrpc.Idempotent("/grpc.testing.TestService/"), policygrpc.NotIdempotent(unaryMethod)}, nil, 1},
		"the call":            {nil, retry.Idempotent, 2},
		"the call counts":     {[]policygrpc.Option{policygrpc.NotIdempotent(unaryMethod)}, retry.Idempotent, 2},
		"the call says no":    {[]policygrpc.Option{policygrpc.Idempotent(unaryMethod)}, retry.NotIdempotent, 1},
		"another interceptor": {nil, retry.Idempotent, 2},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, &service{unary: slow(test.attempts)}, setting{source: racing(), options: test.options})
			ctx := within(t)
			if test.mark != nil {
				ctx = test.mark(ctx)
			}
			_, err := b.call(ctx)
			require.NoError(t, err)
			require.Equal(t, test.attempts, b.count())
		})
	}
}

// In a race the reply, the header, the trailer and the peer of the caller are written once, by the attempt that wins, and
// the request may be changed when the call has returned. The race detector sees whether that is so.
func TestNoLoserEverWritesTheCallersReply(t *testing.T) {
	t.Parallel()
	s := &service{}
	s.unary = func(_ context.Context, number int, in *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
		time.Sleep(time.Duration(number%3) * time.Millisecond)
		return &testgrpc.SimpleResponse{Payload: in.GetPayload()}, nil
	}
	slots := bulkhead.New(1000)
	b := start(t, s, setting{source: racing(slots), options: []policygrpc.Option{policygrpc.Idempotent(unaryMethod)}})
	request, answer := &testgrpc.SimpleRequest{Payload: payload("")}, &testgrpc.SimpleResponse{}
	for i := range 200 {
		ctx := within(t) // for each call: on a busy machine, one for all would end
		text := fmt.Sprint("request ", i)
		request.Payload.Body = append(request.Payload.Body[:0], text...)
		answer.Username = "stale"
		require.NoError(t, b.connection.Invoke(ctx, unaryMethod, request, answer))
		require.Equal(t, text, body(answer))
		require.Empty(t, answer.GetUsername(), "the reply is that of the server and nothing else")
		answer.Payload.Body = append(answer.Payload.Body, "the caller's"...)
	}
	require.Eventually(t, func() bool { return slots.Snapshot().InFlight == 0 }, 10*time.Second, time.Millisecond)
}

// An inner interceptor may change the request, such as to sign it, in each attempt.
func TestEachAttemptOfARaceHasItsOwnRequest(t *testing.T) {
	t.Run("unary", func(t *testing.T) {
		sent := newSent()
		ours := policygrpc.UnaryClient(racing(), policygrpc.Idempotent(unaryMethod))
		request := &testgrpc.SimpleRequest{Payload: payload("hello")}
		require.NoError(t, ours(within(t), unaryMethod, request, &testgrpc.SimpleResponse{}, nil, func(ctx context.Context, _ string, in, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
			in.(*testgrpc.SimpleRequest).ResponseSize++
			sent.add(in)
			return sent.wait(ctx)
		}))
		require.Zero(t, request.GetResponseSize())
		require.Equal(t, 2, sent.len())
	})
	t.Run("stream", func(t *testing.T) {
		sent := newSent()
		ours := policygrpc.StreamClient(racing(), policygrpc.Idempotent(outputMethod))
		stream, err := ours(within(t), &grpc.StreamDesc{ServerStreams: true}, nil, outputMethod, func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
			return &signing{fakeStream: fakeStream{ctx: ctx}, sent: sent}, nil
		})
		require.NoError(t, err)
		require.NoError(t, stream.SendMsg(&testgrpc.StreamingOutputCallRequest{}))
		_, err = stream.Header()
		require.NoError(t, err)
		require.Equal(t, 2, sent.len())
	})
}

// sent is the requests that two attempts sent. The slower attempt may still read it when the test has ended.
type sent struct {
	both     chan struct{} // closed when the second request came
	mu       sync.Mutex
	requests map[any]bool
}

func newSent() *sent { return &sent{both: make(chan struct{}), requests: map[any]bool{}} }

func (s *sent) add(request any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requests[request] = true; len(s.requests) == 2 {
		close(s.both)
	}
}

func (s *sent) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

func (s *sent) wait(ctx context.Context) error {
	select {
	case <-s.both:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// signing is a stream that changes what is sent, and answers when two attempts were made.
type signing struct {
	fakeStream
	sent *sent
}

func (s *signing) SendMsg(m any) error {
	m.(*testgrpc.StreamingOutputCallRequest).ResponseType++
	s.sent.add(m)
	return nil
}

func (s *signing) Header() (metadata.MD, error) { return metadata.MD{}, s.sent.wait(s.ctx) }

// In virtual time the attempt is under way when it is abandoned, however busy the machine is.
func TestAnAbandonedCallWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours := policygrpc.UnaryClient(resilience.Compose(timeout.Abandon(20 * time.Millisecond)))
		release, written := make(chan struct{}), make(chan struct{})
		answer := &testgrpc.SimpleResponse{}
		err := ours(t.Context(), unaryMethod, &testgrpc.SimpleRequest{}, answer, nil, func(_ context.Context, _ string, _, out any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
			<-release // deaf to its context
			out.(*testgrpc.SimpleResponse).Payload = payload("late")
			close(written)
			return nil
		})
		require.Equal(t, codes.DeadlineExceeded, status.Code(err))
		close(release)
		<-written
		require.Nil(t, answer.GetPayload())
	})
}

func TestRepliesThatAreNoProtocolBuffersAreCopied(t *testing.T) {
	type raw struct{ text string }
	ours := policygrpc.UnaryClient(racing())
	invoker := func(_ context.Context, _ string, in, out any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
		out.(*raw).text = in.(*raw).text
		return nil
	}
	answer := &raw{}
	require.NoError(t, ours(retry.Idempotent(t.Context()), unaryMethod, &raw{"hello"}, answer, nil, invoker))
	require.Equal(t, "hello", answer.text)
	require.NoError(t, ours(t.Context(), unaryMethod, &raw{"hello"}, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
		return nil
	}))
}

func TestAServerStreamIsHedged(t *testing.T) {
	var mu sync.Mutex
	ended := 0
	s := &service{output: func(number int, _ *testgrpc.StreamingOutputCallRequest, stream testgrpc.TestService_StreamingOutputCallServer) error {
		if number == 1 {
			<-stream.Context().Done() // the loser is cancelled
			mu.Lock()
			ended++
			mu.Unlock()
			return stream.Context().Err()
		}
		return outputs(stream, "a", "b")
	}}
	seen := &witness{}
	b := start(t, s, setting{source: racing(seen), options: []policygrpc.Option{policygrpc.Idempotent(outputMethod)}})
	stream, err := b.client.StreamingOutputCall(within(t), &testgrpc.StreamingOutputCallRequest{})
	require.NoError(t, err)
	require.NoError(t, readToTheEnd("server", stream))
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return ended == 1 && len(seen.seen()) == 2
	}, 10*time.Second, time.Millisecond)
}

func TestOptionsThatAreNoGood(t *testing.T) {
	for _, options := range [][]policygrpc.Option{
		{policygrpc.Idempotent("")}, {policygrpc.Idempotent("Get")}, {policygrpc.Idempotent("users.Users/Get")}, {policygrpc.NotIdempotent("//Get")},
		{policygrpc.Idempotent(unaryMethod), policygrpc.NotIdempotent(unaryMethod)}, {nil},
	} {
		require.Error(t, policygrpc.Validate(options...))
		require.Panics(t, func() { policygrpc.UnaryClient(racing(), options...) })
		require.Panics(t, func() { policygrpc.StreamClient(racing(), options...) })
	}
	require.NoError(t, policygrpc.Validate(policygrpc.Idempotent("/users.Users/", "/users.Users/Get")))
	require.Panics(t, func() { policygrpc.UnaryClient(nil) })
	require.Panics(t, func() { policygrpc.UnaryClient((*resilience.Pipeline)(nil)) })
}
