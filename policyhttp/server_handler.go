package policyhttp

import (
	"net/http"
	"sync/atomic"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/internal/sources"
	"github.com/go-resilience/resilience/policy"
)

// Handler returns next behind a pipeline of guards, which decide whether a request is handled at all:
//
//	front := resilience.Compose(
//		resilience.Name("front"),
//		ratelimit.NewPerKey(10, 20, policyhttp.Key),                // 10 requests per second and client: 429
//		bulkhead.New(64, bulkhead.Queue(64, 100*time.Millisecond)), // 64 requests at a time: 503
//	)
//	http.ListenAndServe(":8080", policyhttp.Handler(mux, front))
//
// A request that is refused is answered without entering next: with 429 if a rate limit refused it, with 503 for every
// other reason, and with a Retry-After of whole seconds unless no waiting helps: a breaker was opened by hand, a call costs
// more than the limit ever grants. [RefuseWith] and [ProblemDetails] change the answer. Its body
// is not read. When the client has left while its request was queued, there is no body and the status is 499,
// which only an access log around the handler sees.
//
// The pipeline judges next by its answer. 500 and above are failures: 501 alone is [policy.Expected], 505 and above
// are [policy.Permanent], the others [policy.Transient]. 429 is [policy.Throttled]. The other statuses from 400 to 499 are
// [policy.Expected]: they are mistakes of the client, who must not be able to open a breaker with them. A panic is a
// failure and reaches the server. So does [http.ErrAbortHandler], which is neutral if the client has left. A
// connection that was hijacked is a success when next returns without a panic. resilience.Classify can judge otherwise;
// the error's method StatusCode() int returns the status.
//
// next runs once, on the goroutine of the server, until it returns, and keeps its slot until then. The context of its
// request is the pipeline's: it ends with the request, or when a timeout of the pipeline expires. When it has ended by
// a timeout and next returns without having begun its answer, the answer is 503 and next's header fields are dropped.
//
// source is a [*resilience.Pipeline] or something that replaces its pipeline while it runs. A pipeline with a repeater or
// a wrapper (a retry, a hedge) is refused, since a handler must not run twice; a handler can use such a pipeline for
// calls of its own. If source comes to such a pipeline later, the last good one stays in force; see [OnConfigError].
//
// Handler panics with a [*policy.ConfigError] that lists every problem; see [ValidateHandler]. The handler is safe for
// concurrent use, as next must be.
func Handler(next http.Handler, source resilience.Source, options ...HandlerOption) http.Handler {
	h, err := newHandler(next, source, options)
	if err != nil {
		panic(err)
	}
	return h
}

// ValidateHandler returns the [*policy.ConfigError] that [Handler] would panic with, or nil.
func ValidateHandler(next http.Handler, source resilience.Source, options ...HandlerOption) error {
	_, err := newHandler(next, source, options)
	return err
}

// handler is what Handler makes.
type handler struct {
	handlerConfig
	next   http.Handler
	source resilience.Source
	last   atomic.Pointer[guardPipeline]       // the last pipeline that could be used
	unfit  atomic.Pointer[resilience.Pipeline] // the last one that could not
}

func newHandler(next http.Handler, source resilience.Source, options []HandlerOption) (*handler, error) {
	h := &handler{handlerConfig: configureHandler(options), next: next, source: source}
	problems := &h.problems
	h.unfit.Store(&resilience.Pipeline{}) // none that a source has; it may come to nil, which is then news
	if f, ok := next.(http.HandlerFunc); option.IsNil(next) || ok && f == nil {
		problems.Add("the handler is nil")
	}
	if sources.IsNil(source) {
		problems.Add("the pipeline is nil")
	} else {
		h.last.Store(newGuardPipeline(source, source.Current(), problems))
	}
	return h, problems.Err()
}

// guardPipeline is a pipeline of guards, which can stand in front of a handler, and what is known about it.
type guardPipeline struct {
	*resilience.Pipeline
	quotas []quotaSource
}

// newGuardPipeline checks that pipeline, the current one of source, can stand in front of a handler. If not, it returns nil, and
// what is wrong is added to problems.
func newGuardPipeline(source resilience.Source, pipeline *resilience.Pipeline, problems *policy.ConfigError) *guardPipeline {
	if !sources.CheckGuards(source, pipeline, problems) {
		return nil
	}
	return &guardPipeline{pipeline, quotaSources(sources.Bare(pipeline.Layers()))}
}

// current returns the pipeline in force: that of the source, or the last one that could be used.
func (h *handler) current() *guardPipeline {
	last, pipeline := h.last.Load(), h.source.Current()
	if pipeline == last.Pipeline || pipeline == h.unfit.Load() {
		return last
	}
	problems := policy.ConfigError{Policy: handlerName}
	if next := newGuardPipeline(h.source, pipeline, &problems); next != nil {
		h.last.Store(next)
		return next
	}
	if h.unfit.Swap(pipeline) != pipeline && h.onConfigError != nil {
		h.onConfigError(problems.Err())
	}
	return last
}

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := &exchange{
		handler:  h,
		pipeline: h.current(),
		request:  r,
		writer:   responseWriter{ResponseWriter: w},
		context:  requestContext{Context: r.Context(), request: r, keyBy: h.keyBy},
	}
	ctx, limited, end := h.withDeadline(&e.context, r)
	defer end()
	e.admission, e.limited = ctx, limited
	_, err := resilience.Do(ctx, e.pipeline.Pipeline, e.serve)
	switch { // see exchange
	case !e.entered:
		e.refuse(err)
	case e.unanswered && isWaiting(r):
		e.restore()
		e.refuse(err)
	case e.aborted:
		panic(http.ErrAbortHandler)
	}
}
