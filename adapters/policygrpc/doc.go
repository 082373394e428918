// Package policygrpc sends gRPC calls through a pipeline: retries that honour what the server asks for, a breaker,
// limits and timeouts, for unary calls and streams, on clients and servers.
//
//	connection, err := grpc.NewClient(target,
//		grpc.WithDisableRetry(), // leaves retries to the pipeline
//		grpc.WithChainUnaryInterceptor(policygrpc.UnaryClient(backend)),
//		grpc.WithChainStreamInterceptor(policygrpc.StreamClient(backend)),
//	)
//
// [UnaryClient] and [StreamClient] take a pipeline of any policies, one for each method or service ([PerMethod],
// [PerService]), or those that a service config describes ([FromServiceConfig]). [UnaryServer] and [StreamServer] take a
// pipeline of guards. For a single call, [Off] goes past the pipeline, [With] takes another one, and [Info] says how the
// call went.
//
// # What a status means
//
//	UNAVAILABLE                                  policy.Transient   retried; a failure
//	an attempt timeout of the pipeline           policy.Transient   retried; a failure
//	RESOURCE_EXHAUSTED                           policy.Throttled   retried if the server says when; neutral to a breaker
//	INTERNAL, UNKNOWN, DATA_LOSS                 policy.Permanent   not retried; a failure
//	any other DEADLINE_EXCEEDED                  policy.Permanent
//	CANCELLED                                    policy.Ignored     not retried; neutral
//	OK, and the other nine                       an answer          not retried; a success
//
// resilience.Classify can judge otherwise: the code of the error that it gets is status.Code(err). [Classify] applies
// the table to calls without these interceptors.
//
// # What the server asks for
//
// The trailer grpc-retry-pushback-ms is honoured as gRPC proposal A6 demands: the wait is exactly that long, and
// backoff begins anew. A value that is negative, or is not a single number, ends the call. A RetryInfo among the
// details of the status raises the delay. A wait beyond retry.MaxRetryAfter (30 s), or for which the deadline leaves no
// time, ends the call at once. Each attempt tells the server in grpc-previous-rpc-attempts how many attempts came
// before it.
//
// # What the caller gets
//
// If no policy intervened, the error is the server's own. Otherwise it is an [*Error]: to gRPC it is a status, on the
// wire too, and it matches the errors of the policies, such as breaker.ErrOpen. See [Status] for the codes.
//
// # The way of a call
//
//	caller ─▶ outer interceptors ─▶ ours: the pipeline ─┬─▶ attempt 1 ─▶ inner interceptors ─▶ gRPC
//	                                                    └─▶ attempt 2 ─▶ inner interceptors ─▶ gRPC
//
//	              the pipeline admits   the operation is                         the slot is held until
//	UnaryClient   the call              one attempt                              the attempt returns
//	StreamClient
//	  server      SendMsg               request sent, until the headers come     RecvMsg returns an error or io.EOF,
//	  others      the call              opening the stream                       or the context ends
//	UnaryServer   the call              the handler, once                        the handler returns
//	StreamServer  the stream            the handler, once                        the handler returns
//
// A stream is settled once, however it ends. docs/grpc.md explains every default, the traps, and the way from a service
// config or another library.
package policygrpc

// How the code does that, from top to bottom:
//
//	                  unary client             server stream of a client  other streams of a client  server
//	interceptor       client.unary             client.stream              client.stream              unary, stream
//	its pipeline      client.routeOf           client.routeOf             client.routeOf             pipelineFor
//	runs in           unaryCall.inTurn, race   streamCall.runPipeline     streamCall.runPipeline     the interceptor
//	  an attempt      unaryCall.invoke         singleRequestStream        streamAttempt.openStream   the handler
//	                                           .exchange
//	    succeeds      attempt.succeeded        attempt.succeeded          attempt.succeeded
//	    fails         attempt.judge            attempt.judge              attempt.judge              judgeHandler
//	refused, failed   call.end                 call.end                   call.end                   answer
//	succeeded         call.end                 streamAttempt.deliver, and finish at the end of the stream
//
// The files of the client begin with client, those of the server with server; neither side uses the other, and both use
// the rest.
//
// A call is one use of the pipeline; its attempts are what reaches gRPC. A failure is the end of an attempt, or of a
// handler, as the policies see it; an Error is what the caller sees of the policies.
//
// Whether a failed attempt is followed by another one, the first line that applies says:
//
//	the server orders not to come back                          attempt.noRetry: ErrPushback
//	gRPC itself retries the method (RefuseServiceConfigRetry)   attempt.noRetry: ErrServiceConfigRetry
//	the headers have come, and a ServiceConfig rules            attempt.noRetry: ErrCommitted
//	throttled without a hint, and no ServiceConfig rules        attempt.noRetry: ErrNoHint
//	the request was too large to be kept                        attempt.noRetry: ErrCommitted
//	a retry of a ServiceConfig: the code                        retryPolicyJSON.layers, by retry.If
//	a hedge of a ServiceConfig: the code                        hedgeClass
//	any other retry or hedge: the class, and, if the call is
//	not idempotent, whether the request has left                Classify, attempt.notSent
//
// How long to wait first, a retry finds in the failure, and a hedge of a ServiceConfig in followUps.
