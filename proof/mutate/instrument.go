package main

import (
	"fmt"
	"go/ast"
	"strings"
)

// activeFile is added to a package with mutants. Which mutant is active is read once, before anything else.
const activeFile = `package %s

import (
	"os"
	"strconv"
)

var mutantActive = func() int {
	number, _ := strconv.Atoi(os.Getenv(%q))
	return number
}()
`

// activeVariable is the environment variable that chooses the mutant.
const activeVariable = "RESILIENCE_MUTANT"

// instrument returns the text of a file in which every function first asks whether one of its mutants is active, and
// calls that instead; and for each line that was added the mutant that it belongs to.
func (s *source) instrument(dropped map[*mutant]bool) (text string, owner map[int]*mutant) {
	var head, tail strings.Builder
	var copies []*mutant
	var lines []int // of the copies
	written := 0
	for _, f := range s.functions {
		var choices strings.Builder
		signature := s.signature(f.decl)
		for _, m := range f.mutants {
			if dropped[m] {
				continue
			}
			fmt.Fprintf(&choices, " case %d: %s;", m.number, signature.call(m.number))
			copied := "\n" + signature.head(m.number) + " " + s.mutated(f.decl, m) + "\n"
			tail.WriteString(copied)
			copies, lines = append(copies, m), append(lines, strings.Count(copied, "\n"))
		}
		start, body := s.offset(f.decl.Pos()), s.offset(f.decl.Body.Lbrace)+1
		head.WriteString(s.text[written:start])
		if choices.Len() == 0 {
			head.WriteString(s.text[start:body])
		} else {
			head.WriteString(signature.text + " { switch mutantActive {" + choices.String() + " };")
		}
		written = body
	}
	head.WriteString(s.text[written:])
	owner = make(map[int]*mutant)
	line := strings.Count(head.String(), "\n") + 1
	for i, m := range copies {
		for range lines[i] {
			owner[line] = m
			line++
		}
	}
	return head.String() + tail.String(), owner
}

// mutated returns the body of a function with one change.
func (s *source) mutated(decl *ast.FuncDecl, m *mutant) string {
	start, end := s.offset(decl.Body.Pos()), s.offset(decl.Body.End())
	return s.text[start:m.edit.start] + m.edit.with + s.text[m.edit.end:end]
}

// signature is a function's head with a name for each parameter.
type signature struct {
	text     string // the whole head
	receiver string // "(b *Breaker) " or ""
	prefix   string // "b." or ""
	name     string
	types    string // "[T any]" or ""
	typeArgs string // "[T]" or ""
	params   string // "(ctx context.Context, p1 int)"
	args     string // "(ctx, p1)"
	results  string
	returns  bool
}

func (s *source) signature(decl *ast.FuncDecl) signature {
	g := signature{name: decl.Name.Name, returns: decl.Type.Results != nil && len(decl.Type.Results.List) > 0}
	if decl.Recv != nil {
		params, args := s.params(decl.Recv, "receiver")
		g.receiver = "(" + params + ") "
		g.prefix = args + "."
	}
	if types := decl.Type.TypeParams; types != nil {
		g.types = s.textOf(types)
		_, args := s.params(types, "unused")
		g.typeArgs = "[" + args + "]"
	}
	params, args := s.params(decl.Type.Params, "parameter")
	g.params, g.args = "("+params+")", "("+args+")"
	if g.returns {
		g.results = " " + s.textOf(decl.Type.Results)
	}
	g.text = "func " + g.receiver + g.name + g.types + g.params + g.results
	return g
}

// params returns a list of parameters in which each has a name, and the list of the names.
func (s *source) params(fields *ast.FieldList, otherwise string) (params, args string) {
	var ps, as []string
	for _, field := range fields.List {
		names := make([]string, max(1, len(field.Names)))
		for i := range names {
			names[i] = fmt.Sprintf("%s%d", otherwise, len(as))
			if i < len(field.Names) && field.Names[i].Name != "_" {
				names[i] = field.Names[i].Name
			}
			arg := names[i]
			if _, variadic := field.Type.(*ast.Ellipsis); variadic {
				arg += "..."
			}
			as = append(as, arg)
			ps = append(ps, names[i]+" "+s.textOf(field.Type))
		}
	}
	return strings.Join(ps, ", "), strings.Join(as, ", ")
}

func (g signature) mutantName(number int) string { return fmt.Sprintf("%s_mutant%d", g.name, number) }

func (g signature) head(number int) string {
	return "func " + g.receiver + g.mutantName(number) + g.types + g.params + g.results
}

func (g signature) call(number int) string {
	call := g.prefix + g.mutantName(number) + g.typeArgs + g.args
	if g.returns {
		return "return " + call
	}
	return call + "; return"
}
