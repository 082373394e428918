package policygrpc

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// awaitDeadline waits until ctx ends if err says that its deadline is here. gRPC compares clocks, and so does the
// server: both can know before the context does, and then nobody could tell whose deadline it was.
func awaitDeadline(ctx context.Context, err error) {
	const (
		serverAhead = 10 * time.Millisecond // how much earlier a server may think that the deadline is here
		timerBehind = time.Second           // how much later the timer of a context may run on a busy machine
	)
	deadline, ok := ctx.Deadline()
	if !ok || ctx.Err() != nil || status.Code(err) != codes.DeadlineExceeded || time.Until(deadline) > serverAhead {
		return
	}
	timer := time.NewTimer(serverAhead + timerBehind)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
