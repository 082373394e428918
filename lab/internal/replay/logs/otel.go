package logs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// otelFormat is spans of OpenTelemetry as JSON lines: OTLP/JSON as the collector's file exporter writes it (an object with
// resourceSpans on each line), a span of OTLP on each line, or what Go's stdouttrace writes. Beginning and end are in the span.
//
// Of a file only one kind of span is read, since others tell the same requests again: the spans "resilience.attempt" of
// policyotel.Attempts if the first lines have such, else those of clients, else those of servers. Those of attempts have
// calls: attempts of one parent belong together, until one is number 1 again.
//
// The status of HTTP or gRPC decides; the status of a span only where there is none, since conventions call a 404 of a client
// an error. error.type tells timeouts from connections.
var otelFormat = &format{
	name:  "otel",
	new:   func() parser { return &otel{} },
	peeks: true,
	loose: time.Minute, // spans are written in batches
	looks: func(_ []byte, list []member) string {
		switch {
		case has(list, "resourceSpans"):
			return "is OTLP/JSON with resourceSpans"
		case has(list, "traceId", "spanId", "startTimeUnixNano"):
			return "is a span of OTLP/JSON"
		case has(list, "SpanContext", "StartTime", "EndTime"):
			return "is a span as Go's stdouttrace writes it"
		}
		return ""
	},
}

// The kinds of spans that are read, the best last.
const (
	spanOther = iota
	spanServer
	spanClient
	spanAttempt
)

// otelLine is a line: one span, or many. encoding/json does not mind upper case, so names of both kinds are here once.
type otelLine struct {
	ResourceSpans []struct {
		ScopeSpans []struct{ Spans []otelSpan }
		// The name before OTLP 1.0.
		InstrumentationLibrarySpans []struct{ Spans []otelSpan }
	}
	otelSpan
}

type otelSpan struct {
	TraceID, ParentSpanID, TraceState  string
	Name                               string
	Kind, SpanKind                     json.RawMessage
	StartTimeUnixNano, EndTimeUnixNano json.RawMessage
	StartTime, EndTime                 string
	SpanContext, Parent                struct{ TraceID, SpanID, TraceState string }
	Attributes                         []otelAttribute
	Status                             struct{ Code json.RawMessage }
}

type otelAttribute struct {
	Key   string
	Value struct {
		StringValue *string
		IntValue    json.RawMessage
		Value       json.RawMessage
	}
}

// text returns a value as text.
func (a *otelAttribute) text() []byte {
	v := &a.Value
	switch {
	case v.StringValue != nil:
		return []byte(*v.StringValue)
	case len(v.IntValue) > 0:
		return bytes.Trim(v.IntValue, `"`)
	}
	return bytes.Trim(v.Value, `"`)
}

func (s *otelSpan) attribute(names ...string) []byte {
	for _, name := range names {
		for i := range s.Attributes {
			if s.Attributes[i].Key == name {
				return s.Attributes[i].text()
			}
		}
	}
	return nil
}

// kind returns which of the kinds that are read a span is of.
func (s *otelSpan) kind() int {
	if s.Name == "resilience.attempt" && s.attribute("resilience.attempt.number") != nil {
		return spanAttempt
	}
	kind := s.Kind
	if len(kind) == 0 {
		kind = s.SpanKind
	}
	switch string(bytes.Trim(kind, `"`)) {
	case "2", "SPAN_KIND_SERVER":
		return spanServer
	case "3", "SPAN_KIND_CLIENT":
		return spanClient
	}
	return spanOther
}

// parent is a span that has called.
type parent struct {
	calls int
	// An attempt that was no first one has begun the call, then: the first one is still to come, if it began before that. The
	// extra attempt of a hedge may end earlier, and batches of spans may come in any order.
	early int64
}

// otel is the parser. Of spans that have ended it knows the parents of the last attempts.
type otel struct {
	wanted   int
	others   int // spans of other kinds
	resent   int
	part     string   // what shows that spans were sampled
	recorder recorder // judges attempts
	parents  map[string]parent
	old      map[string]parent // before parents was full
}

// peek finds out which spans a file is about.
func (p *otel) peek(lines [][]byte) string {
	for _, line := range lines {
		_ = eachSpan(line, func(s *otelSpan) { p.wanted = max(p.wanted, s.kind()) })
	}
	switch p.wanted {
	case spanAttempt:
		return "; its spans resilience.attempt are read"
	case spanServer:
		return "; its spans of servers are read, since there are none of clients"
	}
	p.wanted = spanClient
	return "; its spans of clients are read"
}

// eachSpan calls f for the spans of a line.
func eachSpan(line []byte, f func(*otelSpan)) error {
	var l otelLine
	if err := json.Unmarshal(line, &l); err != nil {
		return problem("not JSON of spans")
	}
	for i := range l.ResourceSpans {
		r := &l.ResourceSpans[i]
		for _, scopes := range [][]struct{ Spans []otelSpan }{r.ScopeSpans, r.InstrumentationLibrarySpans} {
			for j := range scopes {
				for k := range scopes[j].Spans {
					f(&scopes[j].Spans[k])
				}
			}
		}
	}
	if l.ResourceSpans == nil {
		f(&l.otelSpan)
	}
	return nil
}

