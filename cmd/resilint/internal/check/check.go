// Package check is what the checks of resilint share: how a finding is reported, linked and ignored.
package check

import (
	"go/ast"
	"go/token"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// page is where every check is explained. Its anchors are the identifiers of the checks in lower case.
const page = "https://github.com/go-resilience/resilience/blob/main/docs/resilint.md#"

// A Check is one rule. ID is what findings are ignored by, besides the name of the analyzer.
type Check struct {
	ID    string // such as "RL1"
	Name  string // of the analyzer
	Doc   string // the first line says what is wrong
	Tests bool   // files of tests are looked at too
}

// Analyzer returns the check as an analyzer that runs run.
func (c Check) Analyzer(run func(*Pass) error, requires ...*analysis.Analyzer) *analysis.Analyzer {
	return &analysis.Analyzer{
		Name: c.Name, Doc: c.ID + ": " + c.Doc, URL: c.url(), Requires: requires,
		Run: func(pass *analysis.Pass) (any, error) {
			p := &Pass{Pass: pass, check: c, skipped: map[*token.File]bool{}}
			for _, file := range pass.Files {
				p.read(file)
			}
			return nil, run(p)
		},
	}
}

func (c Check) url() string { return page + strings.ToLower(c.ID) }

// Pass is one package that a check looks at.
type Pass struct {
	*analysis.Pass

	check   Check
	skipped map[*token.File]bool // generated, or of tests
	ignored []ignore
}

// ignore is a comment that takes findings of this check back.
type ignore struct {
	file   *token.File
	first  int // findings on these lines: that of the comment and the next one, or those of a function
	last   int
	used   bool
	reason string
	pos    token.Pos
}

// read looks whether a file is to be left alone, and for its comments.
func (p *Pass) read(file *ast.File) {
	tokens := p.Fset.File(file.FileStart)
	if ast.IsGenerated(file) || !p.check.Tests && strings.HasSuffix(tokens.Name(), "_test.go") {
		p.skipped[tokens] = true
		return
	}
	functions := map[*ast.CommentGroup]*ast.FuncDecl{}
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Doc != nil {
			functions[f.Doc] = f
		}
	}
	for _, group := range file.Comments {
		for _, comment := range group.List {
			checks, reason, ok := parseIgnore(comment.Text)
			if !ok || !p.named(checks) {
				continue
			}
			line := tokens.Line(comment.Pos())
			note := ignore{file: tokens, first: line, last: line + 1, reason: reason, pos: comment.Pos()}
			if f := functions[group]; f != nil {
				note.last = tokens.Line(f.End())
			}
			p.ignored = append(p.ignored, note)
		}
	}
}

// parseIgnore reads "//resilint:ignore RL1,RL2 reason".
func parseIgnore(text string) (checks []string, reason string, ok bool) {
	rest, ok := strings.CutPrefix(text, "//resilint:ignore")
	if !ok || rest != "" && !strings.HasPrefix(rest, " ") {
		return nil, "", false
	}
	rest, _, _ = strings.Cut(rest, "//") // a comment in the comment, as tests have
	list, reason, _ := strings.Cut(strings.TrimSpace(rest), " ")
	return strings.Split(list, ","), strings.TrimSpace(reason), true
}

func (p *Pass) named(checks []string) bool {
	for _, name := range checks {
		if strings.EqualFold(name, p.check.ID) || name == p.check.Name {
			return true
		}
	}
	return false
}

// Skips reports whether pos is in a file that the check leaves alone.
func (p *Pass) Skips(pos token.Pos) bool { return p.skipped[p.Fset.File(pos)] }

// Report reports a finding, unless it is ignored or in a file that the check leaves alone. An ignore without a reason is a
// finding of its own.
func (p *Pass) Report(d analysis.Diagnostic) {
	if p.Skips(d.Pos) {
		return
	}
	file := p.Fset.File(d.Pos)
	line := file.Line(d.Pos)
	for i := range p.ignored {
		note := &p.ignored[i]
		if note.file != file || line < note.first || line > note.last {
			continue
		}
		if note.reason != "" {
			return
		}
		if !note.used {
			note.used = true
			p.Pass.Report(analysis.Diagnostic{
				Pos: note.pos, Category: p.check.ID, URL: p.check.url(),
				Message: p.check.ID + ": an ignore needs a reason: //resilint:ignore " + p.check.ID + " why",
			})
		}
		return
	}
	d.Category, d.URL = p.check.ID, p.check.url()
	d.Message = p.check.ID + ": " + d.Message
	p.Pass.Report(d)
}

// Text returns the source of n.
func (p *Pass) Text(n ast.Node) string {
	file := p.Fset.File(n.Pos())
	content, err := p.ReadFile(file.Name())
	if err != nil || file.Offset(n.End()) > len(content) {
		return ""
	}
	return string(content[file.Offset(n.Pos()):file.Offset(n.End())])
}

// Indent returns the white space at the beginning of the line of pos.
func (p *Pass) Indent(pos token.Pos) string {
	file := p.Fset.File(pos)
	content, err := p.ReadFile(file.Name())
	start := file.Offset(file.LineStart(file.Line(pos)))
	if err != nil || start > len(content) {
		return ""
	}
	line := string(content[start:])
	return line[:len(line)-len(strings.TrimLeft(line, " \t"))]
}
