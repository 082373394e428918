package logs

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-resilience/resilience/policyslog"
)

// recorderFormat is what policyslog.Record writes. The time is that of the beginning, exact to the nanosecond. Lines of kind
// "attempt" are records; the others are "begin", "call" and "lost".
var recorderFormat = &format{
	name:  "recorder",
	exact: true,
	new:   func() parser { return &recorder{} },
	looks: func(_ []byte, list []member) string {
		if has(list, "version", "kind", "time", "start") {
			return "is JSON with version, kind, time and start"
		}
		return ""
	},
}

type recorder struct {
	members []member
	begins  int    // recordings in the file
	lost    uint64 // lines that the recorder could not write
	prefix  []byte // of the ids of calls
	id      []byte // room for one
	words   words
}

func (p *recorder) parse(line []byte, to []entry) ([]entry, error) {
	var err error
	if p.members, err = members(line, p.members[:0]); err != nil {
		return to, err
	}
	var (
		e                       entry
		kind, outcome, code, by []byte
		call                    []byte
		lost                    int64
		timed                   bool
	)
	for i := range p.members {
		m := &p.members[i]
		ok := true
		var n int64
		switch string(m.name) {
		case "version":
			if n, ok = integer(m.value); ok && n != policyslog.Version {
				return to, fmt.Errorf("version %d of recordings is not known, only %d", n, policyslog.Version)
			}
		case "kind":
			kind = m.text()
		case "time":
			e.stamp, timed = timestamp(m.text())
			e.Start = at(e.stamp)
		case "call":
			_, ok = integer(m.value)
			call = m.value
		case "attempt":
			n, ok = integer(m.value)
			e.Attempt = int(min(n, 1<<30))
		case "elapsed":
			n, ok = decimal(m.value, time.Second)
			e.Latency = time.Duration(n)
		case "queued":
			n, ok = decimal(m.value, time.Second)
			e.Queued = time.Duration(n)
		case "outcome":
			outcome = m.text()
		case "class":
			e.Class = p.words.of(m.text())
		case "code":
			code = m.text()
		case "cut":
			by = m.text()
		case "lost":
			lost, ok = integer(m.value)
		}
		if !ok {
			return to, fmt.Errorf("%.40q has the value %.40q", m.name, m.value)
		}
	}
	if !timed {
		return to, problem("there is no time")
	}
	switch string(kind) {
	case "begin":
		if p.begins++; p.begins > 1 {
			p.prefix = append(strconv.AppendInt(p.prefix[:0], int64(p.begins), 10), '/')
		}
		return to, nil
	case "call":
		return to, nil
	case "lost":
		p.lost += uint64(lost)
		return to, nil
	case "attempt":
	default:
		return to, fmt.Errorf("kind %.40q is not known", kind)
	}
	if len(call) > 0 && e.Attempt > 0 {
		e.Call = string(append(append(p.id[:0], p.prefix...), call...))
	}
	if err := p.judge(&e, outcome, code, by); err != nil {
		return to, err
	}
	return append(to, e), nil
}

// judge says how an attempt has ended.
func (p *recorder) judge(e *entry, outcome, code, by []byte) error {
	switch string(outcome) {
	case "succeeded", "expected":
		return nil
	case "rejected":
		e.fail(kindRejected)
		name, _, _ := bytes.Cut(code, []byte("."))
		e.Policy, e.Code = p.words.of(name), p.words.of(code)
		return nil
	case "canceled":
		e.cut(kindCanceled)
	case "failed", "panicked":
		e.fail("")
	default:
		return fmt.Errorf("outcome %.40q is not known", outcome)
	}
	e.Code = p.words.of(code)
	if len(by) > 0 {
		e.Code, e.Censored = p.words.of(by), true
	}
	switch {
	case e.Kind != "":
	case strings.HasPrefix(e.Code, "timeout."), strings.HasSuffix(e.Code, "deadline"):
		e.Kind = kindTimeout
	case e.Code == "canceled":
		e.Kind = kindCanceled
	case e.Class == "throttled":
		e.Kind = kindThrottled
	}
	return nil
}

func (p *recorder) warnings() []string {
	var list []string
	if p.lost > 0 {
		list = append(list, fmt.Sprintf("the recorder could not write %d lines: they are missing", p.lost))
	}
	if p.begins > 1 {
		list = append(list, fmt.Sprintf("the file has %d recordings; calls are told apart by them", p.begins))
	}
	return list
}

// words keeps one copy of each of the words that come again and again.
type words map[string]string

func (w *words) of(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	if word, ok := (*w)[string(text)]; ok {
		return word
	}
	if *w == nil || len(*w) > 1000 { // not words, then
		*w = words{}
	}
	word := string(text)
	(*w)[word] = word
	return word
}