func (p *otel) parse(line []byte, to []entry) ([]entry, error) {
	var partly partlyError
	err := eachSpan(line, func(s *otelSpan) {
		var err error
		if to, err = p.span(s, to); err != nil {
			if partly.bad++; partly.bad == 1 {
				partly.first = err
			}
		}
	})
	if err == nil && partly.bad > 0 {
		err = &partly
	}
	return to, err
}

// span appends what a span tells.
func (p *otel) span(s *otelSpan, to []entry) ([]entry, error) {
	start, ok := spanTime(s.StartTimeUnixNano, s.StartTime)
	end, over := spanTime(s.EndTimeUnixNano, s.EndTime)
	if !ok || !over {
		return to, problem("a span has no time of its beginning, or of its end")
	}
	if s.kind() != p.wanted {
		p.others++
		return to, nil
	}
	if p.part == "" {
		p.part = cmp.Or(sampledBy(s.TraceState), sampledBy(s.SpanContext.TraceState))
	}
	e := entryAt(start, start, end-start)
	if err := e.check(); err != nil {
		return to, err
	}
	if err := p.judge(&e, s); err != nil {
		return to, err
	}
	return append(to, e), nil
}

// spanTime reads nanoseconds since 1970, as a number or as text, or a time of RFC 3339.
func spanTime(nanoseconds json.RawMessage, text string) (int64, bool) {
	if len(nanoseconds) > 0 {
		return integer(bytes.Trim(nanoseconds, `"`))
	}
	return timestamp([]byte(text))
}

func (p *otel) judge(e *entry, s *otelSpan) error {
	if p.wanted == spanAttempt {
		return p.attempt(e, s)
	}
	failure := s.attribute("error.type")
	if code := s.attribute("http.response.status_code", "http.status_code"); code != nil {
		answer, ok := status(code)
		if !ok {
			return problem("the status of HTTP is not one")
		}
		e.http(answer)
		if len(failure) > 0 && !isInteger(failure) && !e.Failed && answer < 400 {
			e.unanswered(failure) // while the body was read
		}
	} else if code := s.attribute("rpc.grpc.status_code", "rpc.response.status_code"); code != nil {
		answer, ok := grpcCode(code)
		if !ok {
			return problem("the status of gRPC is not one")
		}
		e.grpc(answer)
	} else if len(failure) > 0 {
		e.unanswered(failure)
	} else if failed := string(bytes.Trim(s.Status.Code, `"`)); failed == "2" || failed == "STATUS_CODE_ERROR" || failed == "Error" {
		e.fail("")
	}
	if n, ok := integer(s.attribute("http.request.resend_count")); ok && n > 0 {
		p.resent++
	}
	return nil
}

// attempt judges a span of policyotel.Attempts.
func (p *otel) attempt(e *entry, s *otelSpan) error {
	e.Class = p.recorder.words.of(s.attribute("resilience.error.class"))
	if err := p.recorder.judge(e, s.attribute("resilience.outcome"), s.attribute("resilience.error.code"), nil); err != nil {
		return err
	}
	e.Censored = e.Kind == kindTimeout || e.Kind == kindCanceled
	number, ok := integer(s.attribute("resilience.attempt.number"))
	if !ok || number < 1 || number > 1<<20 {
		return problem("resilience.attempt.number is not a number")
	}
	trace, span := s.TraceID, s.ParentSpanID
	if trace == "" {
		trace, span = s.Parent.TraceID, s.Parent.SpanID
	}
	if trace == "" || span == "" {
		return nil
	}
	const most = 50_000
	key := trace + "/" + span
	before, known := p.parents[key]
	if !known {
		before = p.old[key]
	}
	extra, _ := integer(s.attribute("resilience.hedge.number"))
	switch {
	case before.calls == 0:
		before.calls = 1
		if number > 1 || extra > 1 {
			before.early = e.stamp
		}
	case number == 1 && extra < 2:
		if e.stamp > before.early {
			before.calls++
		}
		before.early = 0
	}
	if len(p.parents) >= most {
		p.old, p.parents = p.parents, nil
	}
	if p.parents == nil {
		p.parents = map[string]parent{}
	}
	p.parents[key] = before
	e.Call, e.Attempt = key+"/"+strconv.Itoa(before.calls), int(number)
	return nil
}

// sampledBy returns what of a trace state says that only some of the spans are there: a threshold th that is not 0, or the
// older p, under the key ot.
func sampledBy(state string) string {
	for entry := range strings.SplitSeq(state, ",") {
		value, ok := strings.CutPrefix(strings.TrimSpace(entry), "ot=")
		if !ok {
			continue
		}
		for part := range strings.SplitSeq(value, ";") {
			if name, number, _ := strings.Cut(part, ":"); (name == "th" || name == "p") && strings.Trim(number, "0") != "" && len(number) <= 14 {
				return part
			}
		}
	}
	return ""
}

func (p *otel) sampled() string {
	if p.part == "" {
		return ""
	}
	return show([]byte(p.part)) + " in the trace state of spans"
}

func (p *otel) warnings() (list []string) {
	if p.others > 0 {
		list = append(list, count(p.others, "span is of another kind and is left out", "spans are of other kinds and are left out"))
	}
	if p.resent > 0 {
		list = append(list, fmt.Sprintf("%s sent again (http.request.resend_count), but the log does not say which call they belong to",
			count(p.resent, "request was", "requests were")))
	}
	return list
}
