package policygrpc_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policygrpc"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

// receiver is what all streams of a client have.
type receiver interface {
	grpc.ClientStream
}

// The three kinds of streams, as a client opens them, and a server that does as it is told by ending.
var kinds = map[string]func(ctx context.Context, b *backend, opts ...grpc.CallOption) (receiver, error){
	"server": func(ctx context.Context, b *backend, opts ...grpc.CallOption) (receiver, error) {
		return b.client.StreamingOutputCall(ctx, &testgrpc.StreamingOutputCallRequest{}, opts...)
	},
	"client": func(ctx context.Context, b *backend, opts ...grpc.CallOption) (receiver, error) {
		return b.client.StreamingInputCall(ctx, opts...)
	},
	"bidirectional": func(ctx context.Context, b *backend, opts ...grpc.CallOption) (receiver, error) {
		return b.client.FullDuplexCall(ctx, opts...)
	},
}

// behaving returns a server whose streams send a message, and then do what end does.
func behaving(end func(ctx context.Context) error) *service {
	return &service{
		output: func(_ int, _ *testgrpc.StreamingOutputCallRequest, stream testgrpc.TestService_StreamingOutputCallServer) error {
			if err := outputs(stream, "first"); err != nil {
				return err
			}
			return end(stream.Context())
		},
		input: func(_ int, stream testgrpc.TestService_StreamingInputCallServer) error {
			_ = stream.SendHeader(metadata.MD{})
			if err := end(stream.Context()); err != nil {
				return err
			}
			return stream.SendAndClose(&testgrpc.StreamingInputCallResponse{})
		},
		duplex: func(_ int, stream testgrpc.TestService_FullDuplexCallServer) error {
			if err := stream.Send(&testgrpc.StreamingOutputCallResponse{Payload: payload("first")}); err != nil {
				return err
			}
			return end(stream.Context())
		},
	}
}

