// Package oneline prints what comes from outside on one line of bounded length, for the texts of errors.
package oneline

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// most bounds the text of one error, in bytes: enough for any message that a person reads.
const most = 500

// breaks are the characters at which a terminal, a log or a browser begins a new line.
const breaks = "\n\r\v\f\u0085\u2028\u2029"

// Of returns the text of err on one line: lines are joined with "; ", what is longer than 500 bytes ends with "…". It
// does not panic when the Error method of err does.
func Of(err error) string {
	text := fmt.Sprint(err) // which recovers, and prints a nil pointer as <nil>
	if strings.ContainsAny(text, breaks) {
		lines := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(breaks, r) })
		text = strings.Join(lines, "; ")
	}
	if len(text) <= most {
		return text
	}
	end := most - len("…")
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
