package policystatus

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-resilience/resilience/policy"
)

// clean returns text without control characters, on one line, with at most n bytes: names and reasons come from outside.
func clean(text string, n int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '\uFFFD'
		}
		return r
	}, text[:min(len(text), 2*n)])
	text = strings.TrimSpace(text)
	if len(text) <= n {
		return text
	}
	end := n - len("…")
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// mostName bounds the names that the page shows, and mostText its texts, in bytes.
const (
	mostName = 200
	mostText = 500
)

// errorText returns the text of an error on one line of bounded length. It does not panic when the Error method does.
func errorText(err error) string {
	text := fmt.Sprint(err) // which recovers
	return clean(strings.ReplaceAll(text[:min(len(text), 2*mostText)], "\n", "; "), mostText)
}

// cut returns the beginning of a name, without cleaning it.
func cut(name string) string { return name[:min(len(name), mostName)] }

// layerName returns how sentences call a layer, such as: breaker "users".
func layerName(kind, name string) string {
	switch {
	case kind == "":
		return "a policy"
	case name == "":
		return kind
	}
	return kind + ` "` + name + `"`
}

// capital returns text with its first letter in upper case.
func capital(text string) string {
	r, size := utf8.DecodeRuneInString(text)
	if size == 0 {
		return ""
	}
	return string(unicode.ToUpper(r)) + text[size:]
}

// clock returns a time of day, with the date when it is not that of now.
func clock(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05 UTC")
	}
	return t.Format("2006-01-02 15:04:05 UTC")
}

// span returns a duration as people say it, in one or two units.
func span(d time.Duration) string {
	switch d = max(0, d); {
	case d < 10*time.Second && d%time.Second != 0:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return units(d, time.Minute, "min", time.Second, "s")
	case d < 24*time.Hour:
		return units(d, time.Hour, "h", time.Minute, "min")
	}
	return units(d, 24*time.Hour, "d", time.Hour, "h")
}

func units(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	text := fmt.Sprintf("%d %s", d/large, largeName)
	if rest := d % large / small; rest > 0 {
		text += fmt.Sprintf(" %d %s", rest, smallName)
	}
	return text
}

// number returns a value in its unit.
func number(n float64, unit string) string {
	switch {
	case math.IsNaN(n):
		return "not a number"
	case math.IsInf(n, 0):
		return "no limit"
	case unit == policy.UnitRatio:
		return strconv.FormatFloat(100*n, 'g', 3, 64) + " %"
	case unit == policy.UnitSeconds:
		if math.Abs(n) < 1 {
			return time.Duration(n * float64(time.Second)).Round(10 * time.Microsecond).String()
		}
		return strconv.FormatFloat(n, 'f', -1, 64) + " s"
	case n == math.Trunc(n) && math.Abs(n) < 1e15:
		return grouped(int64(n))
	}
	return strconv.FormatFloat(n, 'f', 1, 64)
}

// grouped returns n with commas between thousands.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(text) - 3; i > start; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// words returns a name in snake case as words.
func words(name string) string { return clean(strings.ReplaceAll(name, "_", " "), mostName) }

// plural returns "1 call", "2 calls".
func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return grouped(int64(min(n, math.MaxInt64))) + " " + many
}

// setting returns an option as it is written in Go.
func setting(s policy.Setting) string {
	name := clean(s.Name, mostName)
	if s.Code {
		return name + "(…)"
	}
	args := make([]string, len(s.Args))
	for i, arg := range s.Args {
		switch value := arg.Value.(type) {
		case string:
			args[i] = strconv.Quote(clean(value, mostName))
		case time.Duration:
			args[i] = value.String()
		default:
			args[i] = fmt.Sprint(value)
		}
	}
	return name + "(" + strings.Join(args, ", ") + ")"
}
