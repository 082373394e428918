package logs

import (
	"bytes"
	"time"
)

// haproxyFormat is HAProxy's option httplog, with or without the prefix of syslog. The date is that of the first byte of the
// request, in local time without a zone, which is taken for UTC. The timers are TR/Tw/Tc/Tr/Ta in milliseconds, -1 for what was
// never reached.
//
// A request begins here when HAProxy has it, TR after the date, and takes Ta - TR: how slowly a client sends its request
// is not the server's doing.
//
// The termination state says more than the status: s is a timeout of the server, of its queue or of its connection, C and c
// a client who has gone, SC a connection that was refused, SD an answer that was cut short, whatever its status; R and PC are
// refusals of HAProxy. Connections without a request, and what HAProxy has answered itself without a failure, are left out.
var haproxyFormat = &format{
	name: "haproxy",
	new:  func() parser { return &haproxy{} },
	looks: func(line []byte, _ []member) string {
		var v haproxyLine
		if v.read(line) && bytes.Count(v.timers, []byte("/")) == 4 {
			return "has a date, a backend and five timers as HAProxy's httplog"
		}
		return ""
	},
}

// looksTCP knows HAProxy's tcplog, whose timers are Tw/Tc/Tt.
func looksTCP(line []byte) bool {
	var v haproxyLine
	return v.read(line) && bytes.Count(v.timers, []byte("/")) == 2
}

type haproxyLine struct{ date, backend, timers, status, state, connections []byte }

func (v *haproxyLine) read(line []byte) bool {
	for at := 0; ; at++ {
		begin := bytes.IndexByte(line[at:min(len(line), 4096)], '[')
		if begin < 0 {
			return false
		}
		if at += begin; len(line) > at+26 && line[at+25] == ']' && line[at+3] == '/' && line[at+21] == '.' && line[at+26] == ' ' {
			v.date, line = line[at+1:at+25], line[at+27:]
			break
		}
		if at+1 >= min(len(line), 4096) {
			return false
		}
	}
	_, line = next(line) // frontend
	v.backend, line = next(line)
	v.timers, line = next(line)
	v.status, line = next(line)
	_, line = next(line) // bytes
	_, line = next(line) // captured cookies
	_, line = next(line)
	v.state, line = next(line)
	v.connections, _ = next(line)
	return bytes.IndexByte(v.backend, '/') > 0 && len(v.timers) > 0
}

type haproxy struct{ tally }

func (p *haproxy) parse(line []byte, to []entry) ([]entry, error) {
	var v haproxyLine
	if !v.read(line) {
		if haproxyNotice(line) {
			p.add("message of HAProxy is left out", "messages of HAProxy are left out")
			return to, nil
		}
		return to, problem("the line does not have the form of HAProxy's httplog")
	}
	date, err := time.Parse("02/Jan/2006:15:04:05.000", string(v.date))
	if err != nil || date.Year() < 1971 || date.Year() > 2199 {
		return to, problem("the date is not a date")
	}
	var timers [5]int64 // TR, Tw, Tc, Tr, Ta
	rest := v.timers
	for i := range timers {
		var word []byte
		word, rest, _ = bytes.Cut(rest, []byte("/"))
		word = bytes.TrimPrefix(word, []byte("+"))
		if string(word) == "-1" {
			timers[i] = -1
			continue
		}
		n, ok := integer(word)
		if !ok || n > int64(longest/time.Millisecond) {
			return to, problem("the timers are not five numbers of milliseconds")
		}
		timers[i] = n
	}
	code, ok := status(v.status)
	if !ok || len(rest) > 0 {
		return to, problem("the timers or the status are not such")
	}
	if len(v.state) < 2 {
		return to, problem("there is no termination state: is it option httplog?")
	}
	if timers[0] < 0 {
		p.add("connection without a request is left out", "connections without a request are left out")
		return to, nil
	}
	if timers[4] < timers[0] {
		return to, problem("Ta is less than TR")
	}
	stamp := date.UnixNano()
	e := entryAt(stamp, stamp+timers[0]*1e6, (timers[4]-timers[0])*1e6)
	e.http(code)
	asked := !bytes.HasSuffix(v.backend, []byte("/<NOSRV>"))
	p.judge(&e, v.state[0], v.state[1], asked)
	if !e.Failed && !asked {
		p.add("request was answered by HAProxy itself and is left out", "requests were answered by HAProxy itself and are left out")
		return to, nil
	}
	if at := bytes.LastIndexByte(v.connections, '/'); at >= 0 {
		if retries := bytes.TrimPrefix(v.connections[at+1:], []byte("+")); isInteger(retries) && string(retries) != "0" {
			p.add("request was sent or connected again by HAProxy: the log has only the last answer",
				"requests were sent or connected again by HAProxy: the log has only the last answer")
		}
	}
	return append(to, e), nil
}

// haproxyNotice knows what HAProxy writes into its log besides requests: of servers that are down, of its start and end, and of
// connections that broke off during the handshake.
func haproxyNotice(line []byte) bool {
	line = line[:min(len(line), 1024)]
	if at := bytes.Index(line, []byte("]: ")); at >= 0 && bytes.Contains(line[:at], []byte("haproxy[")) {
		line = line[at+3:]
	}
	for _, begin := range []string{"Server ", "Backup Server ", "Proxy ", "Health check for ", "backend ", "Stopping ", "Pausing ", "Resuming "} {
		if bytes.HasPrefix(line, []byte(begin)) {
			return true
		}
	}
	_, broken, dated := bytes.Cut(line, []byte("] ")) // after the date: "www/1: SSL handshake failure"
	bind, _, said := bytes.Cut(broken, []byte(": "))
	return dated && said && bytes.IndexByte(bind, '/') > 0 && bytes.IndexByte(bind, ' ') < 0
}

// judge says how a request has ended, by the two letters of its termination state: who ended it, and when.
func (p *haproxy) judge(e *entry, who, when byte, asked bool) {
	switch who {
	case 's':
		e.cut(kindTimeout)
	case 'C', 'c':
		e.cut(kindCanceled)
	case 'S':
		e.fail(kindConnection)
		if when == 'C' && !asked { // no server was there to be asked
			e.fail(kindRejected)
		}
	case 'D', 'U', 'K':
		e.fail(kindConnection)
	case 'R':
		e.fail(kindRejected)
	case 'P':
		if when == 'C' || e.Status == 503 && !asked {
			e.fail(kindRejected)
		}
	}
}