// readToTheEnd reads a stream until it ends.
func readToTheEnd(kind string, stream receiver) error {
	if kind == "client" {
		return stream.RecvMsg(&testgrpc.StreamingInputCallResponse{})
	}
	for {
		if err := stream.RecvMsg(&testgrpc.StreamingOutputCallResponse{}); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}

// endings is every way in which a stream can end. verdict is what the breaker hears after the opening.
var endings = map[string]struct {
	server  func(ctx context.Context) error
	client  func(t *testing.T, kind string, stream receiver, cancel context.CancelFunc)
	verdict policy.Verdict
	timeout time.Duration
}{
	"EOF": {
		server: func(context.Context) error { return nil },
		client: func(t *testing.T, kind string, stream receiver, _ context.CancelFunc) {
			require.NoError(t, stream.CloseSend())
			require.NoError(t, readToTheEnd(kind, stream))
		},
		verdict: policy.Success,
	},
	"error": {
		server: func(context.Context) error { return errInternal },
		client: func(t *testing.T, kind string, stream receiver, _ context.CancelFunc) {
			require.Equal(t, codes.Internal, status.Code(readToTheEnd(kind, stream)))
			require.Equal(t, codes.Internal, status.Code(readToTheEnd(kind, stream)), "again")
		},
		verdict: policy.Failure,
	},
	"cancel": {
		server: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		client: func(t *testing.T, kind string, stream receiver, cancel context.CancelFunc) {
			cancel()
			require.Equal(t, codes.Canceled, status.Code(readToTheEnd(kind, stream)))
		},
		verdict: policy.Neutral,
	},
	"deadline without Recv": {
		server:  func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		client:  func(_ *testing.T, _ string, stream receiver, _ context.CancelFunc) { <-stream.Context().Done() },
		verdict: policy.Failure,
		timeout: time.Second,
	},
	"half-closed": {
		server: func(ctx context.Context) error { return nil },
		client: func(t *testing.T, kind string, stream receiver, _ context.CancelFunc) {
			require.NoError(t, stream.CloseSend())
			require.NoError(t, stream.CloseSend())
			require.NoError(t, readToTheEnd(kind, stream))
		},
		verdict: policy.Success,
	},
	"abandoned and then cancelled": {
		server:  func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		client:  func(_ *testing.T, _ string, _ receiver, cancel context.CancelFunc) { cancel() },
		verdict: policy.Neutral,
	},
}

func TestG1_UG5_EveryStreamIsSettledOnce(t *testing.T) {
	t.Parallel()
	for kind, open := range kinds {
		for name, end := range endings {
			for _, tcp := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/tcp %v", kind, name, tcp), func(t *testing.T) {
					t.Parallel()
					seen := &witness{}
					slots := bulkhead.New(1)
					probing := breaker.New(breaker.ConsecutiveFailures(1), breaker.OpenFor(time.Millisecond), breaker.Probes(1))
					b := start(t, behaving(end.server), setting{tcp: tcp, source: resilience.Compose(quick(1), probing, slots, seen)})
					probing.Trip()
					require.Eventually(t, func() bool { return probing.Ready(t.Context()) == nil }, 10*time.Second, time.Millisecond, "half-open")

					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
					if end.timeout > 0 {
						cancel()
						ctx, cancel = context.WithTimeout(t.Context(), end.timeout)
					}
					defer cancel()
					var call policygrpc.Call
					stream, err := open(ctx, b, policygrpc.Info(&call))
					require.NoError(t, err)
					if kind == "server" {
						_, err = stream.Header()
						require.NoError(t, err)
					}
					if name != "EOF" && name != "half-closed" && name != "error" {
						require.Equal(t, 1, slots.Snapshot().InFlight, "the slot is held")
						require.Zero(t, len(seen.seen()))
					}
					end.client(t, kind, stream, cancel)
					if name != "deadline without Recv" && name != "abandoned and then cancelled" {
						require.Equal(t, 1, call.Attempts, "told before RecvMsg returns")
					}
					require.Equal(t, end.verdict, seen.only(t).Verdict(nil), "%v", seen.seen())
					require.Eventually(t, func() bool { return slots.Snapshot().InFlight == 0 }, 10*time.Second, time.Millisecond, "the slot is back")

					// The probe is back: the next call is let through.
					b.unary = answers()
					require.Eventually(t, func() bool {
						_, err := b.call(t.Context())
						return err == nil
					}, 10*time.Second, time.Millisecond)
				})
			}
		}
	}
}

func TestG1_ANewStreamThatFails(t *testing.T) {
	for kind, open := range kinds {
		t.Run(kind, func(t *testing.T) {
			seen := &witness{}
			b := start(t, &service{}, setting{tcp: true, source: resilience.Compose(quick(3), seen)})
			b.server.Stop()
			stream, err := open(within(t), b)
			require.Nil(t, stream)
			require.Equal(t, codes.Unavailable, status.Code(err))
			require.Len(t, seen.seen(), 3)
			for _, outcome := range seen.seen() {
				require.Equal(t, policy.Transient, outcome.Class)
			}
		})
	}
}

// fakeStream is the stream of an interceptor that answers itself.
type fakeStream struct {
	grpc.ClientStream
	ctx  context.Context
	recv func() error
}

func (f *fakeStream) Header() (metadata.MD, error) { return metadata.MD{"fake": nil}, nil }
func (f *fakeStream) Trailer() metadata.MD         { return nil }
func (f *fakeStream) CloseSend() error             { return nil }
func (f *fakeStream) Context() context.Context     { return f.ctx }
func (f *fakeStream) SendMsg(any) error            { return nil }
func (f *fakeStream) RecvMsg(any) error            { return f.recv() }

// chained returns the streams that come from the interceptors ours and inner, without any connection.
func chained(ours grpc.StreamClientInterceptor, inner grpc.Streamer) func(ctx context.Context, desc *grpc.StreamDesc) (grpc.ClientStream, error) {
	return func(ctx context.Context, desc *grpc.StreamDesc) (grpc.ClientStream, error) {
		return ours(ctx, desc, nil, outputMethod, inner)
	}
}

