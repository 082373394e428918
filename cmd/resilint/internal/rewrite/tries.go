package rewrite

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"strconv"
	"strings"
	"time"

	"golang.org/x/tools/go/analysis"

	"github.com/go-resilience/resilience/cmd/resilint/internal/check"
	"github.com/go-resilience/resilience/cmd/resilint/internal/loop"
)

// Tries makes a loop of the plain form one over the tries of a Retrier, which is a new variable of the package:
//
//	for i := 0; i < 3; i++ {           tries := fetchRetry.Tries(ctx)
//		err = fetch(ctx)               for try := range tries.All() {
//		if err == nil {                    err = fetch(try.Context())
//			break                          try.Done(err)
//		}                                  if err == nil {
//		time.Sleep(time.Second)                break
//	}                                      }
//	                                   }
//	                                   if err == nil {
//	                                       err = tries.Err()
//	                                   }
//
// The last lines stand there where the error is known after the loop: when the context has ended already no pass is made.
// It is false for loops that are not so plain.
func Tries(pass *check.Pass, l *loop.Loop, context string) (analysis.SuggestedFix, bool) {
	attempts, ok := attempts(pass, l)
	sleep := Statement(l.Body, l.Wait.Sleep)
	list := l.Body.List
	if !ok || l.Decl == nil || sleep == nil || context != "ctx" || len(list) < 2 || list[len(list)-1] != ast.Stmt(sleep) {
		return analysis.SuggestedFix{}, false
	}
	call := callStatement(l)
	name := variable(pass, l)
	if variable, ok := l.Err.(*types.Var); call == nil || !ok || variable.IsField() || !SameAt(pass, context, l.Stmt.Pos(), l.Call.Pos()) ||
		pass.Pkg.Scope().Lookup(name) != nil || uses(l.Decl, "try") || uses(l.Decl, "tries") || labelled(l) {
		return analysis.SuggestedFix{}, false
	}
	wait := delays(pass, l)
	if wait == "" && timeUses(pass, l.Stmt.Pos()) == 1 { // that of the sleep: the import would be left over
		return analysis.SuggestedFix{}, false
	}
	edits, ok := Import(pass, l.Stmt.Pos(), "github.com/go-resilience/resilience/retry", "retry")
	if !ok {
		return analysis.SuggestedFix{}, false
	}
	options := "retry.Attempts(" + attempts + ")"
	start := l.Decl.Pos()
	if l.Decl.Doc != nil {
		start = l.Decl.Doc.Pos()
	}
	edits = append(edits,
		edit(start, start, "var "+name+" = retry.New("+options+wait+")\n\n"),
		edit(sleep.Pos(), sleep.End(), ""),
	)
	indent := pass.Indent(l.Stmt.Pos())
	tries := "tries" + number(l)
	if l.Err.Pos() < l.Stmt.Pos() {
		edits = append(edits,
			edit(l.Stmt.Pos(), l.Body.Lbrace, tries+" := "+name+".Tries("+context+")\n"+indent+"for try := range "+tries+".All() "),
			edit(l.Stmt.End(), l.Stmt.End(), "\n"+indent+"if "+l.Err.Name()+" == nil {\n"+indent+"\t"+l.Err.Name()+" = "+tries+".Err()\n"+indent+"}"))
	} else {
		edits = append(edits, edit(l.Stmt.Pos(), l.Body.Lbrace, "for try := range "+name+".Tries("+context+").All() "))
	}
	done := "\n" + pass.Indent(call.Pos()) + "try.Done(" + l.Err.Name() + ")"
	if conditional, ok := call.(*ast.IfStmt); ok { // if err = f(); err == nil {
		init := pass.Text(conditional.Init)
		if assign := conditional.Init.(*ast.AssignStmt); assign.Tok == token.DEFINE && declaredOutside(pass, l) {
			return analysis.SuggestedFix{}, false
		}
		edits = append(edits,
			edit(conditional.Pos(), conditional.Cond.Pos(), contextual(pass, conditional.Init, init)+done+"\n"+pass.Indent(call.Pos())+"if "))
	} else {
		edits = append(edits, edit(call.Pos(), call.End(), contextual(pass, call, pass.Text(call))+done))
	}
	return analysis.SuggestedFix{Message: "loop over tries of a Retrier", TextEdits: edits}, true
}

