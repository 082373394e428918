package policygrpc_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheSidesDoNotKnowEachOther: no file of the client uses what a file of the server declares, nor the other way.
func TestTheSidesDoNotKnowEachOther(t *testing.T) {
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	declaredBy, files := map[string]string{}, map[string]*ast.File{}
	sideOf := func(name string) string { side, _, _ := strings.Cut(strings.TrimSuffix(name, ".go"), "_"); return side }
	for _, name := range names {
		side := sideOf(name)
		if strings.HasSuffix(name, "_test.go") || side != "client" && side != "server" {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		files[name] = file
		for declared := range file.Scope.Objects { //nolint:staticcheck // what one file declares is what is asked
			declaredBy[declared] = side
		}
	}
	require.Greater(t, len(files), 15)
	for name, file := range files {
		for _, used := range file.Unresolved { // what is declared neither here nor in a function
			if side, ok := declaredBy[used.Name]; ok {
				require.Equal(t, sideOf(name), side, "%s uses %s", name, used.Name)
			}
		}
	}
}