func TestG1_AnInterceptorFurtherInThatNeverCallsTheStreamer(t *testing.T) {
	descs := map[string]*grpc.StreamDesc{"server": {ServerStreams: true}, "client": {ClientStreams: true}, "bidirectional": {ServerStreams: true, ClientStreams: true}}
	send := func(stream grpc.ClientStream, err error) (grpc.ClientStream, error) {
		if err != nil {
			return nil, err
		}
		return stream, stream.SendMsg(&testgrpc.StreamingOutputCallRequest{})
	}
	for kind, desc := range descs {
		for name, test := range map[string]struct {
			inner   func(ctx context.Context) (grpc.ClientStream, error)
			verdict policy.Verdict
			kind    policy.Kind
			use     func(t *testing.T, stream grpc.ClientStream, err error, cancel context.CancelFunc)
		}{
			"returns an error": {
				inner:   func(context.Context) (grpc.ClientStream, error) { return nil, errInternal },
				verdict: policy.Failure, kind: policy.Returned,
				use: func(t *testing.T, _ grpc.ClientStream, err error, _ context.CancelFunc) {
					require.Equal(t, errInternal, err)
				},
			},
			"returns nothing": {
				inner:   func(context.Context) (grpc.ClientStream, error) { return nil, nil },
				verdict: policy.Failure, kind: policy.Returned,
				use: func(t *testing.T, _ grpc.ClientStream, err error, _ context.CancelFunc) {
					require.Equal(t, codes.Internal, status.Code(err))
				},
			},
			"answers itself": {
				inner: func(ctx context.Context) (grpc.ClientStream, error) {
					return &fakeStream{ctx: ctx, recv: func() error { return io.EOF }}, nil
				},
				verdict: policy.Success, kind: policy.Returned,
				use: func(t *testing.T, stream grpc.ClientStream, err error, _ context.CancelFunc) {
					require.NoError(t, err)
					require.Equal(t, io.EOF, stream.RecvMsg(nil))
				},
			},
			"fails later": {
				inner: func(ctx context.Context) (grpc.ClientStream, error) {
					return &fakeStream{ctx: ctx, recv: func() error { return errInternal }}, nil
				},
				verdict: policy.Failure, kind: policy.Returned,
				use: func(t *testing.T, stream grpc.ClientStream, err error, _ context.CancelFunc) {
					require.NoError(t, err)
					require.Equal(t, errInternal, stream.RecvMsg(nil))
				},
			},
			"is cancelled": {
				inner: func(ctx context.Context) (grpc.ClientStream, error) {
					return &fakeStream{ctx: ctx, recv: func() error { return nil }}, nil
				},
				verdict: policy.Neutral, kind: policy.Returned,
				use: func(t *testing.T, stream grpc.ClientStream, err error, cancel context.CancelFunc) {
					require.NoError(t, err)
					_, err = stream.Header()
					require.NoError(t, err)
					cancel()
				},
			},
			"panics at once": {
				inner:   func(context.Context) (grpc.ClientStream, error) { panic("at once") },
				verdict: policy.Failure, kind: policy.Panicked,
			},
			"panics later": {
				inner: func(ctx context.Context) (grpc.ClientStream, error) {
					return &fakeStream{ctx: ctx, recv: func() error { panic("later") }}, nil
				},
				verdict: policy.Failure, kind: policy.Panicked,
				use: func(t *testing.T, stream grpc.ClientStream, err error, _ context.CancelFunc) {
					require.NoError(t, err)
					require.PanicsWithValue(t, "later", func() { _ = stream.RecvMsg(nil) })
				},
			},
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				seen := &witness{}
				ours := policygrpc.StreamClient(resilience.Compose(quick(1), seen))
				open := chained(ours, func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
					return test.inner(ctx)
				})
				ctx, cancel := context.WithCancel(within(t))
				defer cancel()
				if test.use == nil {
					require.PanicsWithValue(t, "at once", func() { _, _ = send(open(ctx, desc)) })
				} else {
					stream, err := send(open(ctx, desc))
					test.use(t, stream, err, cancel)
				}
				outcome := seen.only(t)
				require.Equal(t, test.kind, outcome.Kind)
				require.Equal(t, test.verdict, outcome.Verdict(nil))
			})
		}
	}
}

