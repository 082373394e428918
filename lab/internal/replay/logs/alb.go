package logs

import (
	"bytes"
	"time"
)

// albFormat is the access log of an AWS Application Load Balancer. The time at the beginning of a line is that of the answer,
// the end; request_creation_time is the beginning. The latency is the sum of request, target and response processing time,
// or, where one of them is -1 because there was no answer, the time between the two.
//
// elb_status_code is what the client got, target_status_code what the target said, "-" where it said nothing: then 504 is a
// timeout, 503 a refusal for want of a target, 502 a broken connection, 460 a client who has gone. What the balancer has
// answered itself without a failure (redirects, fixed answers, refused logins) is left out, and so are WebSockets.
var albFormat = &format{
	name: "alb",
	new:  func() parser { return &alb{} },
	looks: func(line []byte, _ []member) string {
		kind, rest := next(line)
		when, _ := next(rest)
		if _, ok := timestamp(when); ok && albKind(kind) {
			return "begins with a type of request and a time, as those of AWS balancers"
		}
		return ""
	},
	loose: 5 * time.Minute, // a file is of five minutes and not sorted
}

func albKind(kind []byte) bool {
	switch string(kind) {
	case "http", "https", "h2", "grpcs", "ws", "wss":
		return true
	}
	return false
}

// albQuoted is quoted for a text that may have quotes in it, as clients send them, behind a backslash or not.
func albQuoted(line []byte) (text, rest []byte, ok bool) {
	for at := 1; ; at++ {
		end := bytes.IndexByte(line[at:], '"')
		if end < 0 {
			return nil, nil, false
		}
		at += end
		if line[at-1] != '\\' && (at+1 == len(line) || line[at+1] == ' ') {
			return line[1:at], line[min(at+2, len(line)):], true
		}
	}
}

type alb struct{ tally }

func (p *alb) parse(line []byte, to []entry) ([]entry, error) {
	var fields [22][]byte
	rest := line
	n := 0
	for ; n < len(fields) && len(rest) > 0; n++ {
		if rest[0] != '"' {
			fields[n], rest = next(rest)
			continue
		}
		var ok bool
		if fields[n], rest, ok = albQuoted(rest); !ok {
			return to, problem("a quote is not closed")
		}
	}
	if n < 12 || !albKind(fields[0]) {
		return to, problem("the line does not have the fields of an access log")
	}
	end, ok := timestamp(fields[1])
	if !ok {
		return to, problem("the time is not one of RFC 3339")
	}
	if bytes.HasPrefix(fields[0], []byte("ws")) {
		p.add("WebSocket is left out", "WebSockets are left out")
		return to, nil
	}
	var took int64
	whole := true
	for _, field := range fields[5:8] {
		if string(field) == "-1" || string(field) == "-" {
			whole = false
			continue
		}
		n, ok := decimal(field, time.Second)
		if !ok || n > int64(longest) {
			return to, problem("a processing time is not a number of seconds")
		}
		took += n
	}
	code, ok := status(fields[8])
	answer, known := status(fields[9])
	if !ok || !known {
		return to, problem("a status is not one")
	}
	start, created := timestamp(fields[21])
	switch {
	case !whole && !created:
		return to, problem("a processing time is -1 and there is no request_creation_time")
	case !whole:
		took = end - start
	case !created:
		start = end - took
	}
	e := entryAt(start, start, took)
	if !created {
		e.stamp = end
	}
	e.http(code)
	if code == 460 || code == 0 {
		e.cut(kindCanceled)
	} else if answer == 0 {
		switch code {
		case 502:
			e.fail(kindConnection)
		case 503:
			e.fail(kindRejected)
		case 504:
			e.cut(kindTimeout)
		}
		if !e.Failed {
			p.add("request was answered by the balancer itself and is left out",
				"requests were answered by the balancer itself and are left out")
			return to, nil
		}
	}
	return append(to, e), nil
}
