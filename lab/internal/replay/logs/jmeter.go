package logs

import (
	"bytes"
	"html"
	"time"
)

// jmeterCSV and jmeterXML are the JTL files of JMeter. The time is that of the beginning, as JMeter's own jmeter.properties
// sets it (sampleresult.timestamp.start), and the elapsed time is in milliseconds. CSV needs its header; a delimiter other than
// the comma is read.
//
// A response code of HTTP is judged as everywhere, so an answer of 404 is one although JMeter calls it an error. success is
// false for it and for an answer that an assertion did not like: that is a failure without a kind. A code that is no number
// says which exception there was.
//
// The line of a transaction controller is a sum of lines that are there too, and is left out. In XML a sample inside of a
// sample of HTTP is part of it, such as a redirect.
var (
	jmeterCSV = &format{
		name: "jmeter-csv",
		new:  func() parser { return &jmeterCSVParser{columns: columns{names: jmeterColumns}} },
		looks: func(line []byte, _ []member) string {
			if _, ok := jmeterHeader(line); ok {
				return "is a header with timeStamp and elapsed"
			}
			return ""
		},
	}
	jmeterXML = &format{
		name: "jmeter-xml",
		new:  func() parser { return &jmeterXMLParser{} },
		looks: func(line []byte, _ []member) string {
			if bytes.Contains(line[:min(len(line), 4096)], []byte("<testResults")) {
				return "has <testResults"
			}
			return ""
		},
	}
	jmeterColumns = []string{"timeStamp", "elapsed", "responseCode", "responseMessage", "success"}
)

// jmeterHeader finds the delimiter of a header.
func jmeterHeader(line []byte) (delimiter byte, ok bool) {
	if !bytes.HasPrefix(line, []byte("timeStamp")) || len(line) < 20 {
		return 0, false
	}
	delimiter = line[len("timeStamp")]
	c := columns{names: jmeterColumns}
	return delimiter, c.read(line, delimiter, 2)
}

type jmeterCSVParser struct {
	quotes
	columns
	tally
	delimiter byte
	fields    [][]byte
}

func (p *jmeterCSVParser) parse(line []byte, to []entry) ([]entry, error) {
	if p.header == nil || bytes.Equal(line, p.header) {
		var ok bool
		if p.delimiter, ok = jmeterHeader(line); !ok {
			return to, problem("the header has no timeStamp and elapsed")
		}
		p.read(line, p.delimiter, 2)
		return to, nil
	}
	fields, ok := split(line, p.delimiter, p.fields[:0])
	p.fields = fields
	if !ok || len(fields) < p.most {
		return to, problem("the line does not have the fields of the header")
	}
	if success := p.of(fields, 4); success != nil && !isTruth(success) {
		return to, problem("success is neither true nor false")
	}
	e, err := jmeterEntry(p.of(fields, 0), p.of(fields, 1), p.of(fields, 2), p.of(fields, 4))
	if err != nil {
		return to, err
	}
	if isTransaction(p.of(fields, 3)) {
		p.transaction()
		return to, nil
	}
	return append(to, e), nil
}

func isTruth(text []byte) bool {
	return bytes.EqualFold(text, []byte("true")) || bytes.EqualFold(text, []byte("false"))
}

func isTransaction(message []byte) bool {
	return bytes.HasPrefix(message, []byte("Number of samples in transaction"))
}

func (t *tally) transaction() {
	t.add("sum of a transaction is left out", "sums of transactions are left out")
}

// jmeterEntry returns what a sample says.
func jmeterEntry(stamp, elapsed, code, success []byte) (entry, error) {
	start, ok := integer(stamp)
	switch {
	case ok && (len(stamp) == 12 || len(stamp) == 13):
		start *= 1e6
	default:
		start, ok = jmeterTime(stamp)
	}
	if !ok {
		return entry{}, problem("timeStamp is not a time")
	}
	took, ok := integer(elapsed)
	if !ok || took > int64(longest/time.Millisecond) {
		return entry{}, problem("elapsed is not a number of milliseconds")
	}
	e := entryAt(start, start, took*1e6)
	answer, ok := status(code)
	e.http(answer)
	switch {
	case !bytes.EqualFold(success, []byte("false")):
		// A test may call a failure a success, such as a 500 it has asked for: the server's answer was one all the same.
	case !ok: // "Non HTTP response code: java.net.SocketTimeoutException"
		e.Status = 0
		e.unanswered(code)
	case answer < 400:
		e.fail("")
	}
	return e, nil
}

