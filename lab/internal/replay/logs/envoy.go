package logs

import (
	"bytes"
	"time"
)

// envoyText and envoyJSON are access logs of Envoy: the default format, that of Istio, and JSON with the names of Envoy's
// documentation. START_TIME is the beginning of the request and DURATION its milliseconds up to the last byte.
//
// A line is a request. Retries that Envoy makes itself do not show, unless upstream_request_attempt_count is logged: then
// requests with several attempts are counted in a warning. x_envoy_attempt_count, which Envoy sends to the upstream,
// is the number of the attempt where the log is that of the upstream's side; request_id is then its call.
//
// RESPONSE_FLAGS say more than the status. UT, DT, SI and UMSDR are timeouts, DC is a client who has gone, UO, UH, NC and OM
// are refusals of Envoy, RL is its rate limit; UF, UC, UR, LR, UPE and DF are the connection's. What Envoy has answered itself
// without a failure, such as a redirect, is left out.
var (
	envoyText = &format{
		name: "envoy",
		new:  func() parser { return &envoy{} },
		looks: func(line []byte, _ []member) string {
			var v envoyLine
			if v.text(line) {
				return "begins with [START_TIME] and a quoted request, as Envoy's default format"
			}
			return ""
		},
	}
	envoyJSON = &format{
		name: "envoy-json",
		new:  func() parser { return &envoy{isJSON: true} },
		looks: func(_ []byte, list []member) string {
			if has(list, "start_time", "duration", "response_code") {
				return "is JSON with start_time, duration and response_code"
			}
			return ""
		},
	}
)

// envoyLine are the operators of a line, nil for those that it does not have.
type envoyLine struct {
	start, duration, code, flags, host, protocol []byte
	grpc, id, attempt, attempts                  []byte
}

// text reads the default format of Envoy and that of Istio, which has three more operators after the flags.
func (v *envoyLine) text(line []byte) bool {
	if len(line) == 0 || line[0] != '[' {
		return false
	}
	end := bytes.Index(line[:min(len(line), 64)], []byte(`] "`))
	if end < 0 {
		return false
	}
	v.start, line = line[1:end], line[end+3:]
	if _, ok := timestamp(v.start); !ok {
		return false
	}
	for { // Envoy does not escape quotes
		end = bytes.Index(line, []byte(`" `))
		if end < 0 {
			return false
		}
		request := line[:end]
		line = line[end+2:]
		var rest []byte
		v.code, rest = next(line)
		if _, ok := integer(v.code); ok && len(v.code) <= 3 {
			v.protocol, line = request[bytes.LastIndexByte(request, ' ')+1:], rest
			break
		}
	}
	v.flags, line = next(line)
	if word, _ := next(line); !isInteger(word) {
		_, line = next(line) // RESPONSE_CODE_DETAILS
		_, line = next(line) // CONNECTION_TERMINATION_DETAILS
		var ok bool
		if _, line, ok = quoted(line); !ok { // UPSTREAM_TRANSPORT_FAILURE_REASON
			return false
		}
	}
	_, line = next(line) // BYTES_RECEIVED
	_, line = next(line) // BYTES_SENT
	v.duration, line = next(line)
	_, line = next(line)   // X-ENVOY-UPSTREAM-SERVICE-TIME
	for field := range 5 { // X-FORWARDED-FOR, USER-AGENT, X-REQUEST-ID, AUTHORITY, UPSTREAM_HOST
		text, rest, ok := quoted(line)
		if !ok {
			break
		}
		if line = rest; field == 4 {
			v.host = text
		}
	}
	if string(v.host) == "-" { // or a client's quotes have made it seem so: then it is the last one
		end := bytes.LastIndexByte(line, '"')
		if begin := bytes.LastIndexByte(line[:max(0, end)], '"'); begin >= 0 {
			v.host = line[begin+1 : end]
		}
	}
	return isInteger(v.duration)
}

func isInteger(text []byte) bool {
	_, ok := integer(text)
	return ok
}

func (v *envoyLine) json(list []member) {
	for i := range list {
		m := &list[i]
		text := m.text()
		if text == nil {
			text = []byte("-")
		}
		switch string(m.name) {
		case "start_time":
			v.start = text
		case "duration":
			v.duration = text
		case "response_code":
			v.code = text
		case "response_flags":
			v.flags = text
		case "upstream_host":
			v.host = text
		case "protocol":
			v.protocol = text
		case "grpc_status", "grpc_status_number":
			v.grpc = text
		case "request_id", "x_request_id":
			v.id = text
		case "x_envoy_attempt_count":
			v.attempt = text
		case "upstream_request_attempt_count":
			v.attempts = text
		}
	}
}

type envoy struct {
	tally
	isJSON  bool
	members []member
}

func (p *envoy) parse(line []byte, to []entry) ([]entry, error) {
	var v envoyLine
	if p.isJSON {
		var err error
		if p.members, err = members(line, p.members[:0]); err != nil {
			return to, err
		}
		v.json(p.members)
	} else if !v.text(line) {
		return to, problem("the line does not have the form of Envoy's default format")
	}
	start, ok := timestamp(v.start)
	if !ok {
		return to, problem("START_TIME is not a time of RFC 3339")
	}
	if string(v.duration) == "-" {
		return to, problem("there is no DURATION")
	}
	took, ok := decimal(v.duration, time.Millisecond)
	if !ok {
		return to, problem("DURATION is not a number of milliseconds")
	}
	code, ok := status(v.code)
	if !ok {
		return to, problem("RESPONSE_CODE is not a status")
	}
	if code == 0 && string(v.protocol) == "-" {
		p.add("line is of a TCP connection or of no request and is left out",
			"lines are of TCP connections or of no request and are left out")
		return to, nil
	}
	e := entryAt(start, start, took)
	p.judge(&e, &v, code)
	if !e.Failed && string(v.host) == "-" {
		p.add("request was answered by Envoy itself and is left out",
			"requests were answered by Envoy itself and are left out")
		return to, nil
	}
	if n, ok := integer(v.attempts); ok && n > 1 {
		p.add("request had several attempts, of which the log has only the last answer",
			"requests had several attempts, of which the log has only the last answer")
	}
	if n, ok := integer(v.attempt); ok && n > 0 && n < 1000 && len(v.id) > 1 {
		e.Call, e.Attempt = string(v.id), int(n)
	}
	return append(to, e), nil
}

// judge says how a request has ended.
func (p *envoy) judge(e *entry, v *envoyLine, code int) {
	e.http(code)
	if answer, ok := grpcCode(v.grpc); ok && answer != 0 && !e.Failed {
		e.grpc(answer)
	}
	answered := code > 0 && code < 400
	var timeout, gone, refused, limited, broken bool
	for rest := v.flags; len(rest) > 0; {
		var flag []byte
		flag, rest, _ = bytes.Cut(rest, []byte(","))
		switch string(flag) {
		case "UT", "DT", "SI", "UMSDR":
			timeout = true
		case "DC":
			gone = true
		case "UO", "UH", "NC", "OM":
			refused = !answered // otherwise a retry was not
		case "RL":
			limited = !answered
		case "UF", "DF":
			broken = broken || !answered
		case "UC", "UR", "LR", "UPE":
			broken = true
		}
	}
	switch {
	case timeout:
		e.cut(kindTimeout)
	case gone, code == 0 && !refused && !limited && !broken:
		e.cut(kindCanceled)
	case refused:
		e.fail(kindRejected)
	case limited:
		e.fail(kindThrottled)
	case broken:
		e.fail(kindConnection)
	}
}
