package logs

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// nginxText and nginxJSON are lines of nginx with $msec and $request_time. $msec is when the line was written, at the end of
// the request: the beginning is $request_time before that.
//
// With $upstream_response_time the upstream's part is known, and with it each attempt of proxy_next_upstream: every one is
// a record, with its time and its $upstream_status, one after the other from the beginning of the request. What nginx has
// answered itself is then no traffic of the upstream and is left out, but for what it refused (429, 503) and for clients
// who have gone (499).
//
// nginx writes 504 when it has given up waiting, 502 when it got no answer, and 499 when the client has gone.
var (
	nginxText = &format{
		name: "nginx",
		new:  func() parser { return &nginx{} },
		looks: func(line []byte, _ []member) string {
			var v nginxLine
			if v.text(line) && v.numbers() {
				return "begins with $msec, $request_time and $status"
			}
			return ""
		},
	}
	nginxJSON = &format{
		name: "nginx-json",
		new:  func() parser { return &nginx{json: true} },
		looks: func(_ []byte, list []member) string {
			if has(list, "msec", "request_time") {
				return "is JSON with msec and request_time"
			}
			return ""
		},
	}
)

// nginxLine are the values of variables, nil for those that the line does not have.
type nginxLine struct{ msec, requestTime, status, upstreamTime, upstreamStatus, requestID []byte }

// variable returns where the value of a variable belongs, nil for one that is of no use here.
func (v *nginxLine) variable(name []byte) *[]byte {
	switch string(name) {
	case "msec":
		return &v.msec
	case "request_time":
		return &v.requestTime
	case "status":
		return &v.status
	case "upstream_response_time":
		return &v.upstreamTime
	case "upstream_status":
		return &v.upstreamStatus
	case "request_id":
		return &v.requestID
	}
	return nil
}

// text reads the format of docs/replay.md:
//
//	$msec $request_time $status "$upstream_response_time" "$upstream_status" $request_id …
//
// of which the part from the first quote on may be missing.
func (v *nginxLine) text(line []byte) bool {
	v.msec, line = next(line)
	v.requestTime, line = next(line)
	v.status, line = next(line)
	if len(line) == 0 || line[0] != '"' {
		return len(v.status) > 0
	}
	var ok bool
	if v.upstreamTime, line, ok = quoted(line); !ok {
		return false
	}
	if len(line) > 0 && line[0] == '"' {
		if v.upstreamStatus, line, ok = quoted(line); !ok {
			return false
		}
		if id, _ := next(line); len(id) == 32 {
			v.requestID = id
		}
	}
	return true
}

// numbers reports whether the values are such as nginx writes.
func (v *nginxLine) numbers() bool {
	end, ok := decimal(v.msec, time.Second)
	_, timed := decimal(v.requestTime, time.Second)
	_, known := status(v.status)
	return ok && timed && known && end > earliest && bytes.IndexByte(v.msec, '.') > 0
}

// quoted cuts a text between quotes off, and the space behind it.
func quoted(line []byte) (text, rest []byte, ok bool) {
	if len(line) == 0 || line[0] != '"' {
		return nil, nil, false
	}
	end := bytes.IndexByte(line[1:], '"')
	if end < 0 {
		return nil, nil, false
	}
	return line[1 : end+1], bytes.TrimPrefix(line[end+2:], []byte(" ")), true
}

type nginx struct {
	tally
	json     bool
	template *template
	members  []member
	requests int64
	room     []byte
}

func (p *nginx) parse(line []byte, to []entry) ([]entry, error) {
	var v nginxLine
	switch {
	case p.json:
		var err error
		if p.members, err = members(line, p.members[:0]); err != nil {
			return to, err
		}
		for i := range p.members {
			if where := v.variable(p.members[i].name); where != nil {
				if *where = p.members[i].text(); *where == nil {
					*where = []byte{}
				}
			}
		}
	case p.template != nil:
		if !p.template.read(line, &v) {
			return to, problem("the line does not have the form of the log_format")
		}
	case !v.text(line):
		return to, problem("the line does not begin with $msec $request_time $status")
	}
	end, ok := decimal(v.msec, time.Second)
	if !ok {
		return to, problem("$msec is not a time")
	}
	took, ok := decimal(v.requestTime, time.Second)
	if !ok {
		return to, problem("$request_time is not a number of seconds")
	}
	code, ok := status(v.status)
	if !ok {
		return to, problem("$status is not a status")
	}
	p.requests++
	e := entryAt(end, end-took, took)
	e.proxied(code)
	if v.upstreamTime == nil {
		return append(to, e), nil
	}
	e.Attempt = 1
	if len(v.requestID) > 1 {
		e.Call = string(v.requestID)
	} else {
		e.Call = string(strconv.AppendInt(append(p.room[:0], '#'), p.requests, 10))
	}
	if len(bytes.Trim(v.upstreamTime, "- ")) == 0 {
		switch {
		case code == 429 || code == 503:
			e.fail(kindRejected)
		case code < 499:
			p.add("request was answered by nginx itself and is left out", "requests were answered by nginx itself and are left out")
			return to, nil
		}
		return append(to, e), nil
	}
	return p.attempts(to, e, v.upstreamTime, v.upstreamStatus)
}

