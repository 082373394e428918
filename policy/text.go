package policy

import (
	"fmt"
	"strings"
)

// How layers and errors are written in the texts, logs and JSON of this package.

// layerText returns what a layer says of itself.
func layerText(layer Layer) string {
	if layer == nil {
		return ""
	}
	if s, ok := layer.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", layer)
}

// errorText returns the text of an error, "" for nil. It does not panic when the error does.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprint(err)
}

// mostLine bounds the text of an error in a report, in bytes: reports are kept, and sent to whoever watches.
const mostLine = 500

// lineOf returns the text of an error on one line of bounded length, "" for nil.
func lineOf(err error) string {
	text := oneLine(errorText(err))
	if len(text) > mostLine {
		text = strings.ToValidUTF8(text[:mostLine-len("…")], "") + "…"
	}
	return text
}

// lineBreaks are the characters at which a terminal, a log or a browser begins a new line.
const lineBreaks = "\n\r\v\f\u0085\u2028\u2029"

// oneLine returns text with its lines joined by "; ".
func oneLine(text string) string {
	if !strings.ContainsAny(text, lineBreaks) {
		return text
	}
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(lineBreaks, r) }), "; ")
}
