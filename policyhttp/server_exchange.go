package policyhttp

import (
	"context"
	"net/http"

	"github.com/go-resilience/resilience/policy"
)

// exchange is one request to a [Handler] and its answer. This is its life:
//
//	ServeHTTP          asks the pipeline
//	  serve            is the operation: the request was admitted
//	    announce       sets the fields about quotas
//	    handle         lets the handler answer, through a responseWriter, which notes how
//	    errorOfAnswer  says what the answer means to the pipeline
//	  refuse           answers in place of a handler that was not asked, or has not answered in time
type exchange struct {
	handler   *handler
	pipeline  *guardPipeline
	request   *http.Request
	context   requestContext
	admission context.Context // that the pipeline was given
	writer    responseWriter

	entered    bool
	aborted    bool        // with http.ErrAbortHandler, after the client had gone
	unanswered bool        // the handler has returned without an answer, after its context had ended
	before     http.Header // the fields of the answer before the handler; nil if there were none
}

// serve is the operation.
func (e *exchange) serve(ctx context.Context) (struct{}, error) {
	e.entered = true
	header := e.writer.Header()
	e.announce(header, noRetryAfter)
	if len(header) > 0 {
		e.before = header.Clone()
	}
	e.handle(e.request.WithContext(ctx))
	err := e.errorOfAnswer(ctx)
	if err != nil && e.isClientDeadline() {
		err = &clientDeadlineError{err}
	}
	return struct{}{}, err
}

// handle lets the handler answer r, a copy of the request.
func (e *exchange) handle(r *http.Request) {
	defer func() { // the server removes the files of the form it knows; handlers outside ask for the pattern
		e.request.MultipartForm, e.request.Pattern = r.MultipartForm, r.Pattern
	}()
	defer func() {
		if !policy.Canceled(r.Context()) {
			return
		}
		switch value := recover(); value { // nil for runtime.Goexit, which goes on
		case nil:
		case http.ErrAbortHandler:
			e.aborted = true
		default:
			panic(value) // again; the original stack is printed below
		}
	}()
	e.handler.next.ServeHTTP(e.writer.face(), r)
}

// errorOfAnswer returns the answer as an error, nil for one below 400.
func (e *exchange) errorOfAnswer(ctx context.Context) error {
	w := &e.writer
	switch {
	case e.aborted:
		return policy.ContextError(ctx)
	case w.refusal != nil:
		return w.refusal
	case w.begun():
		return answerError(w.status, w.Header())
	case ctx.Err() != nil:
		e.unanswered = true
		return policy.ContextError(ctx)
	}
	return nil
}

// isClientDeadline reports whether the request was ended by the deadline that the client has asked for.
func (e *exchange) isClientDeadline() bool {
	return e.admission != context.Context(&e.context) && e.admission.Err() != nil && e.request.Context().Err() == nil
}

// restore drops the header fields of a handler that has not used them.
func (e *exchange) restore() {
	header := e.writer.Header()
	clear(header)
	for name, values := range e.before {
		header[name] = values
	}
}
