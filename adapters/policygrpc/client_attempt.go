package policygrpc

import (
	"context"
	"slices"
	"strconv"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/go-resilience/resilience/policy"
)

// attempt is one attempt of a call. This is its life:
//
//	setOptions  gives it options with which gRPC writes to it, and not to the caller
//	begin       counts it, and returns the context for the interceptors further in
//	judge       says how the policies see the error that it has ended with, or
//	succeeded   notes that it has ended without one
//	publish     writes what gRPC has written to it where the caller wants it, if this attempt decides the call
type attempt struct {
	call        *call
	opts        []grpc.CallOption
	header      metadata.MD
	trailer     metadata.MD
	peer        peer.Peer   // whose address is nil if gRPC has found no connection
	endedByGRPC atomic.Bool // gRPC has said so, which it is asked only where the call is not idempotent
	maybeSent   bool        // of a server stream: the request may have left
}

// reset lets the next attempt of the call use the memory and the options of this one.
func (a *attempt) reset() {
	a.header, a.trailer, a.peer = nil, nil, peer.Peer{}
	a.endedByGRPC.Store(false)
}

// setOptions gives the attempt the options of its call and ours. Options by which gRPC writes to the caller, or calls
// it, are replaced by ours: they are about the call, and this attempt may not be the last. An [Info] is left out, too:
// of two interceptors of this package, that further in must not write it. room is for the options, unless it is nil.
func (a *attempt) setOptions(room []grpc.CallOption, more ...grpc.CallOption) {
	opts := room
	if opts == nil {
		opts = make([]grpc.CallOption, 0, len(a.call.opts)+len(more)+4)
	}
	wantsHeader := a.call.route.serviceConfig != nil // noRetry looks at it
	for _, opt := range a.call.opts {
		switch opt.(type) {
		case grpc.HeaderCallOption:
			wantsHeader = true
		case grpc.TrailerCallOption, grpc.PeerCallOption, grpc.OnFinishCallOption, info:
		default:
			opts = append(opts, opt)
		}
	}
	if wantsHeader { // gRPC copies it, and so it is not asked for without need
		opts = append(opts, grpc.Header(&a.header))
	}
	opts = append(opts, grpc.Trailer(&a.trailer), grpc.Peer(&a.peer))
	if a.call.idempotency == notIdempotent {
		opts = append(opts, grpc.OnFinish(func(error) { a.endedByGRPC.Store(true) }))
	}
	a.opts = slices.Clip(append(opts, more...)) // interceptors further in may append, several at a time
}

// previousAttemptsKey says to the server how many attempts were made before; see gRPC proposal A6.
const previousAttemptsKey = "grpc-previous-rpc-attempts"

// begin begins the attempt, and returns the context that it has further in.
func (a *attempt) begin(ctx context.Context) context.Context {
	before := a.call.attemptBegins()
	if a.call.markedByOption {
		ctx = withoutOurMark{ctx, a.call.Context}
	}
	if before == 0 {
		return ctx
	}
	md, _ := metadata.FromOutgoingContext(ctx) // a copy
	if md == nil {
		md = metadata.MD{}
	}
	md.Set(previousAttemptsKey, strconv.Itoa(before))
	return metadata.NewOutgoingContext(ctx, md)
}

// succeeded notes that the attempt has succeeded.
func (a *attempt) succeeded() {
	c := a.call
	c.tellOfServiceConfigRetry()
	if c.route.serviceConfig != nil {
		c.route.serviceConfig.succeeded()
	}
}

// judge returns the error of the attempt, which has ended with err, as the policies see it.
func (a *attempt) judge(ctx context.Context, err error) error {
	c := a.call
	awaitDeadline(ctx, err)
	c.tellOfServiceConfigRetry()
	f := newFailure(err, a.trailer)
	f.notSent = a.notSent()
	f.forbidRetry(a.noRetry(f))
	if config := c.route.serviceConfig; config != nil && !policy.Canceled(ctx) {
		config.failed(f)
	}
	c.attemptFailed(f)
	return f
}

// noRetry returns why no attempt may follow a failure of this one, nil if that is up to the policies. Where they follow
// a service config, they also decide about what is throttled without a hint, and headers commit the call.
func (a *attempt) noRetry(f *failure) error {
	c := a.call
	byConfig := c.route.serviceConfig != nil
	switch {
	case f.pushback == pushbackStop:
		return ErrPushback
	case c.leavesRetryToGRPC():
		return ErrServiceConfigRetry
	case byConfig && len(a.header) > 0:
		return ErrCommitted
	case !byConfig && f.class == policy.Throttled && f.until.IsZero():
		return ErrNoHint
	case c.requestNotKept:
		return ErrCommitted
	}
	return nil
}

// notSent reports whether it is proven that nothing of the attempt has left. It is false for an idempotent call, which
// needs no proof.
func (a *attempt) notSent() bool {
	switch {
	case !a.endedByGRPC.Load(): // or an interceptor has forgotten our options, and so hides the peer
		return false
	case a.maybeSent:
		return false
	case a.peer.Addr != nil: // gRPC has found a connection for it
		return false
	case a.call.retriedByGRPC(): // the peer is that of gRPC's last attempt alone
		return false
	}
	return true
}

// publish writes what gRPC has written to the attempt where the caller wants it.
func (a *attempt) publish() {
	for _, opt := range a.call.opts {
		switch opt := opt.(type) {
		case grpc.HeaderCallOption:
			*opt.HeaderAddr = a.header
		case grpc.TrailerCallOption:
			*opt.TrailerAddr = a.trailer
		case grpc.PeerCallOption:
			*opt.PeerAddr = a.peer
		}
	}
}
