// Package policyhttp sends HTTP requests through a pipeline: retries that are safe, a breaker, limits and timeouts, in one
// line. On a server, it puts a pipeline in front of a handler.
//
//	client := &http.Client{Transport: policyhttp.NewTransport(nil, policyhttp.Standard("users"))}
//	server := &http.Server{Handler: policyhttp.Handler(mux, resilience.Compose(bulkhead.New(64)))}
//
// These are two sides, and you can use one without the other:
//
//	requests that you send      http.Client ─▶ Transport: the pipeline ─┬─▶ attempt 1 ─▶ base transport
//	                                                                    └─▶ attempt 2 ─▶ base transport
//
//	requests that you answer    http.Server ─▶ Handler: the pipeline ─▶ your handler, once
//
// [NewTransport] makes an [http.RoundTripper] from a pipeline of any policies; [Standard] is a preset, and [PerHost] keeps a
// pipeline for each host. While nothing fails, requests and responses are those of the base transport. All but the last
// section is about it.
//
// # What is tried again
//
// A request may be sent twice if its method is GET, HEAD, OPTIONS, TRACE, PUT, DELETE or QUERY, if it has an
// Idempotency-Key or X-Idempotency-Key, or if its context is marked with [Idempotent]. Any other, such as a POST, is tried
// again only if nothing of it was sent: no connection, no name, a stream that HTTP/2 refused. [RetryNotIdempotent] adds
// statuses by which a server says that it has done nothing.
//
// A body is sent again by the request's GetBody, which [http.NewRequest] sets for bodies in memory. A body without it is
// sent once, unless [Buffer] keeps it. The request given to RoundTrip is never changed, and its body closed exactly once.
//
// # What a response means
//
//	408, 500, 502, 503, 504         policy.Transient   retried; a failure
//	429, 413 with Retry-After       policy.Throttled   retried, after the wait; neutral to a breaker
//	505 and above                   policy.Permanent   not retried; a failure
//	an untrusted certificate        policy.Permanent
//	all others, 404 and 501 too     an answer
//	errors of the connection        policy.Transient
//	an invalid request, a body      policy.Ignored     the caller's own mistake: not retried, neutral
//	that cannot be read
//
// Retry-After of a failure raises the delay; a wait beyond retry.MaxRetryAfter (30 s) or the deadline ends the call at
// once. [RetryStatuses] and [ClassifyResponse] change the table.
//
// # What the caller gets
//
// When the attempts are used up, the caller gets the last response with its body open, and no error: a 503 is a 503. A
// refusal by a policy is an error that matches the policy's own, such as breaker.ErrOpen, also through the [*url.Error] of
// [http.Client]. [Info] says of both how many attempts there were, and why there was no further one.
//
// The slot of a bulkhead is held, and the context lives, until the body is closed or read to its end. An attempt timeout
// bounds the time to the headers; a total timeout bounds the body too. Responses that are superseded are closed; of their
// bodies up to 4 KiB are read, so that connections can be used again. For that, a failure that another attempt may follow is
// kept back until its body ends, for at most 50 ms.
//
// # Servers
//
// [Handler] puts a pipeline of guards in front of an [http.Handler]: what they refuse is answered with 429 or 503 and a
// Retry-After. [Key] tells clients apart, for a limit per client; [RateLimitHeaders] tells them their quota. [Readiness] is a
// handler for the readiness probe of a load balancer.
//
// docs/http.md and docs/http-server.md explain every default, and the traps.
package policyhttp

// The files say which side they belong to: those of the client begin with client_, those of the server with server_. Neither
// uses anything of the other, which a test checks. Both use option.go, and internal/field, which knows header fields.
//
//	client  how it is made          transport, option, standard, perhost, pause
//	        the way of a request    call, attempt, route, deadline, succession
//	        what an attempt meant   class, invalid, notsent, repetition; error
//	        bodies that are sent    bodies, requestbody, bodyrecorder
//	        bodies that come back   responsebody, prefetch
//	        how it went             info
//
//	server  how it is made          handler, option
//	        the way of a request    exchange, key, deadline, responsewriter
//	        what it is answered     answer by the handler, refusal in place of it; ratelimitheader for both
//	        a page of its own       readiness
