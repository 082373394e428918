package doctest

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const root = "../.."

// TestGoCodeInDocumentsCompiles: every block of Go code in a document is a whole program that compiles, or
// occurs, up to indentation, in a Go file of this repository, which the compiler has seen.
func TestGoCodeInDocumentsCompiles(t *testing.T) {
	compiled := goFiles(t)
	blocks := documentedCode(t)
	require.NotEmpty(t, blocks, "found no Go code in the documents: is the test looking in the wrong place?")
	for _, block := range blocks {
		t.Run(block.where, func(t *testing.T) {
			if strings.HasPrefix(block.code, "package ") {
				compile(t, block.code)
				return
			}
			require.True(t, occurs(block.code, compiled),
				"%s: this code is in no Go file; copy it from an example:\n\n%s", block.where, block.code)
		})
	}
}

var (
	link = regexp.MustCompile(`\]\(([^)#\s]+)`)          // the target of a link, without its fragment
	code = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`") // in which nothing is a link
)

// TestLinksInDocumentsLead: every link that stays in the repository leads to something.
func TestLinksInDocumentsLead(t *testing.T) {
	found := 0
	for _, path := range documents(t) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, match := range link.FindAllStringSubmatch(code.ReplaceAllString(string(text), ""), -1) {
			if target := match[1]; !strings.Contains(target, "://") {
				found++
				_, err := os.Stat(filepath.Join(filepath.Dir(path), filepath.FromSlash(target)))
				assert.NoError(t, err, "%s links to %s", filepath.Base(path), target)
			}
		}
	}
	require.Positive(t, found)
}

var (
	anchor  = regexp.MustCompile(`\]\(([^)#\s]*)#([^)\s]+)\)`) // the file and the fragment of a link
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	markup  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestAnchorsInDocumentsLead: every link to a heading of a document of this repository leads to one.
func TestAnchorsInDocumentsLead(t *testing.T) {
	found := 0
	for _, path := range documents(t) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, match := range anchor.FindAllStringSubmatch(code.ReplaceAllString(string(text), ""), -1) {
			target := path
			if match[1] != "" {
				target = filepath.Join(filepath.Dir(path), filepath.FromSlash(match[1]))
			}
			if strings.Contains(match[1], "://") || filepath.Ext(target) != ".md" {
				continue
			}
			found++
			there, err := os.ReadFile(target)
			require.NoError(t, err)
			assert.True(t, anchors(string(there))[match[2]], "%s links to %s#%s", filepath.Base(path), filepath.Base(target), match[2])
		}
	}
	require.Greater(t, found, 100, "most links were not found")
}

// anchors returns the fragments that a page makes of the headings of a document.
func anchors(text string) map[string]bool {
	found := make(map[string]bool)
	for _, match := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		name := strings.ReplaceAll(markup.ReplaceAllString(strings.ToLower(match[1]), ""), " ", "-")
		for n := 1; found[name]; n++ {
			name = fmt.Sprintf("%s-%d", strings.TrimSuffix(name, fmt.Sprintf("-%d", n-1)), n)
		}
		found[name] = true
	}
	return found
}

func TestAnchors(t *testing.T) {
	require.Equal(t, map[string]bool{"a-b": true, "what-it-does-and-why": true, "a-b-1": true}, anchors("# A `b`\n## What it does, and why\n### A b\n"))
}

func TestOccurs(t *testing.T) {
	compiled := []string{unindent("func f() {\n\ta()\n\n\tb()\n}\n")}
	require.True(t, occurs("a()\n\nb()\n", compiled))
	require.True(t, occurs("\t\ta()\n", compiled))
	require.False(t, occurs("a()\nb()\n", compiled), "a line is missing")
	require.False(t, occurs("c()\n", compiled))
}

func TestBlocks(t *testing.T) {
	text := "# t\n\n```go\na()\n```\n\n```sh\nls\n```\n```go\nb()\n```\n"
	require.Equal(t, []block{{"x.md:3", "a()\n"}, {"x.md:10", "b()\n"}}, blocksOf("x.md", text))
}

type block struct{ where, code string }

// documents returns the paths of README.md, CONTRIBUTING.md and the like, and of everything below docs.
func documents(t *testing.T) []string {
	documents, err := filepath.Glob(filepath.Join(root, "*.md"))
	require.NoError(t, err)
	require.NotEmpty(t, documents)
	walk(t, filepath.Join(root, "docs"), ".md", func(path string) { documents = append(documents, path) })
	return documents
}

// read returns the text of a file of this repository.
func read(t *testing.T, name string) string {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	require.NoError(t, err)
	return string(text)
}

// documentedCode returns the Go blocks of all documents.
func documentedCode(t *testing.T) (blocks []block) {
	for _, path := range documents(t) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		name, err := filepath.Rel(root, path)
		require.NoError(t, err)
		blocks = append(blocks, blocksOf(filepath.ToSlash(name), string(text))...)
	}
	return blocks
}

// blocksOf returns the Go blocks of one document.
func blocksOf(name, text string) (blocks []block) {
	inside := false
	for number, line := range strings.SplitAfter(text, "\n") {
		switch fence := strings.TrimSpace(line); {
		case !inside && fence == "```go":
			inside = true
			blocks = append(blocks, block{where: fmt.Sprintf("%s:%d", name, number+1)})
		case inside && fence == "```":
			inside = false
		case inside:
			blocks[len(blocks)-1].code += line
		}
	}
	return blocks
}

// goFiles returns the text of every Go file of this repository, without indentation. Those of nested modules are compiled by
// the tests of these.
func goFiles(t *testing.T) (files []string) {
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == ".git":
			return filepath.SkipDir
		case filepath.Ext(path) == ".go":
			text, err := os.ReadFile(path)
			files = append(files, unindent(string(text)))
			return err
		}
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

// walk calls found for every file below dir with an extension, but not those of nested modules.
func walk(t *testing.T, dir, extension string, found func(path string)) {
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			_, err := os.Stat(filepath.Join(path, "go.mod"))
			if nested := err == nil && filepath.Clean(path) != filepath.Clean(root); nested || entry.Name() == ".git" {
				return filepath.SkipDir
			}
		case filepath.Ext(path) == extension:
			found(path)
		}
		return nil
	})
	require.NoError(t, err)
}

func occurs(code string, files []string) bool {
	code = unindent(strings.Trim(code, "\n"))
	for _, file := range files {
		if strings.Contains("\n"+file, "\n"+code) {
			return true
		}
	}
	return false
}

// unindent removes the indentation of each line.
func unindent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return b.String()
}

// compile builds a program with the packages of this module.
func compile(t *testing.T, program string) {
	dir := t.TempDir()
	file := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(file, []byte(program), 0o600))
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "program"), file)
	build.Dir = root
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestIndexNamesEveryPage: docs/README.md links to every page of docs, so that none can be found only by chance.
func TestIndexNamesEveryPage(t *testing.T) {
	index := read(t, "docs/README.md")
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	require.NoError(t, err)
	for _, page := range pages {
		if name := filepath.Base(page); name != "README.md" {
			assert.Contains(t, index, "("+name+")")
		}
	}
	programs, err := filepath.Glob(filepath.Join(root, "examples", "*"))
	require.NoError(t, err)
	for _, program := range programs {
		assert.Contains(t, index, "(../examples/"+filepath.Base(program)+")")
	}
}
