package policyhttp

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/go-resilience/resilience/internal/refusals"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp/internal/field"
)

// Refusal is why a request was refused, for the functions given to [RefuseWith] and [OnRefusal].
type Refusal struct {
	Status     int           // 429 if a rate limit refused the request, otherwise 503
	RetryAfter time.Duration // what the field Retry-After says, in whole seconds; 0: no such field, waiting is of no use
	Code       string        // such as "ratelimit.limited"; see policy.Code
	Err        error         // for logs, not for clients
}

// noRetryAfter is for answers without a Retry-After.
const noRetryAfter = 0

// statusClientGone is what web servers log for a client that has gone before its answer.
const statusClientGone = 499

// maxUnread is how much of a body, by its declared length, the server may have to read and drop in order to keep the
// connection of a refused request.
const maxUnread = 64 << 10

// refuse answers a request that next has not answered.
func (e *exchange) refuse(err error) {
	w, r := e.writer.ResponseWriter, e.request
	tellOutside(w, err)
	if isGone(r) {
		w.WriteHeader(statusClientGone)
		return
	}
	h := e.handler
	seconds := h.retryAfter(err)
	refusal := Refusal{
		Status: statusOf(err), RetryAfter: time.Duration(seconds) * time.Second, Code: policy.Code(err), Err: err,
	}
	header := w.Header()
	e.announce(header, seconds)
	if seconds != noRetryAfter {
		header.Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	if h.codeHeader != "" && refusal.Code != "" {
		header.Set(h.codeHeader, field.Text(refusal.Code))
	}
	if r.ProtoMajor == 1 && r.ContentLength > maxUnread && !e.entered { // in HTTP/2 it would end the other requests too
		header.Set("Connection", "close")
	}
	if h.onRefusal != nil || h.refuseWith != nil {
		r = r.WithContext(&e.context) // for Key
	}
	if h.onRefusal != nil {
		h.onRefusal(r, refusal)
	}
	switch {
	case h.refuseWith != nil:
		e.writer.defaultStatus = refusal.Status
		h.refuseWith(e.writer.face(), r, refusal)
		e.writer.writeDefaultStatus()
	case h.problemDetails:
		e.writeProblem(w, refusal)
	default:
		write(w, refusal.Status, "text/plain; charset=utf-8", http.StatusText(refusal.Status)+"\n")
	}
}

// isGone reports whether the client has left. A context that was cancelled for another reason has a cause of its own.
func isGone(r *http.Request) bool {
	ctx := r.Context()
	return policy.Canceled(ctx) && policy.ContextError(ctx) == ctx.Err() //nolint:errorlint // the very value: no cause
}

// isWaiting reports whether the client waits for an answer of ours. Whoever has set a deadline outside answers when that is
// over.
func isWaiting(r *http.Request) bool {
	ctx := r.Context()
	switch {
	case ctx.Err() == nil:
		return true
	case policy.Canceled(ctx):
		return !isGone(r)
	}
	return false
}

// tellOutside lets the Handlers around this one know that it is a policy that answers.
func tellOutside(w http.ResponseWriter, err error) {
	for {
		if outer, ok := w.(interface{ noteRefusal(error) }); ok {
			outer.noteRefusal(err)
		}
		unwrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return
		}
		w = unwrapper.Unwrap()
	}
}

// statusOf returns the status of the answer to a request that was refused with err.
func statusOf(err error) int {
	if refusals.IsQuota(err) {
		return http.StatusTooManyRequests
	}
	return http.StatusServiceUnavailable
}

// retryAfter returns what Retry-After says, in seconds; noRetryAfter where no waiting helps, since with a 503 the field says
// how long the service is expected to be unavailable (RFC 9110, 10.2.3).
func (h *handler) retryAfter(err error) int64 {
	if refusals.IsLasting(err) {
		return noRetryAfter
	}
	wait, _ := policy.RetryAfter(err)
	wait = min(max(wait, h.least), h.most)
	seconds := ceilSeconds(wait)
	jitter := h.random.Int64N(max(1, seconds/4) + 1)
	return min(seconds+jitter, max(seconds, int64(h.most/time.Second)))
}

// ceilSeconds returns d in seconds, rounded up, at least 0.
func ceilSeconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64(math.Ceil(d.Seconds()))
}

// problem is the body of an answer in the format of RFC 9457.
type problem struct {
	Type     string   `json:"type,omitempty"`
	Title    string   `json:"title"`
	Status   int      `json:"status"`
	Violated []string `json:"violated-policies,omitempty"`
}

const problemTypes = "https://iana.org/assignments/http-problem-types#"

func (e *exchange) writeProblem(w http.ResponseWriter, refusal Refusal) {
	p := problem{Title: http.StatusText(refusal.Status), Status: refusal.Status}
	switch {
	case refusal.Status == http.StatusTooManyRequests:
		p.Type, p.Title = problemTypes+"quota-exceeded", "Quota Exceeded"
	case !e.entered:
		p.Type, p.Title = problemTypes+"temporary-reduced-capacity", "Temporary Reduced Capacity"
	}
	body, err := json.Marshal(p)
	if err != nil { // strings and a number
		panic(err)
	}
	write(w, refusal.Status, "application/problem+json", string(body)+"\n")
}

// write writes a whole answer, without the fields that a middleware outside has set about another one. Content-Encoding
// and Trailer stay: such a middleware may compress what is written, and add a trailer. So the length is left to the server.
func write(w http.ResponseWriter, status int, contentType, body string) {
	header := w.Header()
	for _, name := range [...]string{"Content-Length", "Content-Range", "Etag", "Last-Modified"} {
		header.Del(name)
	}
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", contentType)
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // a client that has gone is no matter
}