func TestG2_AStreamThatIsDroppedKeepsItsSlotUntilItsContextEnds(t *testing.T) {
	slots := bulkhead.New(1)
	b := start(t, behaving(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }), setting{source: resilience.Compose(slots)})
	ctx, cancel := context.WithCancel(within(t))
	for range 1 {
		_, err := b.client.FullDuplexCall(ctx) // and nobody keeps it
		require.NoError(t, err)
	}
	_, err := b.client.FullDuplexCall(ctx)
	require.ErrorIs(t, err, bulkhead.ErrFull)
	cancel()
	require.Eventually(t, func() bool { return slots.Snapshot().InFlight == 0 }, 10*time.Second, time.Millisecond)
}

func TestG9_UG5_Fault208_AServerStreamIsTriedAgainBeforeTheFirstMessageOnly(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		for name, test := range map[string]struct {
			server   func(number int, stream testgrpc.TestService_StreamingOutputCallServer) error
			attempts int
			texts    []string
			code     codes.Code
			seen     []policy.Verdict
		}{
			"fails before": {
				func(number int, stream testgrpc.TestService_StreamingOutputCallServer) error {
					if number < 3 {
						return errUnavailable
					}
					return outputs(stream, "a", "b")
				}, 3, []string{"a", "b"}, codes.OK, []policy.Verdict{policy.Failure, policy.Failure, policy.Success},
			},
			"fails after": {
				func(_ int, stream testgrpc.TestService_StreamingOutputCallServer) error {
					_ = outputs(stream, "a")
					return errUnavailable
				}, 1, []string{"a"}, codes.Unavailable, []policy.Verdict{policy.Failure},
			},
			"fails after the headers": {
				func(_ int, stream testgrpc.TestService_StreamingOutputCallServer) error {
					_ = stream.SendHeader(metadata.Pairs("seen", "yes"))
					return errUnavailable
				}, 1, nil, codes.Unavailable, []policy.Verdict{policy.Failure},
			},
			"is empty": {
				func(int, testgrpc.TestService_StreamingOutputCallServer) error { return nil },
				1, nil, codes.OK, []policy.Verdict{policy.Success},
			},
			"fails for good": {
				func(int, testgrpc.TestService_StreamingOutputCallServer) error { return errUnavailable },
				3, nil, codes.Unavailable, []policy.Verdict{policy.Failure, policy.Failure, policy.Failure},
			},
			"is not to be tried again": {
				func(int, testgrpc.TestService_StreamingOutputCallServer) error {
					return status.Error(codes.NotFound, "no")
				},
				1, nil, codes.NotFound, []policy.Verdict{policy.Success},
			},
		} {
			t.Run(fmt.Sprintf("%s tcp %v", name, tcp), func(t *testing.T) {
				seen := &witness{}
				var texts []string
				s := &service{output: func(number int, in *testgrpc.StreamingOutputCallRequest, stream testgrpc.TestService_StreamingOutputCallServer) error {
					if string(in.GetPayload().GetBody()) != "request" {
						return errInternal
					}
					return test.server(number, stream)
				}}
				b := start(t, s, setting{tcp: tcp, source: resilience.Compose(quick(3), seen)})
				request := &testgrpc.StreamingOutputCallRequest{Payload: payload("request")}
				var trailer metadata.MD
				stream, err := b.client.StreamingOutputCall(within(t), request, grpc.Trailer(&trailer))
				require.NoError(t, err)
				request.Payload.Body[0] = 'X' // it is the caller's again
				for {
					var m *testgrpc.StreamingOutputCallResponse
					if m, err = stream.Recv(); err != nil {
						break
					}
					texts = append(texts, string(m.GetPayload().GetBody()))
				}
				if test.code == codes.OK {
					require.Equal(t, io.EOF, err)
				} else {
					require.Equal(t, test.code, status.Code(err))
				}
				require.Equal(t, test.texts, texts)
				require.Equal(t, test.attempts, b.count())
				require.Len(t, seen.seen(), test.attempts)
				for i, outcome := range seen.seen() {
					require.Equal(t, test.seen[i], outcome.Verdict(nil))
				}
				_, _ = stream.Header()
				_ = stream.Trailer()
				require.Equal(t, err, stream.RecvMsg(&testgrpc.StreamingOutputCallResponse{}), "again")
			})
		}
	}
}

