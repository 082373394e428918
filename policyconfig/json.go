package policyconfig

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// The bounds of a file. They are far above what a configuration needs, and limit what a hostile one can cost.
const (
	// MaxSize is the largest size of a file in bytes.
	MaxSize = 1 << 20

	maxDepth  = 24      // of objects and arrays in each other
	maxNumber = 40      // characters of a number
	maxFound  = 100     // problems that are listed
	maxNames  = 1000    // pipelines, policies and budgets of a file, each
	maxName   = 200     // bytes of a name
	maxList   = 100     // layers of a pipeline, and names in a list
	maxShown  = 60      // characters of a value that a message quotes
	maxNodes  = 100_000 // values of a file, those that are inherited counted each time
	maxWindow = 5e6     // calls and buckets of all windows, of which each costs at most 32 bytes
)

// place is where something stands: in a file, or in an environment variable.
type place struct {
	line, column int    // from 1; columns count characters; 0 outside of the file
	variable     string // the environment variable, if it is one
}

// kindOf says what a node is, in the words of messages.
type kindOf string

const (
	object  kindOf = "an object"
	array   kindOf = "an array"
	text    kindOf = "a text"
	number  kindOf = "a number"
	boolean kindOf = "a boolean"
	null    kindOf = "null"
	setting kindOf = "a variable" // text of an environment variable, which is read as what is wanted
)

// node is a value of the file, and where it stands.
type node struct {
	kind    kindOf
	text    string // of a text, a number as it is written, a variable
	yes     bool   // of a boolean
	members []member
	items   []*node
	at      place
	pointer string // JSON pointer, RFC 6901
}

// member is a member of an object. Objects keep the order in which they are written.
type member struct {
	name  string
	at    place
	value *node
}

// get returns the value of a member, nil if there is none.
func (n *node) get(name string) *node {
	if n == nil {
		return nil
	}
	for i := range n.members {
		if n.members[i].name == name {
			return n.members[i].value
		}
	}
	return nil
}

// shown returns the value as a message quotes it.
func (n *node) shown() string {
	switch n.kind {
	case text, setting:
		return strconv.Quote(clip(n.text))
	case number:
		return clip(n.text)
	case boolean:
		return strconv.FormatBool(n.yes)
	}
	return string(n.kind)
}

// clip bounds what a message quotes.
func clip(s string) string {
	if utf8.RuneCountInString(s) <= maxShown {
		return s
	}
	return string([]rune(s)[:maxShown]) + "…"
}

// pointerTo returns the JSON pointer of a member or an item.
func pointerTo(parent, name string) string {
	return parent + "/" + pointerEscapes.Replace(name)
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// parser reads strict JSON, RFC 8259: no comments, no trailing commas, no duplicate names, no NaN, valid UTF-8, nothing
// after the value. What cannot be read ends it; duplicate names are noted, and the reading goes on.
type parser struct {
	data     string
	i        int
	line     int // of i
	start    int // of the line
	counted  int // characters of the line before the place that was asked for last
	until    int // that place
	nodes    int
	problems *problems
}

// stop ends the reading at the first text that is not JSON.
type stop struct{}

// parse returns the value that data holds, nil if it is not JSON.
func parse(data []byte, found *problems) (root *node) {
	p := &parser{data: string(data), line: 1, problems: found}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case stop:
			root = nil
		default:
			panic(r)
		}
	}()
	p.checkEncoding()
	p.space()
	if p.i == len(p.data) {
		p.fail("the file is empty")
	}
	root = p.value("", 0)
	p.space()
	if p.i < len(p.data) {
		p.fail("%s after the end of the configuration", p.next())
	}
	return root
}

func (p *parser) checkEncoding() {
	switch {
	case len(p.data) > MaxSize:
		p.fail("the file has more than %d bytes", MaxSize) // no more of it was read
	case strings.HasPrefix(p.data, "\xfe\xff"), strings.HasPrefix(p.data, "\xff\xfe"):
		p.fail("the file is UTF-16: must be UTF-8")
	case strings.HasPrefix(p.data, "\ufeff"):
		p.i, p.start = 3, 3 // the mark that some editors put before UTF-8
	}
}