// jmeterTime reads the dates that jmeter.save.saveservice.timestamp_format may set, taken for UTC.
func jmeterTime(text []byte) (int64, bool) {
	if t, ok := timestamp(text); ok {
		return t, true
	}
	if len(text) > 40 {
		return 0, false
	}
	for _, layout := range []string{"2006/01/02 15:04:05.999", "2006-01-02 15:04:05.999", "2006-01-02T15:04:05.999"} {
		if t, err := time.Parse(layout, string(text)); err == nil && t.Year() > 1970 && t.Year() < 2200 {
			return t.UnixNano(), true
		}
	}
	return 0, false
}

// jmeterXMLParser reads line by line, since that is how JMeter writes: each sample begins a line and has all its attributes on
// it. Between the beginning of a sample and its end are its parts.
type jmeterXMLParser struct {
	tally
	depth   int // samples that are open
	ignored int // the depth from which on samples are parts of one that was read; 0: none
	held    entry
	holds   bool // a sample that is one only if it has no sample of HTTP in it
}

func (p *jmeterXMLParser) parse(line []byte, to []entry) ([]entry, error) {
	line = bytes.TrimLeft(line, " \t")
	http := bytes.HasPrefix(line, []byte("<httpSample "))
	switch {
	case http, bytes.HasPrefix(line, []byte("<sample ")):
	case bytes.HasPrefix(line, []byte("</httpSample>")), bytes.HasPrefix(line, []byte("</sample>")):
		return p.close(to), nil
	default:
		if bytes.Contains(line[:min(len(line), 4096)], []byte("<httpSample ")) {
			return to, problem("a sample does not begin its line")
		}
		return to, nil
	}
	attributes := line[bytes.IndexByte(line, ' '):]
	var ts, t, rc, rm, s []byte
	closed := false
	for {
		attributes = bytes.TrimLeft(attributes, " ")
		if bytes.HasPrefix(attributes, []byte("/>")) {
			closed = true
			break
		}
		if bytes.HasPrefix(attributes, []byte(">")) {
			// What follows on this line may be the end of the sample, after its parts.
			rest := bytes.TrimRight(attributes, " ")
			closed = bytes.HasSuffix(rest, []byte("</httpSample>")) || bytes.HasSuffix(rest, []byte("</sample>"))
			break
		}
		name, rest, found := bytes.Cut(attributes, []byte(`="`))
		end := bytes.IndexByte(rest, '"')
		if !found || end < 0 {
			return to, problem("the attributes of a sample are not closed on its line")
		}
		value := rest[:end]
		attributes = rest[end+1:]
		switch string(name) {
		case "ts":
			ts = value
		case "t":
			t = value
		case "rc":
			rc = unescape(value)
		case "rm":
			rm = unescape(value)
		case "s":
			s = value
		}
	}
	if !closed {
		p.depth++
	}
	if p.ignored > 0 { // a part of a sample that was read
		return to, nil
	}
	e, err := jmeterEntry(ts, t, rc, s)
	if err != nil {
		return to, err
	}
	switch {
	case http:
		p.holds = false
		to = append(to, e)
		if !closed {
			p.ignored = p.depth
		}
	case isTransaction(rm):
		p.transaction()
	case closed:
		p.holds = false
		to = append(to, e)
	default:
		if p.holds { // the outer one is a sum
			p.transaction()
		}
		p.held, p.holds = e, true
	}
	return to, nil
}

// close ends a sample.
func (p *jmeterXMLParser) close(to []entry) []entry {
	if p.depth > 0 {
		p.depth--
	}
	if p.depth < p.ignored {
		p.ignored = 0
	}
	if p.holds {
		to = append(to, p.held)
		p.holds = false
	}
	return to
}

func unescape(value []byte) []byte {
	if bytes.IndexByte(value, '&') < 0 {
		return value
	}
	return []byte(html.UnescapeString(string(value)))
}
