package policygrpc

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience/internal/idempotence"
	"github.com/go-resilience/resilience/policy"
)

// call is one call on its way through the pipeline. It is the context of the call, too, and the operation finds it there:
// that spares an allocation for each.
type call struct {
	context.Context
	client     *client
	line       *line
	method     string
	connection *grpc.ClientConn
	opts       []grpc.CallOption // the caller's
	infos      int
	mark       context.Context // answers whether the call may be made twice; nil if no option says so

	mu       sync.Mutex
	attempts int       // that were made
	running  int       // of them
	failedAt time.Time // when the last of them failed
	waits    []time.Duration
	stopped  bool      // the server has asked for no further attempt
	notUntil time.Time // the server has asked for no further attempt before
}

// maxWaits bounds what a call remembers.
const maxWaits = 16

func (cl *client) newCall(
	c *call, ctx context.Context, line *line, method string, connection *grpc.ClientConn, opts []grpc.CallOption, infos int,
) {
	c.Context, c.client, c.line, c.method, c.connection = ctx, cl, line, method, connection
	c.opts, c.infos = opts, infos
	if marked, idempotent := cl.config.mark(method); marked {
		c.mark = notRepeatable
		if idempotent {
			c.mark = repeatable
		}
		if marked, _ := idempotence.Of(ctx); marked { // what the caller says of this very call counts more
			c.mark = nil
		}
	}
}

// The marks of package idempotence, as contexts that can be asked.
var (
	repeatable    = idempotence.Mark(context.Background(), true)
	notRepeatable = idempotence.Mark(context.Background(), false)
)

type callKey struct{}

// callOf returns the call that ctx belongs to, nil if there is none.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// Value returns the call itself to this package, and whether it may be repeated to package idempotence.
func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	if c.mark != nil {
		if value := c.mark.Value(key); value != nil {
			return value
		}
	}
	return c.Context.Value(key)
}

// String says what the context is. It looks at nothing that changes.
func (c *call) String() string { return fmt.Sprintf("%v.Invoke(%s)", c.Context, c.method) }

// begin notes that an attempt begins, and returns how many were made before.
func (c *call) begin() (before int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.attempts > 0 && c.running == 0 {
		if len(c.waits) == maxWaits {
			c.waits = slices.Delete(c.waits, 0, 1)
		}
		c.waits = append(c.waits, time.Since(c.failedAt))
	}
	c.attempts++
	c.running++
	return c.attempts - 1
}

// failed notes that an attempt has failed.
func (c *call) failed(f *failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	c.failedAt = time.Now()
	if f != nil {
		c.stopped = c.stopped || f.final == ErrPushback //nolint:errorlint // it is that or nothing
		if f.pushback {
			c.notUntil = f.until
		}
	}
}

// pushedBack returns what the server has asked for.
func (c *call) pushedBack() (stopped bool, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped, c.notUntil
}

// tell fills in the Infos of a call that has ended with err.
func (c *call) tell(err error) {
	if c.infos == 0 {
		return
	}
	c.mu.Lock()
	told := Call{Attempts: c.attempts, Waits: slices.Clone(c.waits), Reason: reasonOf(err), Err: err}
	c.mu.Unlock()
	for _, opt := range c.opts {
		if opt, ok := opt.(info); ok && opt.call != nil {
			*opt.call = told
		}
	}
}

// attempt is one attempt of a call.
type attempt struct {
	call    *call
	opts    []grpc.CallOption
	header  metadata.MD
	trailer metadata.MD
	peer    peer.Peer
}

// previousKey says how many attempts were made before; see gRPC proposal A6.
const previousKey = "grpc-previous-rpc-attempts"

// outgoing begins the attempt, and returns its context, which says to the server how many attempts were made before.
func (a *attempt) outgoing(ctx context.Context) context.Context {
	before := a.call.begin()
	if before == 0 {
		return ctx
	}
	md, _ := metadata.FromOutgoingContext(ctx) // a copy
	if md == nil {
		md = metadata.MD{}
	}
	md.Set(previousKey, strconv.Itoa(before))
	return metadata.NewOutgoingContext(ctx, md)
}

// isolate gives the attempt options of its own: where it writes is its own, and more are added.
func (a *attempt) isolate(opts []grpc.CallOption, more ...grpc.CallOption) {
	a.opts = make([]grpc.CallOption, 0, len(opts)+len(more)+3)
	headers := a.call.line.strict
	for _, opt := range opts {
		switch opt.(type) {
		case grpc.HeaderCallOption:
			headers = true
		case grpc.TrailerCallOption, grpc.PeerCallOption, grpc.OnFinishCallOption:
		default:
			a.opts = append(a.opts, opt)
		}
	}
	if headers { // they are copied, and so not asked for without need
		a.opts = append(a.opts, grpc.Header(&a.header))
	}
	a.opts = append(a.opts, grpc.Trailer(&a.trailer), grpc.Peer(&a.peer))
	a.opts = append(a.opts, more...)
}

// publish writes what the attempt was given to where the caller wants it.
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

// finished calls the functions given to grpc.OnFinish.
func (c *call) finished(err error) {
	for _, opt := range c.opts {
		if opt, ok := opt.(grpc.OnFinishCallOption); ok && opt.OnFinish != nil {
			opt.OnFinish(err)
		}
	}
}

// succeeded notes that the attempt has succeeded.
func (a *attempt) succeeded() {
	c := a.call
	c.client.beneath(c)
	if l := c.line; l.throttle != nil && l.nonFatal != nil {
		l.throttle.Succeeded()
	}
}

// failed returns the error of the attempt, which has ended with err, as the policies judge it.
func (a *attempt) failed(ctx context.Context, err error) error {
	c, l := a.call, a.call.line
	awaitDeadline(ctx, err)
	f := newFailure(err, a.trailer)
	beneath := c.client.beneath(c)
	f.notSent = a.peer.Addr == nil && c.connection != nil && !retriesBeneath(c.connection, c.method)
	switch {
	case f.final != nil:
	case beneath:
		f.finally(ErrServiceConfigRetry)
	case l.strict && len(a.header) > 0:
		f.finally(ErrCommitted)
	case !l.strict && f.class == policy.Throttled && f.until.IsZero():
		f.finally(ErrNoHint)
	}
	if l.throttle != nil && !policy.Canceled(ctx) {
		// A Retrier tells its budget of what it may retry, and of nothing else.
		if f.final == ErrPushback || l.nonFatal != nil && l.nonFatal[f.status.Code()] { //nolint:errorlint // see failed
			l.throttle.Failed()
		}
	}
	c.failed(f)
	return f
}

// awaitDeadline waits for the context of an attempt to end that has failed because its deadline is here. gRPC compares
// clocks, and so does the server: both can know a little before the context does, and then nobody could tell whose deadline
// it was.
func awaitDeadline(ctx context.Context, err error) {
	const early = 10 * time.Millisecond
	deadline, ok := ctx.Deadline()
	if !ok || ctx.Err() != nil || status.Code(err) != codes.DeadlineExceeded || time.Until(deadline) > early {
		return
	}
	timer := time.NewTimer(2 * early)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