// fail notes a problem where the parser is, and ends the reading.
func (p *parser) fail(format string, args ...any) {
	p.problems.syntax = true
	p.problems.add(p.here(), "", format, args...)
	panic(stop{})
}

// here returns where the parser is. It counts on from where it was asked last, so that a long line costs no more.
func (p *parser) here() place {
	if p.until < p.start || p.until > p.i {
		p.until, p.counted = min(p.start, p.i), 0
	}
	p.counted += utf8.RuneCountInString(p.data[p.until:p.i])
	p.until = p.i
	return place{line: p.line, column: p.counted + 1}
}

// next describes what stands where the parser is.
func (p *parser) next() string {
	if p.i >= len(p.data) {
		return "the end of the file"
	}
	r, size := utf8.DecodeRuneInString(p.data[p.i:])
	switch {
	case r == utf8.RuneError && size <= 1:
		return fmt.Sprintf("byte 0x%02x, which is not UTF-8,", p.data[p.i])
	case strings.HasPrefix(p.data[p.i:], "//"), strings.HasPrefix(p.data[p.i:], "/*"), r == '#':
		return "a comment, which JSON does not know,"
	}
	return strconv.QuoteRune(r)
}

func (p *parser) space() {
	for p.i < len(p.data) {
		switch p.data[p.i] {
		case '\n':
			p.line++
			p.start = p.i + 1
		case ' ', '\t', '\r':
		default:
			return
		}
		p.i++
	}
}

func (p *parser) value(pointer string, depth int) *node {
	if p.nodes++; p.nodes > maxNodes {
		p.fail("the file holds more than %d values", maxNodes)
	}
	n := &node{at: p.here(), pointer: pointer}
	if p.i == len(p.data) {
		p.fail("the file ends where a value must stand")
	}
	switch c := p.data[p.i]; {
	case c == '{':
		n.kind = object
		p.object(n, depth+1)
	case c == '[':
		n.kind = array
		p.array(n, depth+1)
	case c == '"':
		n.kind, n.text = text, p.string()
	case c == '-' || c >= '0' && c <= '9':
		n.kind, n.text = number, p.number()
	default:
		p.word(n)
	}
	return n
}

func (p *parser) word(n *node) {
	for _, word := range []struct {
		text string
		kind kindOf
	}{{"true", boolean}, {"false", boolean}, {"null", null}} {
		if strings.HasPrefix(p.data[p.i:], word.text) && !letterAt(p.data, p.i+len(word.text)) {
			n.kind, n.yes = word.kind, word.text == "true"
			p.i += len(word.text)
			return
		}
	}
	end := p.i
	for letterAt(p.data, end) {
		end++
	}
	if end > p.i {
		p.fail("%s: no such value in JSON; a text stands in quotation marks", clip(p.data[p.i:end]))
	}
	p.fail("%s where a value must stand", p.next())
}

