package policyhttp

import (
	"net/http"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/internal/sources"
	"github.com/go-resilience/resilience/policy"
)

// Transport is an [http.RoundTripper] that sends requests through a pipeline. It is made by [NewTransport] and safe for
// concurrent use.
type Transport struct {
	transportConfig
	base        http.RoundTripper
	pipelineFor func(*http.Request) *resilience.Pipeline
	mayMutate   bool // base may change the requests that it gets
}

// RequestSource is what a [resilience.Source] implements in addition when the pipeline depends on the request: what
// [PerHost] returns is one.
type RequestSource interface {
	resilience.Source

	// PipelineFor returns the pipeline for a request, never nil. It must be fast, safe for concurrent use, and must not
	// change the request.
	PipelineFor(request *http.Request) *resilience.Pipeline
}

// NewTransport returns a Transport that sends requests with base through the pipeline of source, which is a
// [*resilience.Pipeline], such as [Standard] returns, a [RequestSource], such as [PerHost] returns, or another
// [resilience.Source] whose pipeline can be replaced while it is in use. A nil base is [http.DefaultTransport].
//
// The body of a response of base must let Close be called while a Read runs, and end that Read then, as those of
// [http.Transport] do: what is given up is closed at once.
//
// NewTransport panics with a [*policy.ConfigError] that lists every problem: a nil source or pipeline, a pipeline that
// was not made with [resilience.Compose], an option out of its range.
func NewTransport(base http.RoundTripper, source resilience.Source, options ...Option) *Transport {
	problems := policy.ConfigError{Policy: "policyhttp.NewTransport"}
	c := configureTransport(options, &problems)
	pipelineFor := func(*http.Request) *resilience.Pipeline { return source.Current() }
	if bySource, ok := source.(RequestSource); sources.IsNil(source) {
		problems.Add("the source is nil")
	} else if ok {
		pipelineFor = bySource.PipelineFor
	} else {
		sources.Check(source, source.Current(), &problems)
	}
	if err := problems.Err(); err != nil {
		panic(err)
	}
	if base == nil {
		base = http.DefaultTransport
	}
	t := &Transport{transportConfig: c, base: base, pipelineFor: pipelineFor}
	switch base.(type) {
	case *http.Transport, *Transport:
	default:
		t.mayMutate = true
	}
	return t
}

// RoundTrip sends request through the pipeline, as often as the pipeline says, and returns the last response. The package's
// documentation says which requests are tried again, and how the policies judge a response.
//
// It returns either a response or an error, never both. A response that is a failure, such as a last 503, is a response
// like any other, with its body open. An error is a [*CallError]; it matches what the pipeline or the base transport
// said, such as [policy.ErrRejected], breaker.ErrOpen or timeout.ErrTimeout. [Info] says how the call went.
//
// The body of the response must be closed. Until it is closed or read to its end, the call holds its slots in the
// pipeline, and the total timeout keeps running. RoundTrip does not change request, and sees to it that its body is closed
// once, whatever happens.
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if t.base == nil {
		panic("policyhttp: a Transport must be made with NewTransport")
	}
	c := newCall(t, request)
	defer func() {
		if !c.ended.Load() { // a panic or runtime.Goexit passes through
			c.end(nil, nil)
		}
	}()
	response, permit, err := resilience.Open(c, t.pipelineFor(request), send)
	return c.finish(response, permit, err)
}

// CloseIdleConnections closes the idle connections of the base transport, if that can do so. [http.Client] calls it.
func (t *Transport) CloseIdleConnections() {
	if base, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}