func TestFault208_WhatIsKeptForAnotherAttemptIsBounded(t *testing.T) {
	for name, test := range map[string]struct {
		size, attempts int
		opts           []grpc.CallOption
	}{
		"small":             {1000, 3, nil},
		"at the limit":      {256<<10 - 100, 3, nil},
		"beyond the limit":  {256 << 10, 1, nil},
		"another limit":     {1000, 1, []grpc.CallOption{grpc.MaxRetryRPCBufferSize(100)}},
		"a higher limit":    {300 << 10, 3, []grpc.CallOption{grpc.MaxRetryRPCBufferSize(1 << 20)}},
		"bidirectional: no": {0, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := &service{output: func(int, *testgrpc.StreamingOutputCallRequest, testgrpc.TestService_StreamingOutputCallServer) error {
				return errUnavailable
			}, duplex: func(int, testgrpc.TestService_FullDuplexCallServer) error { return errUnavailable }}
			b := start(t, s, setting{source: resilience.Compose(quick(3))})
			var call policygrpc.Call
			opts := append(test.opts, policygrpc.Info(&call))
			if test.size == 0 {
				stream, err := b.client.FullDuplexCall(within(t), opts...)
				require.NoError(t, err)
				_, err = stream.Recv()
				require.Equal(t, codes.Unavailable, status.Code(err))
				require.Equal(t, 1, b.count())
				return
			}
			request := &testgrpc.StreamingOutputCallRequest{Payload: payload(strings.Repeat("x", test.size))}
			stream, err := b.client.StreamingOutputCall(within(t), request, opts...)
			require.NoError(t, err)
			_, err = stream.Recv()
			require.Equal(t, codes.Unavailable, status.Code(err))
			require.Equal(t, test.attempts, b.count())
			if test.attempts == 1 {
				require.ErrorIs(t, call.Reason, policygrpc.ErrCommitted)
			}
		})
	}
}

func TestTheTotalTimeoutEndsAStreamAndIsNamed(t *testing.T) {
	t.Parallel()
	for kind, open := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			seen := &witness{}
			b := start(t, behaving(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }),
				setting{source: resilience.Compose(timeout.Total(time.Second), seen)})
			stream, err := open(within(t), b)
			require.NoError(t, err)
			err = readToTheEnd(kind, stream)
			require.ErrorIs(t, err, timeout.ErrTimeout)
			require.Equal(t, codes.DeadlineExceeded, status.Code(err))
			require.Equal(t, policy.Transient, seen.only(t).Class)
			require.NotContains(t, err.Error(), "\n", "one line, also in a log")
		})
	}
}

