package policygrpc

import (
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// A server says when to come back in two places, and this package reads and writes both: in the trailer of gRPC
// proposal A6, which is an order, and in a RetryInfo among the details of the status, which is a hint.

// pushbackKey is the trailer.
const pushbackKey = "grpc-retry-pushback-ms"

// defaultLongestWait bounds the wait in the status of a refusal. A server can be given another bound.
const defaultLongestWait = 30 * time.Second

// pushback is what a server orders in the trailer.
type pushback uint8

const (
	noPushback   pushback = iota
	pushbackWait          // come back after exactly the wait
	pushbackStop          // do not come back
)

// parsePushback reads a trailer as gRPC proposal A6 says: one signed number of 32 bits, which must not be negative.
func parsePushback(trailer metadata.MD) (pushback, time.Duration) {
	values := trailer[pushbackKey]
	if len(values) == 0 {
		return noPushback, 0
	}
	ms, err := strconv.ParseInt(values[0], 10, 32)
	if len(values) > 1 || err != nil || ms < 0 {
		return pushbackStop, 0
	}
	return pushbackWait, time.Duration(ms) * time.Millisecond
}

// waitTrailer says to come back after a wait, in whole milliseconds.
func waitTrailer(wait time.Duration) metadata.MD {
	ms := int64((wait + time.Millisecond - 1) / time.Millisecond)
	return metadata.Pairs(pushbackKey, strconv.FormatInt(ms, 10))
}

// stopTrailer says not to come back.
func stopTrailer() metadata.MD { return metadata.Pairs(pushbackKey, "-1") }

// retryInfo returns how long the server asks to wait in the details of a status, and false if it does not ask.
func retryInfo(s *status.Status) (wait time.Duration, ok bool) {
	if len(s.Proto().GetDetails()) == 0 {
		return 0, false
	}
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return max(0, info.GetRetryDelay().AsDuration()), true
		}
	}
	return 0, false
}

// withRetryInfo returns s with a RetryInfo.
func withRetryInfo(s *status.Status, wait time.Duration) *status.Status {
	detailed, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
	if err != nil { // of a status that is OK, or a message that cannot be marshalled: neither can be
		return s
	}
	return detailed
}
