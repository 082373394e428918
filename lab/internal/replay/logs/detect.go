package logs

import (
	"bytes"
	"slices"
	"time"
)

// format is one way in which a program writes its log.
type format struct {
	name string
	// looks says what of a line shows the format, "" for a line of another one. A line of JSON has members.
	looks func(line []byte, list []member) string
	new   func() parser
	peeks bool          // the parser wants to see more lines first
	exact bool          // times are exact to the nanosecond, whatever they look like
	loose time.Duration // by how much lines may be out of order; 0 is a second
}

// disorder returns by how much a line may end before the line above it without a clock that was set. Threads that write to
// one log, or batches, are no news.
func (f *format) disorder() time.Duration { return max(f.loose, time.Second) }

// formats are asked in this order.
var formats []*format

func init() { // which needs parsers, which name formats
	formats = []*format{
		recorderFormat, envoyJSON, nginxJSON, k6JSON, vegetaJSON, otelFormat,
		envoyText, nginxText, haproxyFormat, albFormat,
		k6CSV, jmeterCSV, jmeterXML, vegetaCSV,
	}
}

// recognize returns the format of a line, nil if there is none.
func recognize(line []byte, wanted string) (*format, string) {
	var list []member
	if bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("{")) {
		list, _ = members(line, nil)
	}
	for _, f := range formats {
		if family, _, _ := bytes.Cut([]byte(f.name), []byte("-")); wanted != "" && string(family) != wanted {
			continue
		}
		if why := f.looks(line, list); why != "" {
			return f, why
		}
	}
	return nil, ""
}

// refuse says why a line that is of a known kind cannot be read.
func refuse(line []byte) string {
	switch {
	case looksCombined(line):
		return "the combined format of nginx and Apache has no latency and only whole seconds: " +
			"log $msec and $request_time, see docs/replay.md (lines of another log_format are read with the format nginx:LOG_FORMAT)"
	case looksTCP(line):
		return "HAProxy's TCP log tells connections, not requests: set option httplog"
	case looksGob(line):
		return "vegeta's own encoding is for vegeta: run vegeta encode -to json"
	case looksHeadless(line):
		return "JMeter's CSV is read by the names of its columns: set jmeter.save.saveservice.print_field_names=true, or put the header " +
			"above the lines, such as timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success"
	case bytes.ContainsRune(line[:min(len(line), 512)], 0):
		return "the file is not text"
	}
	switch text := bytes.TrimSpace(line); {
	case string(text) == "{", string(text) == "[", bytes.HasPrefix(text, []byte("[{")):
		return "the JSON goes over several lines or is a list: one object on each line is read"
	}
	return ""
}

// looksHeadless knows a line of JMeter's CSV, of a file without a header.
func looksHeadless(line []byte) bool {
	if len(line) < 15 || !isInteger(line[:13]) || isDigit(line[13]) {
		return false
	}
	fields := bytes.Split(line[:min(len(line), 4096)], line[13:14])
	return len(fields) >= 8 && isInteger(fields[1])
}

// looksGob knows the beginning of what vegeta attack writes.
func looksGob(line []byte) bool {
	return bytes.Contains(line, []byte("Result")) && bytes.Contains(line, []byte("Attack")) && bytes.IndexByte(line, 0xff) >= 0
}

// has reports whether an object has all members named.
func has(list []member, names ...string) bool {
	for _, name := range names {
		if !slices.ContainsFunc(list, func(m member) bool { return string(m.name) == name }) {
			return false
		}
	}
	return true
}
