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
//
// The first line that is true decides. isGone and isWaiting say of the request's own context what the last column asks:
//
//	how it ended                             the pipeline hears         the client gets
//	the handler was not entered              nothing new                a refusal; if it is gone, 499
//	the handler panicked with                the context's error        nothing: the server gets the panic
//	  ErrAbortHandler, and its context
//	  was cancelled (aborted)
//	the handler panicked otherwise           a panic                    nothing: the server gets the panic
//	a Handler inside it has refused          the refusal                the answer of that Handler
//	the handler has begun an answer          an *answer from 400 up,    that answer
//	                                         else success
//	its context has ended (unanswered)       the context's error        a refusal if it is waiting, else nothing of ours
//	otherwise                                success                    200 from the server
//
// An error is a clientDeadlineError to the pipeline when the deadline that the client has asked for is over.
//
// Four contexts are made one from another: that of request, context, admission, and the handler's, which the pipeline makes.
type exchange struct {
	handler   *handler
	pipeline  *guardPipeline
	request   *http.Request
	context   requestContext  // knows the key
	admission context.Context // context with the client's deadline, if any: the pipeline is given it
	writer    responseWriter

	limited    bool        // the client has asked for a deadline
	entered    bool        // the pipeline has admitted the request
	aborted    bool        // the handler has panicked with http.ErrAbortHandler, after its context was cancelled
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
	return e.limited && e.admission.Err() != nil && e.request.Context().Err() == nil
}

// restore drops the header fields of a handler that has not used them.
func (e *exchange) restore() {
	header := e.writer.Header()
	clear(header)
	for name, values := range e.before {
		header[name] = values
	}
}
