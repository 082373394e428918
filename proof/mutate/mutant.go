package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
)

// mutant is one small change of one function.
type mutant struct {
	number   int // within its package, from 1
	file     string
	line     int
	function string
	change   string // what is read in reports and in equivalent.txt: "a < b → <="
	edit     edit
}

// edit replaces the bytes from start to end of a file.
type edit struct {
	start, end int
	with       string
}

// function is a function declaration with its mutants.
type function struct {
	decl    *ast.FuncDecl
	mutants []*mutant
}

// source is a file that is to be mutated.
type source struct {
	path      string // relative to the tree
	text      string
	set       *token.FileSet
	functions []function
}

// parse reads a file and finds its mutants.
func parse(path, text string) (*source, error) {
	s := &source{path: path, text: text, set: token.NewFileSet()}
	file, err := parser.ParseFile(s.set, path, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, decl := range file.Decls {
		if decl, ok := decl.(*ast.FuncDecl); ok && decl.Body != nil && decl.Name.Name != "init" && decl.Name.Name != "main" {
			s.functions = append(s.functions, function{decl, s.mutantsOf(decl)})
		}
	}
	return s, nil
}

func (s *source) offset(p token.Pos) int { return s.set.Position(p).Offset }

func (s *source) textOf(n ast.Node) string { return s.text[s.offset(n.Pos()):s.offset(n.End())] }

// short is the text of a node on one line, for reports.
func (s *source) short(n ast.Node) string {
	text := strings.Join(strings.Fields(s.textOf(n)), " ")
	if runes := []rune(text); len(runes) > 60 {
		text = string(runes[:59]) + "…"
	}
	return text
}

// operators maps an operator to what it is mistaken for.
var operators = map[token.Token][]token.Token{
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL},
	token.LAND: {token.LOR}, token.LOR: {token.LAND},
	token.ADD: {token.SUB}, token.SUB: {token.ADD}, token.MUL: {token.QUO}, token.QUO: {token.MUL}, token.REM: {token.MUL},
	token.SHL: {token.SHR}, token.SHR: {token.SHL}, token.AND: {token.OR}, token.OR: {token.AND},
	token.ADD_ASSIGN: {token.SUB_ASSIGN}, token.SUB_ASSIGN: {token.ADD_ASSIGN},
	token.MUL_ASSIGN: {token.QUO_ASSIGN}, token.QUO_ASSIGN: {token.MUL_ASSIGN},
	token.INC: {token.DEC}, token.DEC: {token.INC},
}

// mutantsOf returns every change of a function that this tool knows. Some will not compile.
func (s *source) mutantsOf(decl *ast.FuncDecl) (found []*mutant) {
	times := make(map[string]int)
	add := func(at ast.Node, start, end token.Pos, with, change string) {
		if times[change]++; times[change] > 1 {
			change += fmt.Sprintf(" (%d)", times[change]) // of several in one function
		}
		found = append(found, &mutant{
			file: s.path, line: s.set.Position(at.Pos()).Line, function: name(decl), change: change,
			edit: edit{s.offset(start), s.offset(end), with},
		})
	}
	swap := func(at ast.Node, position token.Pos, operator token.Token) {
		for _, other := range operators[operator] {
			end := position + token.Pos(len(operator.String()))
			add(at, position, end, other.String(), fmt.Sprintf("%s → %s", s.short(at), other))
		}
	}
	negate := func(condition ast.Expr) {
		switch condition.(type) {
		case nil, *ast.BinaryExpr, *ast.UnaryExpr: // changed by themselves
		default:
			add(condition, condition.Pos(), condition.End(), "!("+s.textOf(condition)+")", fmt.Sprintf("%s → not", s.short(condition)))
		}
	}
	remove := func(statement ast.Stmt) {
		add(statement, statement.Pos(), statement.End(), "{}", fmt.Sprintf("%s → nothing", s.short(statement)))
	}
	list := func(statements []ast.Stmt) {
		for _, statement := range statements {
			switch statement := statement.(type) {
			case *ast.ExprStmt, *ast.DeferStmt, *ast.IncDecStmt, *ast.SendStmt:
				remove(statement)
			case *ast.AssignStmt:
				if statement.Tok != token.DEFINE {
					remove(statement)
				}
			case *ast.BranchStmt:
				if statement.Tok == token.BREAK || statement.Tok == token.CONTINUE {
					remove(statement)
				}
			case *ast.ReturnStmt:
				if len(statement.Results) == 0 {
					remove(statement)
				}
			}
		}
	}
	ast.Inspect(decl.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BlockStmt:
			list(n.List)
		case *ast.CaseClause:
			list(n.Body)
			if len(n.List) == 1 {
				negateCase(s, n, add)
			}
		case *ast.CommClause:
			list(n.Body)
		case *ast.BinaryExpr:
			swap(n, n.OpPos, n.Op)
		case *ast.AssignStmt:
			swap(n, n.TokPos, n.Tok)
		case *ast.IncDecStmt:
			swap(n, n.TokPos, n.Tok)
		case *ast.UnaryExpr:
			if n.Op == token.NOT {
				add(n, n.Pos(), n.X.Pos(), "", fmt.Sprintf("%s → without !", s.short(n)))
			}
		case *ast.IfStmt:
			negate(n.Cond)
		case *ast.ForStmt:
			negate(n.Cond)
		case *ast.BasicLit:
			if value, err := strconv.Atoi(n.Value); err == nil && n.Kind == token.INT {
				add(n, n.Pos(), n.End(), strconv.Itoa(value+1), fmt.Sprintf("%s → %d", n.Value, value+1))
			}
		case *ast.Ident:
			if n.Name == "true" {
				add(n, n.Pos(), n.End(), "false", "true → false")
			}
			if n.Name == "false" {
				add(n, n.Pos(), n.End(), "true", "false → true")
			}
		}
		return true
	})
	return found
}

// negateCase negates the condition of a case that is a plain call or variable; in a switch over a value that does not
// compile, and is dropped.
func negateCase(s *source, clause *ast.CaseClause, add func(ast.Node, token.Pos, token.Pos, string, string)) {
	switch condition := clause.List[0].(type) {
	case *ast.CallExpr, *ast.Ident, *ast.SelectorExpr:
		add(condition, condition.Pos(), condition.End(), "!("+s.textOf(condition)+")", fmt.Sprintf("case %s → not", s.short(condition)))
	}
}

// name returns a function's name as people write it: Limiter.Admit.
func name(decl *ast.FuncDecl) string {
	if decl.Recv == nil {
		return decl.Name.Name
	}
	receiver := decl.Recv.List[0].Type
	for {
		switch t := receiver.(type) {
		case *ast.StarExpr:
			receiver = t.X
		case *ast.IndexExpr:
			receiver = t.X
		case *ast.IndexListExpr:
			receiver = t.X
		case *ast.Ident:
			return t.Name + "." + decl.Name.Name
		default:
			return decl.Name.Name
		}
	}
}
