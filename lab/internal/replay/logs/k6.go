package logs

import (
	"bytes"
	"time"
)

// k6CSV and k6JSON are what k6 run --out csv and --out json write: a line for each number of each request, of which
// http_req_duration (and grpc_req_duration) is read, in milliseconds: sending, waiting and receiving, without the connection.
// The time is that of the end of the request.
//
// CSV has whole seconds unless K6_CSV_TIME_FORMAT says unix_milli or finer; RFC 3339 is read too. A status of 0 is a request
// without an answer, whose error_code says why: 1050 and 1211 are timeouts. Redirects are requests of their own.
var (
	k6CSV = &format{
		name: "k6-csv",
		new:  func() parser { return &k6CSVParser{columns: columns{names: k6Columns}} },
		looks: func(line []byte, _ []member) string {
			if bytes.HasPrefix(line, []byte("metric_name,timestamp,metric_value,")) {
				return "is the header metric_name,timestamp,metric_value"
			}
			return ""
		},
		loose: time.Minute, // numbers are written in batches
	}
	k6JSON = &format{
		name: "k6-json",
		new:  func() parser { return &k6JSONParser{} },
		looks: func(_ []byte, list []member) string {
			if has(list, "metric", "type", "data") {
				return "is JSON with metric, type and data"
			}
			return ""
		},
		loose: time.Minute,
	}
	k6Columns = []string{"metric_name", "timestamp", "metric_value", "status", "error_code"}
)

type k6CSVParser struct {
	quotes
	columns
	fields [][]byte
}

func (p *k6CSVParser) parse(line []byte, to []entry) ([]entry, error) {
	if p.header == nil || bytes.Equal(line, p.header) {
		if !p.read(line, ',', 3) {
			return to, problem("the header has no metric_name, timestamp and metric_value")
		}
		return to, nil
	}
	fields, ok := split(line, ',', p.fields[:0])
	p.fields = fields
	if !ok || len(fields) < p.most {
		return to, problem("the line does not have the fields of the header")
	}
	metric := p.of(fields, 0)
	text := p.of(fields, 1)
	end, ok := integer(text)
	switch {
	case !ok:
		end, ok = timestamp(text)
	case len(text) <= 10:
		end *= 1e9
	case len(text) <= 13:
		end *= 1e6
	case len(text) <= 16:
		end *= 1e3
	}
	if !ok {
		return to, problem("the timestamp is not a time")
	}
	return k6Entry(to, metric, end, p.of(fields, 2), p.of(fields, 3), p.of(fields, 4))
}

// k6Entry appends what a line of k6 says.
func k6Entry(to []entry, metric []byte, end int64, value, code, failure []byte) ([]entry, error) {
	grpc := string(metric) == "grpc_req_duration"
	if !grpc && string(metric) != "http_req_duration" {
		return to, nil
	}
	took, ok := decimal(value, time.Millisecond)
	if !ok {
		return to, problem("the value is not a number of milliseconds")
	}
	e := entryAt(end, end-took, took)
	if grpc {
		answer, ok := grpcCode(code)
		if !ok {
			return to, problem("the status is not one of gRPC")
		}
		e.grpc(answer)
		return append(to, e), nil
	}
	answer, ok := status(code)
	if !ok {
		return to, problem("the status is not one of HTTP")
	}
	e.http(answer)
	switch number, _ := integer(failure); {
	case number == 1050 || number == 1211:
		e.cut(kindTimeout)
	case number == 1020:
		e.fail("") // there was no request
	case answer == 0:
		e.fail(kindConnection)
	case number >= 1600 && !e.Failed: // HTTP/2, or an answer that could not be unpacked
		e.fail(kindConnection)
	}
	return append(to, e), nil
}

type k6JSONParser struct{ members, data, tags []member }

func (p *k6JSONParser) parse(line []byte, to []entry) ([]entry, error) {
	var err error
	if p.members, err = members(line, p.members[:0]); err != nil {
		return to, err
	}
	var metric, kind, data, tags, when, value, code, failure []byte
	for i := range p.members {
		switch m := &p.members[i]; string(m.name) {
		case "metric":
			metric = m.text()
		case "type":
			kind = m.text()
		case "data":
			data = m.value
		}
	}
	if len(metric) == 0 || len(data) == 0 {
		return to, problem("there is no metric, or no data")
	}
	if string(kind) != "Point" || string(metric) != "http_req_duration" && string(metric) != "grpc_req_duration" {
		return to, nil
	}
	if p.data, err = members(data, p.data[:0]); err != nil {
		return to, problem("data is not an object")
	}
	for i := range p.data {
		switch m := &p.data[i]; string(m.name) {
		case "time":
			when = m.text()
		case "value":
			value = m.value
		case "tags":
			tags = m.value
		}
	}
	if len(tags) > 0 && tags[0] == '{' {
		if p.tags, err = members(tags, p.tags[:0]); err != nil {
			return to, problem("tags are not an object")
		}
		for i := range p.tags {
			switch m := &p.tags[i]; string(m.name) {
			case "status":
				code = m.text()
			case "error_code":
				failure = m.text()
			}
		}
	}
	end, ok := timestamp(when)
	if !ok {
		return to, problem("the time is not one of RFC 3339")
	}
	return k6Entry(to, metric, end, value, code, failure)
}
