package policygrpc

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
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
	careful    bool            // it must not be made twice: another attempt needs proof that nothing was sent

	mu       sync.Mutex
	attempts int       // that were made
	running  int       // of them
	failedAt time.Time // when the last of them failed
	waits    []time.Duration
	stopped  bool          // the server has asked for no further attempt
	stopping chan struct{} // closed then; nil if nobody waits
	notUntil time.Time     // there must be no further attempt before, zero if nobody has asked to wait
	spaced   bool          // the server has not asked for that moment: it is a delay after the attempt that it had asked to wait
}

// maxWaits bounds what a call remembers.
const maxWaits = 16

func (cl *client) newCall(
	c *call, ctx context.Context, line *line, method string, connection *grpc.ClientConn, opts []grpc.CallOption, infos int,
) {
	c.Context, c.client, c.line, c.method, c.connection = ctx, cl, line, method, connection
	c.opts, c.infos = opts, infos
	if !line.repeats {
		return
	}
	marked, idempotent := idempotence.Of(ctx) // what the caller says of this very call counts more
	if !marked {
		if marked, idempotent = cl.config.mark(method); marked {
			c.mark = notRepeatable
			if idempotent {
				c.mark = repeatable
			}
		}
	}
	c.careful = marked && !idempotent
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

// outward is the context of an attempt. Of repetition it says what the caller has said, and not what our options say of the
// call: another call that an interceptor makes under it, such as for a token, is another one.
type outward struct {
	context.Context
	caller context.Context
}

func (o outward) Value(key any) any {
	if idempotence.Asks(key) {
		return o.caller.Value(key)
	}
	return o.Context.Value(key)
}

// String says what the context is. It looks at nothing that changes.
func (o outward) String() string { return fmt.Sprint(o.Context) }

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
		if f.final == ErrPushback && !c.stopped { //nolint:errorlint // it is that or nothing
			c.stopped = true
			if c.stopping != nil {
				close(c.stopping)
			}
		}
		switch {
		case f.pushback:
			c.notUntil, c.spaced = f.until, false
		case c.spaced: // what fails is followed at once
			c.notUntil, c.spaced = time.Time{}, false
		}
	}
}

// mayFollow returns the moment until which the next attempt has to wait, and what is closed if meanwhile the server asks for
// no further attempt. The moment is zero if the attempt may begin now, or must not begin at all because stopped says so. If it
// begins, and the server has asked to wait before, the one after it has to wait for delay.
func (c *call) mayFollow(delay time.Duration) (until time.Time, stopping <-chan struct{}, stopped bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped || c.notUntil.IsZero() {
		return time.Time{}, nil, c.stopped
	}
	if now := time.Now(); !now.Before(c.notUntil) {
		c.notUntil, c.spaced = now.Add(delay), true
		return time.Time{}, nil, false
	}
	if c.stopping == nil {
		c.stopping = make(chan struct{})
	}
	return c.notUntil, c.stopping, false
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
	reached atomic.Bool // gRPC has got the attempt with our options, and has ended it
	sent    bool        // it may have left
}

// previousKey says how many attempts were made before; see gRPC proposal A6.
const previousKey = "grpc-previous-rpc-attempts"

// outgoing begins the attempt, and returns its context, which says to the server how many attempts were made before.
func (a *attempt) outgoing(ctx context.Context) context.Context {
	before := a.call.begin()
	if a.call.mark != nil {
		ctx = outward{ctx, a.call.Context}
	}
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

// isolate gives the attempt options of its own: where it writes is its own, and more are added. An [Info] is ours alone: of
// two interceptors of this package, that further in must not write it at any time.
func (a *attempt) isolate(opts []grpc.CallOption, more ...grpc.CallOption) {
	a.opts = make([]grpc.CallOption, 0, len(opts)+len(more)+4)
	headers := a.call.line.strict
	for _, opt := range opts {
		switch opt.(type) {
		case grpc.HeaderCallOption:
			headers = true
		case grpc.TrailerCallOption, grpc.PeerCallOption, grpc.OnFinishCallOption, info:
		default:
			a.opts = append(a.opts, opt)
		}
	}
	if headers { // they are copied, and so not asked for without need
		a.opts = append(a.opts, grpc.Header(&a.header))
	}
	a.opts = append(a.opts, grpc.Trailer(&a.trailer), grpc.Peer(&a.peer))
	if a.call.careful {
		a.opts = append(a.opts, grpc.OnFinish(func(error) { a.reached.Store(true) }))
	}
	a.opts = slices.Clip(append(a.opts, more...)) // interceptors further in may append, several at a time
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
	// An interceptor that forgets the options hides the peer: then gRPC has not been reached, as far as we know.
	f.notSent = a.reached.Load() && !a.sent && a.peer.Addr == nil && !retriesBeneath(c.connection, c.method)
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
// clocks, and so does the server: both can know before the context does, and then nobody could tell whose deadline it was.
func awaitDeadline(ctx context.Context, err error) {
	const (
		early = 10 * time.Millisecond // by which a server may think that the deadline is here
		late  = time.Second           // by which the timer of a context may run on a busy machine
	)
	deadline, ok := ctx.Deadline()
	if !ok || ctx.Err() != nil || status.Code(err) != codes.DeadlineExceeded || time.Until(deadline) > early {
		return
	}
	timer := time.NewTimer(early + late)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
