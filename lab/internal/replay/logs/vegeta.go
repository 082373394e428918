package logs

import (
	"bytes"
	"fmt"
)

// vegetaJSON and vegetaCSV are what vegeta encode writes, in either form. The timestamp is the beginning of the request, the
// latency is in nanoseconds; lines come in the order in which requests ended. A code of 0 is a request without an answer,
// whose error says why. What vegeta attack writes by itself, an encoding of Go's, is refused.
var (
	vegetaJSON = &format{
		name: "vegeta-json",
		new:  func() parser { return &vegetaJSONParser{} },
		looks: func(_ []byte, list []member) string {
			if has(list, "attack", "seq", "code", "timestamp", "latency") {
				return "is JSON with attack, seq, code, timestamp and latency"
			}
			return ""
		},
	}
	vegetaCSV = &format{
		name: "vegeta-csv",
		new:  func() parser { return &vegetaCSVParser{} },
		looks: func(line []byte, _ []member) string {
			if len(line) > 20 && line[19] == ',' && isInteger(line[:19]) {
				if fields, ok := split(line, ',', nil); ok && len(fields) >= 9 && isInteger(fields[1]) && isInteger(fields[2]) {
					return "has the columns of vegeta: a time in nanoseconds, a code, a latency"
				}
			}
			return ""
		},
	}
)

// vegetaNumbers are the numbers of requests, of which none is missing unless lines are.
type vegetaNumbers struct{ n, low, high int64 }

func (v *vegetaNumbers) note(text []byte) {
	number, ok := integer(text)
	if !ok {
		return
	}
	if v.n == 0 {
		v.low, v.high = number, number
	}
	v.n++
	v.low, v.high = min(v.low, number), max(v.high, number)
}

func (v *vegetaNumbers) sampled() string {
	if of := float64(v.high) - float64(v.low) + 1; v.n >= 100 && float64(v.n) < .9*of {
		return fmt.Sprintf("%d of %.0f numbers of requests (seq) are there", v.n, of)
	}
	return ""
}

type vegetaJSONParser struct {
	vegetaNumbers
	members []member
}

func (p *vegetaJSONParser) parse(line []byte, to []entry) ([]entry, error) {
	var err error
	if p.members, err = members(line, p.members[:0]); err != nil {
		return to, err
	}
	var when, took, code, failure []byte
	for i := range p.members {
		switch m := &p.members[i]; string(m.name) {
		case "timestamp":
			when = m.text()
		case "latency":
			took = m.value
		case "code":
			code = m.value
		case "error":
			failure = m.text()
		case "seq":
			p.note(m.value)
		}
	}
	start, ok := timestamp(when)
	if !ok {
		return to, problem("the timestamp is not one of RFC 3339")
	}
	return vegetaEntry(to, start, took, code, failure)
}

type vegetaCSVParser struct {
	quotes
	vegetaNumbers
	fields [][]byte
}

func (p *vegetaCSVParser) parse(line []byte, to []entry) ([]entry, error) {
	fields, ok := split(line, ',', p.fields[:0])
	p.fields = fields
	if !ok || len(fields) < 6 {
		return to, problem("the line does not have the columns of vegeta")
	}
	if len(fields) > 8 {
		p.note(fields[8])
	}
	start, ok := integer(fields[0])
	if !ok {
		return to, problem("the time is not a number of nanoseconds")
	}
	return vegetaEntry(to, start, fields[2], fields[1], fields[5])
}

func vegetaEntry(to []entry, start int64, latency, code, failure []byte) ([]entry, error) {
	took, ok := integer(latency)
	if !ok {
		return to, problem("the latency is not a number of nanoseconds")
	}
	answer, ok := status(code)
	if !ok {
		return to, problem("the code is not a status")
	}
	e := entryAt(start, start, took)
	if e.http(answer); answer == 0 {
		e.unanswered(failure)
	} else if !e.Failed && !bytes.HasPrefix(failure, code) && len(failure) > 0 {
		e.unanswered(failure) // there was a status, and then the body was cut short
	}
	return append(to, e), nil
}

// unanswered judges a request without an answer by what a client has said of it.
func (r *Record) unanswered(failure []byte) {
	text := bytes.ToLower(failure[:min(len(failure), 4096)])
	for _, word := range []string{"timeout", "timed out", "deadline"} {
		if bytes.Contains(text, []byte(word)) {
			r.cut(kindTimeout)
			return
		}
	}
	if bytes.Contains(text, []byte("cancel")) {
		r.cut(kindCanceled)
		return
	}
	r.fail(kindConnection)
}
