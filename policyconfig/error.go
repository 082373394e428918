package policyconfig

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Error lists everything that is wrong with a configuration, in the order of the file. Nothing of the configuration has
// taken effect.
type Error struct {
	File     string    // the path, "" for data that came from no file
	Problems []Problem // at least one, at most 100
	More     int       // how many further problems there are
}

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Line, Column int    // from 1; a column counts characters; 0 when it is not in a file
	Pointer      string // the JSON pointer (RFC 6901) of the value; "" for the whole file
	Variable     string // the environment variable that the value comes from, "" if it comes from the file
	Message      string // what is wrong, with the value, what is allowed, and the nearest name that exists
}

// Error returns every problem on a line of its own, each as in
//
//	pipelines.json:12:18: /pipelines/users/layers/1/openFor: "5": must be a duration with a unit, such as "5s"
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems)+1)
	for _, p := range e.Problems {
		lines = append(lines, e.line(p))
	}
	if e.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", e.More))
	}
	return "policyconfig: " + strings.Join(lines, "\n")
}

func (e *Error) line(p Problem) string {
	var b strings.Builder
	switch {
	case p.Variable != "":
		fmt.Fprintf(&b, "environment variable %s: ", shownPointer(p.Variable))
	case p.Line > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", cmp.Or(e.File, "configuration"), p.Line, p.Column)
	case e.File != "":
		b.WriteString(e.File + ": ")
	}
	if p.Pointer != "" {
		b.WriteString(shownPointer(p.Pointer) + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// shownPointer returns a pointer as a line has it: of what stands in the file, it shows neither control characters nor the
// whole of what is endless.
func shownPointer(pointer string) string {
	parts := strings.Split(pointer, "/")
	for i, part := range parts {
		if !isName(part) && part != "" {
			quoted := strconv.Quote(clip(part))
			parts[i] = quoted[1 : len(quoted)-1]
		}
	}
	return strings.Join(parts, "/")
}

// problems collects what is wrong.
type problems struct {
	list   []Problem
	more   int
	syntax bool // it is not JSON: the file may be half written
}

func (p *problems) add(at place, pointer, format string, args ...any) {
	if len(p.list) == maxFound {
		p.more++
		return
	}
	p.list = append(p.list, Problem{
		Line: at.line, Column: at.column, Pointer: pointer, Variable: at.variable, Message: fmt.Sprintf(format, args...),
	})
}

// at notes a problem of a value.
func (p *problems) at(n *node, format string, args ...any) { p.add(n.at, n.pointer, format, args...) }

func (p *problems) count() int { return len(p.list) + p.more }

// err returns the problems in the order of the file, nil if there are none.
func (p *problems) err(file string) error {
	if len(p.list) == 0 {
		return nil
	}
	list := slices.Clone(p.list)
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Variable, b.Variable))
	})
	return &Error{File: file, Problems: slices.Compact(list), More: p.more}
}

// nearest returns ", did you mean …?" for the known name that is nearest to one that is not, or the list of them when they
// are few, or nothing.
func nearest(name string, known []string) string {
	name = clip(name)
	best, distance := "", 1+max(2, len(name)/3)
	for _, candidate := range known {
		if apart := len(name) - len(candidate); max(apart, -apart) >= distance {
			continue
		}
		if d := editDistance(strings.ToLower(name), strings.ToLower(candidate)); d < distance {
			best, distance = candidate, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf(": did you mean %q?", best)
	case len(known) == 0:
		return ": there are none"
	case len(known) <= 8:
		known = slices.Sorted(slices.Values(known))
		return fmt.Sprintf(": must be one of %q", known)
	}
	return ""
}

// nearest is the function, as long as problems are listed: a hostile file costs no more.
func (p *problems) nearest(name string, known []string) string {
	if len(p.list) == maxFound {
		return ""
	}
	return nearest(name, known)
}

// editDistance is the number of characters to insert, delete, replace or swap with their neighbour (optimal string
// alignment).
func editDistance(a, b string) int {
	before, row, after := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		after[0] = i + 1
		for j := range len(b) {
			differ := 1
			if a[i] == b[j] {
				differ = 0
			}
			after[j+1] = min(row[j+1]+1, after[j]+1, row[j]+differ)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				after[j+1] = min(after[j+1], before[j-1]+1)
			}
		}
		before, row, after = row, after, before
	}
	return row[len(b)]
}
