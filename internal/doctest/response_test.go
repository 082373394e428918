package doctest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFault254_ExamplesCloseResponses: code that is shown to users closes each response that it handles. An example that is
// in an example_test.go is judged with the helpers around it.
func TestFault254_ExamplesCloseResponses(t *testing.T) {
	examples := make(map[string]string)
	for _, block := range documentedCode(t) {
		if strings.HasPrefix(block.where, "docs/resilint.md:") {
			continue // shows what it finds
		}
		examples[block.where] = block.code
	}
	walk(t, root, ".go", func(path string) {
		name, err := filepath.Rel(root, path)
		require.NoError(t, err)
		text := read(t, filepath.ToSlash(name))
		if strings.HasPrefix(filepath.Base(path), "example") {
			examples[name] = text
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return // newer Go
		}
		for _, comment := range file.Comments {
			examples[name+": "+firstLine(comment)] = indented(comment.Text())
		}
	})
	handle := 0
	for where, code := range examples {
		if handlesResponse(code) {
			handle++
			assert.True(t, closesResponse(code), "%s handles a response, and does not close it:\n%s", where, code)
		}
	}
	require.Greater(t, handle, 2, "most examples were not found")
}

func TestHandlesResponse(t *testing.T) {
	failing := "if r.StatusCode >= 500 {\n\treturn err\n}"
	require.True(t, handlesResponse(failing))
	require.False(t, closesResponse(failing))
	require.True(t, closesResponse("if r.StatusCode >= 500 {\n\tr.Body.Close()\n\treturn err\n}"))
	require.False(t, closesResponse("// r.Body.Close() would be right"))
	require.False(t, handlesResponse("resilience.Do(ctx, backend, fetchUser)"))
}

func handlesResponse(code string) bool {
	if strings.Contains(code, "policyhttp.ClassifyResponse(") {
		return false // it judges a response, which the transport owns
	}
	if strings.Contains(code, "httptest.NewRecorder(") {
		return false // it makes one, of memory alone
	}
	return response.MatchString(code) || strings.Contains(code, ".StatusCode") || strings.Contains(code, "response, permit")
}

var response = regexp.MustCompile(`http\.Response\b`)

func closesResponse(code string) bool {
	for line := range strings.Lines(code) {
		statement, _, _ := strings.Cut(line, "//")
		if strings.Contains(statement, "Body.Close()") {
			return true
		}
	}
	return false
}

// indented returns the lines of a comment that are code.
func indented(comment string) string {
	var code strings.Builder
	for line := range strings.Lines(comment) {
		if strings.HasPrefix(line, "\t") {
			code.WriteString(line)
		}
	}
	return code.String()
}

func firstLine(comment *ast.CommentGroup) string {
	line, _, _ := strings.Cut(comment.Text(), "\n")
	return line
}
