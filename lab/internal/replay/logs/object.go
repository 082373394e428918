package logs

import (
	"bytes"
	"encoding/json"
)

// member is a member of a JSON object: its name, and its value as it stands there.
type member struct{ name, value []byte }

// text returns a value without quotes: that of a string, or of a number. null is "".
func (m *member) text() []byte {
	if len(m.value) > 0 && m.value[0] == '"' {
		return unquote(m.value)
	}
	if string(m.value) == "null" {
		return nil
	}
	return m.value
}

// members appends the members of the object that a line is, in their order. They are slices of the line. It takes what
// encoding/json takes, which at most lines does nothing but allocate.
func members(line []byte, list []member) ([]member, error) {
	s := scanner{text: line}
	s.space()
	if !s.take('{') {
		return list, errObject
	}
	s.space()
	if !s.take('}') {
		for {
			var m member
			s.space()
			name := s.value()
			s.space()
			if len(name) < 2 || name[0] != '"' || !s.take(':') {
				return list, errObject
			}
			m.name = unquote(name)
			s.space()
			if m.value = s.value(); m.value == nil {
				return list, errObject
			}
			list = append(list, m)
			s.space()
			if s.take(',') {
				continue
			}
			if !s.take('}') {
				return list, errObject
			}
			break
		}
	}
	if s.space(); s.at < len(s.text) {
		return list, errObject
	}
	return list, nil
}

var errObject = problem("not a JSON object")

type scanner struct {
	text []byte
	at   int
}

func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

func (s *scanner) take(c byte) bool {
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

// value returns the value that begins here, nil if there is none.
func (s *scanner) value() []byte {
	begin := s.at
	plain := false // nothing in it can be wrong
	if s.at == len(s.text) {
		return nil
	}
	switch s.text[s.at] {
	case '"':
		plain = s.str()
	case '{', '[':
		s.nested()
	default:
		plain = s.number()
	}
	text := s.text[begin:s.at]
	if !plain && !json.Valid(text) {
		return nil
	}
	return text
}

// str goes to the end of a string and reports whether it is one, without escapes.
func (s *scanner) str() bool {
	plain := true
	for s.at++; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return plain
		case c == '\\':
			plain = false
			s.at++
		case c < ' ':
			plain = false
		}
	}
	s.at = len(s.text)
	return false
}

// number goes to the end of a word, and reports whether it is a plain number.
func (s *scanner) number() bool {
	begin, points, other := s.at, 0, false
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case isDigit(c):
			continue
		case c == '.':
			points++
			continue
		case c == ',' || c == '}' || c == ']' || c == ':' || c == '"' || c == '{' || c == '[' || c <= ' ':
		default:
			other = true
			continue
		}
		break
	}
	word := s.text[begin:s.at]
	if other || points > 1 || len(word) == 0 || !isDigit(word[0]) || !isDigit(word[len(word)-1]) {
		return false
	}
	return word[0] != '0' || len(word) == 1 || word[1] == '.'
}

// nested goes to the end of an object or a list.
func (s *scanner) nested() {
	depth := 0
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case '"':
			s.str()
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				s.at++
				return
			}
		}
		s.at++
	}
}

// unquote returns what a JSON string says.
func unquote(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var text string
	_ = json.Unmarshal(quoted, &text) // it was found valid
	return []byte(text)
}