func edit(pos, end token.Pos, text string) analysis.TextEdit {
	return analysis.TextEdit{Pos: pos, End: end, NewText: []byte(text)}
}

// contextual returns the text of n in which "ctx" is the context of the try.
func contextual(pass *check.Pass, n ast.Node, text string) string {
	var at []int
	ast.Inspect(n, func(part ast.Node) bool {
		if id, ok := part.(*ast.Ident); ok && id.Name == "ctx" && loop.IsContext(pass.TypesInfo.TypeOf(id)) {
			at = append(at, int(id.Pos()-n.Pos()))
		}
		return true
	})
	for i := len(at) - 1; i >= 0; i-- {
		text = text[:at[i]] + "try.Context()" + text[at[i]+len("ctx"):]
	}
	return text
}

// timeUses returns how often the file of pos uses package time.
func timeUses(pass *check.Pass, pos token.Pos) (n int) {
	ast.Inspect(fileOf(pass, pos), func(node ast.Node) bool {
		if id, ok := node.(*ast.Ident); ok {
			if name, is := pass.TypesInfo.Uses[id].(*types.PkgName); is && name.Imported().Path() == "time" {
				n++
			}
		}
		return true
	})
	return n
}

// attempts returns how many passes a loop makes: a positive constant, of a variable of the loop that is used for nothing else.
func attempts(pass *check.Pass, l *loop.Loop) (string, bool) {
	var counter *ast.Ident
	var most ast.Expr
	from := int64(0)
	switch s := l.Stmt.(type) {
	case *ast.RangeStmt:
		if s.Tok == token.ASSIGN {
			return "", false
		}
		counter, _ = s.Key.(*ast.Ident)
		most = s.X
	case *ast.ForStmt:
		init, ok := s.Init.(*ast.AssignStmt)
		compare, is := s.Cond.(*ast.BinaryExpr)
		step, steps := s.Post.(*ast.IncDecStmt)
		if !ok || !is || !steps || step.Tok != token.INC || init.Tok != token.DEFINE || len(init.Lhs) != 1 {
			return "", false
		}
		counter, _ = init.Lhs[0].(*ast.Ident)
		first := pass.TypesInfo.Types[init.Rhs[0]].Value
		compared, stepped := loop.ObjectOf(pass.TypesInfo, compare.X), loop.ObjectOf(pass.TypesInfo, step.X)
		if object := pass.TypesInfo.ObjectOf(counter); first == nil || compared != object || stepped != object {
			return "", false
		}
		from, _ = constant.Int64Val(constant.ToInt(first))
		most = compare.Y
		switch compare.Op {
		case token.LSS:
		case token.LEQ:
			from--
		default:
			return "", false
		}
	}
	value := pass.TypesInfo.Types[most].Value
	if value == nil || value.Kind() != constant.Int {
		return "", false
	}
	n, exact := constant.Int64Val(value)
	if !exact || n-from < 1 {
		return "", false
	}
	used := 0
	if counter != nil {
		object := pass.TypesInfo.ObjectOf(counter)
		ast.Inspect(l.Body, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && object != nil && pass.TypesInfo.Uses[id] == object {
				used++
			}
			return true
		})
	}
	if id, named := most.(*ast.Ident); named && from == 0 && isInt(pass, id) {
		return pass.Text(most), used == 0
	}
	return constant.MakeInt64(n - from).ExactString(), used == 0
}

