package logs

import "bytes"

// quotes is for the parsers of CSV: a line with an odd number of quotes goes on in the next one.
type quotes struct{}

func (quotes) unmatched(line []byte) bool { return bytes.Count(line, []byte(`"`))%2 == 1 }

// split appends the fields of a line of CSV. It reports whether quotes are in order.
func split(line []byte, separator byte, to [][]byte) ([][]byte, bool) {
	for {
		if len(line) > 0 && line[0] == '"' {
			var field []byte
			whole := false // nothing had to be copied
			rest := line[1:]
			for {
				end := bytes.IndexByte(rest, '"')
				if end < 0 {
					return to, false
				}
				if end+1 < len(rest) && rest[end+1] == '"' {
					field = append(field, rest[:end+1]...)
					rest, whole = rest[end+2:], true
					continue
				}
				if whole {
					field = append(field, rest[:end]...)
				} else {
					field = rest[:end]
				}
				line = rest[end+1:]
				break
			}
			to = append(to, field)
			if len(line) == 0 {
				return to, true
			}
			if line[0] != separator {
				return to, false
			}
			line = line[1:]
			continue
		}
		end := bytes.IndexByte(line, separator)
		if end < 0 {
			return append(to, line), true
		}
		to, line = append(to, line[:end]), line[end+1:]
	}
}

// columns are where the fields of a CSV file are, by the names in its header.
type columns struct {
	names  []string
	header []byte
	at     []int // of names; -1: not there
	most   int   // fields that a line must have
}

// read takes the header. It reports whether the first n names are in it.
func (c *columns) read(line []byte, separator byte, n int) bool {
	fields, ok := split(line, separator, nil)
	if !ok {
		return false
	}
	c.at, c.most = c.at[:0], 0
	for i, name := range c.names {
		c.at = append(c.at, -1)
		for j, field := range fields {
			if string(bytes.TrimSpace(field)) == name {
				c.at[i] = j
				if i < n {
					c.most = max(c.most, j+1)
				}
				break
			}
		}
		if i < n && c.at[i] < 0 {
			return false
		}
	}
	c.header = append(c.header[:0], line...)
	return true
}

// of returns a field by the place of its name, nil where the line has none.
func (c *columns) of(fields [][]byte, name int) []byte {
	if at := c.at[name]; at >= 0 && at < len(fields) {
		return fields[at]
	}
	return nil
}