// attempts appends the attempts of a request.
func (p *nginx) attempts(to []entry, request entry, times, statuses []byte) ([]entry, error) {
	start := request.Start
	for number := 1; ; number++ {
		var word, code []byte
		var more bool
		word, times, more = listed(times)
		code, statuses, _ = listed(statuses)
		took, ok := int64(0), true
		if string(word) != "-" {
			took, ok = decimal(word, time.Second)
		}
		if !ok || number > 100 {
			return to, problem("$upstream_response_time is not a list of times")
		}
		if string(word) == "-" && !more { // it was not over when the request was
			took = max(0, int64(request.Start.Add(request.Latency).Sub(start)))
		}
		e := entry{stamp: request.stamp}
		e.Call, e.Attempt, e.Start, e.Latency = request.Call, number, start, time.Duration(took)
		answer, ok := status(code)
		if !ok {
			return to, problem("$upstream_status is not a list of statuses")
		}
		switch {
		case !more && (answer == 0 || request.Status == 499): // what the client has seen is all there is to see
			e.Failed, e.Kind, e.Status, e.Censored = request.Failed, request.Kind, request.Status, request.Censored
		case answer == 0: // and yet there was another one
			e.fail("")
		default:
			e.proxied(answer)
		}
		to = append(to, e)
		if !more {
			return to, nil
		}
		start = start.Add(e.Latency)
	}
}

// listed cuts the first value off a list as nginx writes it: "0.1, 0.2 : 0.3".
func listed(list []byte) (word, rest []byte, more bool) {
	end := bytes.IndexAny(list, " ,:")
	if end < 0 {
		return list, nil, false
	}
	rest = bytes.TrimLeft(list[end:], " ,:")
	return list[:end], rest, len(rest) > 0
}

// template is a log_format: literals and variables in turn, a literal first, which may be empty.
type template struct {
	literals  [][]byte // one more than variables
	variables []string
}

// newTemplate takes what stands in nginx's configuration after "log_format NAME".
func newTemplate(text string) (parser, error) {
	refused := func(reason string) (parser, error) { return nil, &FormatError{Format: "nginx", Reason: reason} }
	text = strings.TrimSuffix(strings.TrimSpace(text), ";")
	if rest, ok := strings.CutPrefix(text, "escape="); ok {
		_, text, _ = strings.Cut(rest, " ")
		text = strings.TrimSpace(text)
	}
	if strings.HasPrefix(text, "'") { // 'one' 'two' is one text
		var parts []string
		for i, part := range strings.Split(text, "'") {
			if i%2 == 1 {
				parts = append(parts, part)
			} else if strings.TrimSpace(part) != "" {
				return refused("the log_format has something between its quotes")
			}
		}
		text = strings.Join(parts, "")
	}
	t := &template{literals: [][]byte{nil}}
	seen := map[string]bool{}
	for len(text) > 0 {
		before, after, found := strings.Cut(text, "$")
		last := len(t.literals) - 1
		t.literals[last] = append(t.literals[last], before...)
		if !found {
			break
		}
		after = strings.TrimPrefix(after, "{")
		end := strings.IndexFunc(after, func(c rune) bool {
			return c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
		})
		if end < 0 {
			end = len(after)
		}
		name := after[:end]
		if name == "" {
			return refused("the log_format has a $ without a name")
		}
		if last > 0 && len(t.literals[last]) == 0 {
			return refused("the log_format has nothing between $" + t.variables[last-1] + " and $" + name)
		}
		text = strings.TrimPrefix(after[end:], "}")
		seen[name] = true
		t.variables = append(t.variables, name)
		t.literals = append(t.literals, nil)
	}
	for _, name := range []string{"msec", "request_time", "status"} {
		if !seen[name] {
			return refused("the log_format has no $" + name)
		}
	}
	return &nginx{template: t}, nil
}

// read takes a line apart.
func (t *template) read(line []byte, v *nginxLine) bool {
	line, ok := bytes.CutPrefix(line, t.literals[0])
	if !ok {
		return false
	}
	for i, name := range t.variables {
		literal := t.literals[i+1]
		end := len(line)
		if i+1 < len(t.variables) {
			end = bytes.Index(line, literal)
			for end >= 0 && strings.HasPrefix(name, "upstream_") && goesOn(line[:end], line[end:]) {
				further := bytes.Index(line[end+1:], literal)
				if further < 0 {
					return false
				}
				end += 1 + further
			}
		} else if len(literal) > 0 {
			end = bytes.LastIndex(line, literal)
		}
		if end < 0 {
			return false
		}
		if where := v.variable([]byte(name)); where != nil {
			*where = line[:end]
		}
		line = line[min(end+len(literal), len(line)):]
	}
	return true
}

// goesOn reports whether a list of nginx goes on after a space.
func goesOn(value, rest []byte) bool {
	return bytes.HasSuffix(value, []byte(",")) || bytes.HasSuffix(value, []byte(" :")) || bytes.HasPrefix(rest, []byte(" : "))
}

// looksCombined knows the combined and the common format.
func looksCombined(line []byte) bool {
	for i := range line[:min(len(line), 4096)] {
		if line[i] == '[' && len(line) > i+29 && line[i+27] == ']' && line[i+3] == '/' && line[i+21] == ' ' && line[i+29] == '"' {
			return true
		}
	}
	return false
}
