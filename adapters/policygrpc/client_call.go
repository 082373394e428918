package policygrpc

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc"

	"github.com/go-resilience/resilience/internal/callinfo"
	"github.com/go-resilience/resilience/internal/idempotence"
)

// call is one call of a client on its way through the pipeline, a unaryCall or a streamCall. It is the context of the
// call, too, and the operation finds it there: that spares an allocation for each.
type call struct {
	context.Context // the caller's
	client          *client
	route           *route
	method          string
	connection      *grpc.ClientConn
	opts            []grpc.CallOption // the caller's
	idempotency     idempotency
	markedByOption  bool // idempotency is what our options say, and the caller has said nothing
	requestNotKept  bool // there can be one attempt only
	followUps       followUps

	mu       sync.Mutex
	attempts int // that were begun
	running  int // of them: those that have not failed
	waits    callinfo.Waits
}

type callKey struct{}

// callOf returns the call that ctx belongs to, nil if there is none.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// Value returns the call itself to this package, and what our options say of it to package idempotence.
func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	if c.markedByOption && idempotence.Asks(key) {
		if c.idempotency == idempotent {
			return idempotence.AtOnce
		}
		return idempotence.No
	}
	return c.Context.Value(key)
}

// String says what the context is. It looks at nothing that changes.
func (c *call) String() string { return fmt.Sprintf("%v.Invoke(%s)", c.Context, c.method) }

// attemptBegins notes that an attempt begins, and returns how many were begun before.
func (c *call) attemptBegins() (before int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.attempts > 0 && c.running == 0 {
		c.waits.End()
	}
	c.attempts++
	c.running++
	return c.attempts - 1
}

// attemptFailed notes that an attempt has failed.
func (c *call) attemptFailed(f *failure) {
	c.mu.Lock()
	c.running--
	c.waits.Begin()
	c.mu.Unlock()
	c.followUps.failed(f)
}

// What is remembered is bounded: where calls are passed on, others choose the names of methods.
const (
	maxToldMethods = 1000
	maxToldLength  = 256
)

// leavesRetryToGRPC reports whether our retry stands back because gRPC itself retries the method; see
// [RefuseServiceConfigRetry]. It is asked when an attempt has ended: before the first one, the connection may not have
// its service config yet.
func (c *call) leavesRetryToGRPC() bool { return c.client.refuseConfigRetry && c.retriedByGRPC() }

// tellOfServiceConfigRetry tells the user once for each method that our retry leaves it to gRPC. It is called at the end
// of each attempt, also of one that has succeeded.
func (c *call) tellOfServiceConfigRetry() {
	cl := c.client
	if cl.tellConfigRetry == nil || len(c.method) > maxToldLength || !c.leavesRetryToGRPC() {
		return
	}
	if cl.told.first(c.method, maxToldMethods) {
		cl.tellConfigRetry(fmt.Errorf("%s: %w", c.method, ErrServiceConfigRetry))
	}
}

// retriedByGRPC reports whether the service config of the connection retries the method: then one attempt of ours is
// several.
func (c *call) retriedByGRPC() bool {
	//nolint:staticcheck // there is no other way to know
	return c.connection != nil && c.connection.GetMethodConfig(c.method).RetryPolicy != nil
}

// end says to the caller how a call has ended whose pipeline has returned err, and returns the error that the caller
// gets.
func (c *call) end(err error) error {
	c.fillInfos(err)
	err = forCaller(err)
	c.callOnFinish(err)
	return err
}

// fillInfos fills in the Infos of a call that has ended with err.
func (c *call) fillInfos(err error) {
	for _, opt := range c.opts {
		if opt, ok := opt.(info); ok && opt.call != nil {
			reason := reasonOf(err) // not under the mutex: it asks methods of the error
			c.mu.Lock()
			*opt.call = Call{Attempts: c.attempts, Waits: c.waits.Last(), Reason: reason, Err: err}
			c.mu.Unlock()
		}
	}
}

// callOnFinish calls the functions that the caller has given to grpc.OnFinish.
func (c *call) callOnFinish(err error) {
	for _, opt := range c.opts {
		if opt, ok := opt.(grpc.OnFinishCallOption); ok && opt.OnFinish != nil {
			opt.OnFinish(err)
		}
	}
}