func letterAt(s string, i int) bool {
	return i < len(s) && (s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z' || s[i] >= '0' && s[i] <= '9' || s[i] == '_')
}

func (p *parser) object(n *node, depth int) {
	p.descend(depth)
	seen := make(map[string]place)
	for first := true; !p.closed('}', first); first = false {
		if p.i == len(p.data) || p.data[p.i] != '"' {
			p.fail("%s where the name of a member must stand", p.next())
		}
		m := member{at: p.here()}
		m.name = p.string()
		p.space()
		if p.i == len(p.data) || p.data[p.i] != ':' {
			p.fail("%s where a colon must stand", p.next())
		}
		p.i++
		p.space()
		m.value = p.value(pointerTo(n.pointer, m.name), depth)
		if first, ok := seen[m.name]; ok {
			p.problems.add(m.at, m.value.pointer, "%q stands here twice: first in line %d", clip(m.name), first.line)
			continue
		}
		seen[m.name] = m.at
		n.members = append(n.members, m)
	}
}

func (p *parser) array(n *node, depth int) {
	p.descend(depth)
	for first := true; !p.closed(']', first); first = false {
		n.items = append(n.items, p.value(pointerTo(n.pointer, strconv.Itoa(len(n.items))), depth))
	}
}

func (p *parser) descend(depth int) {
	if depth > maxDepth {
		p.fail("more than %d objects and arrays in each other", maxDepth)
	}
	p.i++
}

// closed consumes what stands between the members of an object or array, and reports whether it has ended.
func (p *parser) closed(end byte, first bool) bool {
	p.space()
	if p.i < len(p.data) && p.data[p.i] == end {
		p.i++
		return true
	}
	if first {
		return false
	}
	if p.i == len(p.data) || p.data[p.i] != ',' {
		p.fail("%s where a comma or %q must stand", p.next(), end)
	}
	p.i++
	p.space()
	if p.i < len(p.data) && p.data[p.i] == end {
		p.fail("a comma before %q", end)
	}
	return false
}

func (p *parser) number() string {
	begin := p.i
	digits := func() {
		if p.i == len(p.data) || p.data[p.i] < '0' || p.data[p.i] > '9' {
			p.fail("%s where a digit must stand", p.next())
		}
		for p.i < len(p.data) && p.data[p.i] >= '0' && p.data[p.i] <= '9' {
			p.i++
		}
	}
	if p.data[p.i] == '-' {
		p.i++
	}
	if zero := p.i; true {
		digits()
		if p.data[zero] == '0' && p.i > zero+1 {
			p.i = zero
			p.fail("a number that begins with 0")
		}
	}
	if p.i < len(p.data) && p.data[p.i] == '.' {
		p.i++
		digits()
	}
	if p.i < len(p.data) && (p.data[p.i] == 'e' || p.data[p.i] == 'E') {
		p.i++
		if p.i < len(p.data) && (p.data[p.i] == '+' || p.data[p.i] == '-') {
			p.i++
		}
		digits()
	}
	if letterAt(p.data, p.i) {
		p.fail("%s after a number; a duration stands in quotation marks, as in \"250ms\"", p.next())
	}
	if p.i-begin > maxNumber {
		p.i = begin
		p.fail("a number of more than %d characters", maxNumber)
	}
	return p.data[begin:p.i]
}

func (p *parser) string() string {
	p.i++
	var b strings.Builder
	for {
		if p.i == len(p.data) {
			p.fail("the file ends inside a text")
		}
		switch c := p.data[p.i]; {
		case c == '"':
			p.i++
			return b.String()
		case c == '\\':
			b.WriteRune(p.escape())
		case c < 0x20:
			p.fail("a control character 0x%02x inside a text", c)
		default:
			r, size := utf8.DecodeRuneInString(p.data[p.i:])
			if r == utf8.RuneError && size == 1 {
				p.fail("%s inside a text", p.next())
			}
			b.WriteRune(r)
			p.i += size
		}
	}
}

func (p *parser) escape() rune {
	p.i++
	if p.i == len(p.data) {
		p.fail("the file ends inside a text")
	}
	c := p.data[p.i]
	if c == 'u' {
		r := p.hex()
		if !utf16.IsSurrogate(r) {
			return r
		}
		if strings.HasPrefix(p.data[p.i:], `\u`) {
			p.i++
			if pair := utf16.DecodeRune(r, p.hex()); pair != utf8.RuneError {
				return pair
			}
		}
		p.fail("half of a surrogate pair inside a text")
	}
	const escapes, meanings = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	at := strings.IndexByte(escapes, c)
	if at < 0 {
		p.fail("%s after a backslash", p.next())
	}
	p.i++
	return rune(meanings[at])
}

// hex reads the u of an escape and its four digits.
func (p *parser) hex() rune {
	p.i++
	if p.i+4 > len(p.data) {
		p.fail("the file ends inside a text")
	}
	v, err := strconv.ParseUint(p.data[p.i:p.i+4], 16, 16)
	if err != nil {
		p.fail("%q after \\u: must be four hexadecimal digits", p.data[p.i:p.i+4])
	}
	p.i += 4
	return rune(v)
}