func TestTheAttemptTimeoutBoundsTheOpeningAndNotTheStream(t *testing.T) {
	t.Parallel()
	s := behaving(func(context.Context) error { time.Sleep(1200 * time.Millisecond); return nil })
	b := start(t, s, setting{source: resilience.Compose(quick(2), timeout.PerAttempt(time.Second))})
	b.connect(t)
	var wg sync.WaitGroup
	for kind, open := range kinds {
		stream, err := open(within(t), b)
		require.NoError(t, err)
		wg.Go(func() { assert.NoError(t, readToTheEnd(kind, stream), "longer than an attempt") })
	}
	wg.Wait()
	s.output = func(number int, _ *testgrpc.StreamingOutputCallRequest, stream testgrpc.TestService_StreamingOutputCallServer) error {
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	var call policygrpc.Call
	stream, err := b.client.StreamingOutputCall(within(t), &testgrpc.StreamingOutputCallRequest{}, policygrpc.Info(&call))
	require.NoError(t, err)
	_, err = stream.Recv()
	require.ErrorIs(t, err, timeout.ErrTimeout)
	require.Equal(t, codes.DeadlineExceeded, status.Code(err))
	require.Equal(t, 2, call.Attempts, "no headers came: it is tried again")
}

func TestAStreamIsRefused(t *testing.T) {
	open := breaker.New()
	open.ForceOpen()
	b := start(t, &service{}, setting{source: resilience.Compose(quick(3), open)})
	for kind, opens := range kinds {
		stream, err := opens(within(t), b)
		require.Nil(t, stream, kind)
		require.ErrorIs(t, err, breaker.ErrOpen, "by the function that opens it: %s", kind)
		require.Equal(t, codes.Unavailable, status.Code(err))
	}
	require.Zero(t, b.count())
}

func TestStreamsGoPastThePipelineOrThroughAnother(t *testing.T) {
	seen := &witness{}
	b := start(t, behaving(func(context.Context) error { return nil }), setting{source: resilience.Compose(seen)})
	other := &witness{}
	for kind, open := range kinds {
		stream, err := open(within(t), b, policygrpc.Off())
		require.NoError(t, err)
		require.NoError(t, readToTheEnd(kind, stream))
		stream, err = open(within(t), b, policygrpc.With(resilience.Compose(other)))
		require.NoError(t, err)
		require.NoError(t, readToTheEnd(kind, stream))
	}
	require.Empty(t, seen.seen())
	require.Len(t, other.seen(), 3)
}

func TestOnFinishOfTheCallerIsCalledOnceForAStream(t *testing.T) {
	for kind, open := range kinds {
		var finished atomic.Int32
		count := grpc.OnFinish(func(error) { finished.Add(1) })
		s := behaving(func(context.Context) error { return nil })
		good := s.output
		s.output = func(number int, in *testgrpc.StreamingOutputCallRequest, stream testgrpc.TestService_StreamingOutputCallServer) error {
			if number < 3 {
				return errUnavailable
			}
			return good(number, in, stream)
		}
		b := start(t, s, setting{source: resilience.Compose(quick(3))})
		stream, err := open(within(t), b, count)
		require.NoError(t, err)
		require.NoError(t, readToTheEnd(kind, stream))
		require.EqualValues(t, 1, finished.Load(), kind)
	}
}

// The end of a context reaches gRPC and us at the same time. Whoever is first: gRPC writes what the caller has asked for, and
// then the caller is told.
func TestWhatGRPCWritesIsWrittenWhenAStreamIsCancelled(t *testing.T) {
	b := start(t, behaving(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }), setting{source: resilience.Compose(quick(2))})
	for kind, open := range kinds {
		for range 20 {
			ctx, cancel := context.WithCancel(within(t))
			var header, trailer metadata.MD
			var from peer.Peer
			var call policygrpc.Call
			finished := make(chan error, 10)
			stream, err := open(ctx, b, grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&from), policygrpc.Info(&call),
				grpc.OnFinish(func(err error) { finished <- err }))
			require.NoError(t, err)
			_, err = stream.Header()
			require.NoError(t, err)
			cancel() // and nobody reads
			require.Equal(t, codes.Canceled, status.Code(<-finished))
			require.NotEmpty(t, header, kind)
			require.NotNil(t, from.Addr, kind)
			require.Empty(t, trailer)
			require.Equal(t, 1, call.Attempts)
			require.Empty(t, finished)
		}
	}
}

