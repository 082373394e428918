package policyslog

import (
	"encoding/json"
	"strconv"
	"time"
)

// appendLine appends what json.Marshal makes of a line, at a fraction of its cost: the row "record" of BenchmarkCall is what
// this is for.
func appendLine(b []byte, l *Line) []byte {
	b = append(b, `{"version":`...)
	b = strconv.AppendInt(b, int64(l.Version), 10)
	b = append(appendString(append(b, `,"kind":`...), l.Kind), `,"time":"`...)
	b = append(l.Time.AppendFormat(b, time.RFC3339Nano), `","start":`...)
	b = appendSeconds(b, l.Start)
	text := func(key, value string) {
		if value != "" {
			b = appendString(append(b, key...), value)
		}
	}
	number := func(key string, n uint64) {
		if n != 0 {
			b = strconv.AppendUint(append(b, key...), n, 10)
		}
	}
	seconds := func(key string, s Seconds) {
		if s != 0 {
			b = appendSeconds(append(b, key...), s)
		}
	}
	text(`,"pipeline":`, l.Pipeline)
	text(`,"key":`, l.Key)
	number(`,"call":`, l.Call)
	number(`,"attempt":`, uint64(l.Attempt))
	number(`,"hedge":`, uint64(l.Hedge))
	seconds(`,"elapsed":`, l.Elapsed)
	seconds(`,"queued":`, l.Queued)
	seconds(`,"wait":`, l.Wait)
	text(`,"outcome":`, l.Outcome)
	text(`,"class":`, l.Class)
	text(`,"code":`, l.Code)
	text(`,"cut":`, l.Cut)
	number(`,"lost":`, l.Lost)
	return append(b, '}')
}

// appendString appends a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // cannot fail for a string
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// appendSeconds appends a decimal number of seconds.
func appendSeconds(b []byte, s Seconds) []byte {
	whole, fraction := int64(s)/1e9, int64(s)%1e9
	if fraction < 0 {
		fraction = -fraction
		if whole == 0 {
			b = append(b, '-')
		}
	}
	b = strconv.AppendInt(b, whole, 10)
	if fraction == 0 {
		return b
	}
	b = append(b, '.')
	for digit := int64(1e8); fraction > 0; digit /= 10 {
		b = append(b, byte('0'+fraction/digit))
		fraction %= digit
	}
	return b
}