// isInt reports whether a name is that of a constant of the package which may be given as an int.
func isInt(pass *check.Pass, id *ast.Ident) bool {
	object := pass.TypesInfo.ObjectOf(id)
	return object != nil && object.Parent() == pass.Pkg.Scope() && types.AssignableTo(object.Type(), types.Typ[types.Int])
}

// delays returns the option for a constant sleep. Without one the defaults of the library hold: they grow, and are jittered.
func delays(pass *check.Pass, l *loop.Loop) string {
	value := pass.TypesInfo.Types[l.Wait.Duration].Value
	if value == nil {
		return ""
	}
	n, exact := constant.Int64Val(constant.ToInt(value))
	if !exact || n <= 0 || !mentionsOnlyTime(pass, l.Wait.Duration) {
		return ""
	}
	longest := "10*time.Second"
	if time.Duration(n) > 10*time.Second {
		longest = pass.Text(l.Wait.Duration)
	}
	return ", retry.Exponential(" + pass.Text(l.Wait.Duration) + ", " + longest + ")"
}

// mentionsOnlyTime reports whether an expression names nothing but constants of package time.
func mentionsOnlyTime(pass *check.Pass, e ast.Expr) bool {
	only := true
	ast.Inspect(e, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			object := pass.TypesInfo.ObjectOf(id)
			if _, pkg := object.(*types.PkgName); !pkg && (object == nil || object.Pkg() == nil || object.Pkg().Path() != "time") {
				only = false
			}
		}
		return true
	})
	return only
}

// callStatement returns the statement directly in the body of the loop that makes the call: an assignment, or an if with one.
func callStatement(l *loop.Loop) ast.Stmt {
	for _, stmt := range l.Body.List {
		assign, ok := stmt.(*ast.AssignStmt)
		if conditional, is := stmt.(*ast.IfStmt); is && conditional.Init != nil {
			assign, ok = conditional.Init.(*ast.AssignStmt)
		}
		if ok && len(assign.Rhs) == 1 && ast.Unparen(assign.Rhs[0]) == l.Call {
			return stmt
		}
	}
	return nil
}

// declaredOutside reports whether a variable of the name of the error exists outside the loop.
func declaredOutside(pass *check.Pass, l *loop.Loop) bool {
	scope := pass.Pkg.Scope().Innermost(l.Stmt.Pos())
	if scope == nil {
		return true
	}
	_, object := scope.LookupParent(l.Err.Name(), l.Stmt.Pos())
	return object != nil
}

// variable returns a name for the Retrier of a loop: that of the function, with its receiver and the number of the loop where
// it has them.
func variable(pass *check.Pass, l *loop.Loop) string {
	name := l.Decl.Name.Name
	if recv := pass.TypesInfo.Defs[l.Decl.Name].(*types.Func).Signature().Recv(); recv != nil {
		t := recv.Type()
		if pointer, ok := types.Unalias(t).(*types.Pointer); ok {
			t = pointer.Elem()
		}
		if named, ok := types.Unalias(t).(*types.Named); ok {
			name = named.Obj().Name() + strings.ToUpper(name[:1]) + name[1:]
		}
	}
	return lower(name) + "Retry" + number(l)
}

// number returns which loop of its function a loop is, from 2; "" for the first.
func number(l *loop.Loop) string {
	if l.Nth() == 0 {
		return ""
	}
	return strconv.Itoa(l.Nth() + 1)
}

// labelled reports whether a loop has a label, which would stand before another statement then.
func labelled(l *loop.Loop) (is bool) {
	ast.Inspect(l.Decl, func(n ast.Node) bool {
		label, ok := n.(*ast.LabeledStmt)
		is = is || ok && label.Stmt == l.Stmt
		return true
	})
	return is
}

// uses reports whether a name stands anywhere in a declaration.
func uses(decl *ast.FuncDecl, name string) (does bool) {
	ast.Inspect(decl, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		does = does || ok && id.Name == name
		return true
	})
	return does
}

func lower(name string) string { return strings.ToLower(name[:1]) + name[1:] }