// A stream may live long. When it is open, nobody needs its request any more.
func TestTheRequestOfAStreamThatIsOpenIsNotKept(t *testing.T) {
	ours := policygrpc.StreamClient(resilience.Compose())
	stream, err := ours(within(t), &grpc.StreamDesc{ServerStreams: true}, nil, outputMethod, func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
		return &fakeStream{ctx: ctx, recv: func() error { return io.EOF }}, nil
	})
	require.NoError(t, err)
	request := &testgrpc.StreamingOutputCallRequest{Payload: payload("large")}
	kept := weak.Make(request)
	require.NoError(t, stream.SendMsg(request))
	_, err = stream.Header()
	require.NoError(t, err)
	runtime.GC()
	require.Nil(t, kept.Value())
	require.Equal(t, io.EOF, stream.RecvMsg(nil))
}

func TestAServerStreamIsUsedWrongly(t *testing.T) {
	b := start(t, behaving(func(context.Context) error { return nil }), setting{source: resilience.Compose(quick(2))})
	desc := &grpc.StreamDesc{ServerStreams: true}
	stream, err := b.connection.NewStream(within(t), desc, outputMethod)
	require.NoError(t, err)
	require.Equal(t, codes.Internal, status.Code(stream.RecvMsg(&testgrpc.StreamingOutputCallResponse{})))
	require.Nil(t, stream.Trailer())
	require.NotNil(t, stream.Context())
	require.NoError(t, stream.SendMsg(&testgrpc.StreamingOutputCallRequest{}))
	require.Equal(t, codes.Internal, status.Code(stream.SendMsg(&testgrpc.StreamingOutputCallRequest{})))
	require.NoError(t, stream.CloseSend())
	require.NoError(t, stream.RecvMsg(&testgrpc.StreamingOutputCallResponse{}))
	require.Equal(t, io.EOF, stream.RecvMsg(&testgrpc.StreamingOutputCallResponse{}))
	require.NotNil(t, stream.Context())
}

// A reader that comes while the request is being sent is too early, or gets its answer; it sees nothing half done.
func TestTheHeadersOfAServerStreamAreAskedForWhileTheRequestIsSent(t *testing.T) {
	inner := func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
		return &fakeStream{ctx: ctx, recv: func() error { return io.EOF }}, nil
	}
	open := chained(policygrpc.StreamClient(resilience.Compose(quick(2))), inner)
	for range 500 {
		stream, err := open(within(t), &grpc.StreamDesc{ServerStreams: true})
		require.NoError(t, err)
		asked := make(chan error)
		go func() {
			_, err := stream.Header()
			asked <- err
		}()
		require.NoError(t, stream.SendMsg(&testgrpc.StreamingOutputCallRequest{}))
		if err := <-asked; err != nil {
			require.Equal(t, codes.Internal, status.Code(err))
		}
		require.Equal(t, io.EOF, stream.RecvMsg(&testgrpc.StreamingOutputCallResponse{}))
	}
}

func TestG1_TheConnectionIsClosedAndNobodyReads(t *testing.T) {
	for kind, open := range kinds {
		t.Run(kind, func(t *testing.T) {
			slots := bulkhead.New(1)
			b := start(t, behaving(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }), setting{tcp: true, source: resilience.Compose(slots)})
			stream, err := open(within(t), b)
			require.NoError(t, err)
			if kind == "server" {
				_, err = stream.Header()
				require.NoError(t, err)
			}
			require.Equal(t, 1, slots.Snapshot().InFlight)
			require.NoError(t, b.connection.Close())
			require.Eventually(t, func() bool { return slots.Snapshot().InFlight == 0 }, 10*time.Second, time.Millisecond, "gRPC says that it has ended")
		})
	}
}
