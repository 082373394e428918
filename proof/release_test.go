package proof

import (
	"archive/zip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/testsize"
)

// Every module, as a user finds it once it is released: from an empty module, without replace directives. The release is
// made by .ci/release in a clone; a proxy of files serves it, beside what the module cache holds already.
func TestReleasedModulesServeAnEmptyModule(t *testing.T) {
	if !testsize.Whole() {
		t.Skip("builds everything anew: in whole runs only")
	}
	const library, version = "github.com/go-resilience/resilience", "v0.1.0"
	dir := t.TempDir()
	clone := filepath.Join(dir, "clone")
	proxy := fileProxy{t: t, dir: filepath.Join(dir, "proxy"), clone: clone}

	run(t, "..", nil, "git", "clone", "-q", "--no-hardlinks", ".", clone)
	present := strings.TrimSpace(run(t, "..", nil, "go", "env", "GOMODCACHE"))
	env := []string{
		"GOWORK=off", "GOFLAGS=-modcacherw", "GOSUMDB=off", "GOTOOLCHAIN=local",
		"GOMODCACHE=" + filepath.Join(dir, "cache"), "GOBIN=" + filepath.Join(dir, "bin"),
		"GOPROXY=file://" + proxy.dir + ",file://" + filepath.Join(present, "cache", "download"),
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
	}

	// In the order of docs/releasing.md: the library, and then everything that requires it.
	run(t, clone, env, "git", "tag", version)
	proxy.serve(library, version, version, ".")
	run(t, clone, env, ".ci/release", version)
	var modules []string
	for tag := range strings.Lines(run(t, clone, env, "git", "tag", "--list", "*/"+version)) {
		module := strings.TrimSuffix(strings.TrimSpace(tag), "/"+version)
		proxy.serve(library+"/"+module, version, module+"/"+version, module)
		modules = append(modules, module)
	}
	require.Contains(t, modules, "adapters/policyprom")
	require.Contains(t, modules, "cmd/resilint")
	require.Contains(t, modules, "lab")
	require.Empty(t, run(t, clone, env, "git", "status", "--short"), "a release changes no file of the branch")

	// user makes an empty module with one program and adds what it needs as users do.
	user := func(name, program string, get ...string) string {
		at := filepath.Join(dir, "user", name)
		require.NoError(t, os.MkdirAll(at, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(at, "main.go"), []byte(program), 0o644))
		run(t, at, env, "go", "mod", "init", "example.com/"+name)
		for _, path := range get {
			run(t, at, env, "go", "get", path+"@"+version)
		}
		run(t, at, env, "go", "mod", "tidy")
		return at
	}

	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	_, program, found := strings.Cut(string(readme), "```go\npackage main\n")
	require.True(t, found, "README.md begins with a whole program")
	program, _, _ = strings.Cut(program, "```")
	require.Equal(t, "Ada <nil>\n", run(t, user("readme", "package main\n"+program, library), env, "go", "run", "."))

	for _, module := range modules {
		switch {
		case strings.HasPrefix(module, "adapters/"):
			path := library + "/" + module
			at := user(filepath.Base(module), "package main\n\nimport _ \""+path+"\"\n\nfunc main() {}\n", path)
			run(t, at, env, "go", "run", ".")
		case module == "cmd/resilint":
			run(t, dir, env, "go", "install", library+"/cmd/resilint@"+version)
			at := user("loops", "package main\n\nimport \"time\"\n\n"+
				"func call() error { return nil }\n\n"+
				"func main() {\n\tfor range 5 {\n\t\tif err := call(); err == nil {\n\t\t\treturn\n\t\t}\n\t\ttime.Sleep(time.Second)\n\t}\n}\n")
			command := exec.Command("go", "vet", "-vettool="+filepath.Join(dir, "bin", "resilint"), ".")
			command.Dir, command.Env = at, append(os.Environ(), env...)
			out, err := command.CombinedOutput()
			require.Error(t, err, "the loop is found: %s", out)
			require.Contains(t, string(out), "main.go:")
		case module == "lab":
			require.Contains(t, run(t, dir, env, "go", "run", library+"/lab@latest", "-list"), "composition-order")
			page := filepath.Join(dir, "playground.html") // which is compiled from the module in the cache
			run(t, dir, env, "go", "run", library+"/lab@latest", "playground", "-out", page)
			require.FileExists(t, page)
			example, err := os.ReadFile("../lab/scenario/example_test.go")
			require.NoError(t, err)
			program := strings.NewReplacer("package scenario_test", "package main", "func Example()", "func main()").Replace(string(example))
			at := user("masking", program, library+"/lab")
			require.Contains(t, run(t, at, env, "go", "run", ".", "-set", "p=0.5", "-run", "M1"), "1 of 1 expectations met")
		default:
			require.Fail(t, "a released module that nothing uses here", module)
		}
	}
}

// run returns what a command prints, and ends the test where it fails.
func run(t *testing.T, in string, env []string, name string, args ...string) string {
	t.Helper()
	command := exec.Command(name, args...)
	command.Dir, command.Env = in, append(os.Environ(), env...)
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	require.NoError(t, err, "%s %s: %s%s", name, args, out, &stderr)
	return string(out)
}

// A fileProxy is a folder that the go command reads as a module proxy.
type fileProxy struct {
	t     *testing.T
	dir   string
	clone string
}

// serve adds a module: the files of a commit in a folder, without the modules in it.
func (p fileProxy) serve(path, version, commit, folder string) {
	p.t.Helper()
	at := filepath.Join(p.dir, path, "@v")
	tree := p.t.TempDir()
	require.NoError(p.t, os.MkdirAll(at, 0o755))
	write := func(name string, content []byte) {
		require.NoError(p.t, os.WriteFile(filepath.Join(at, name), content, 0o644))
	}
	archive := filepath.Join(tree, "tree.tar")
	run(p.t, p.clone, nil, "git", "archive", "-o", archive, commit, folder)
	run(p.t, tree, nil, "tar", "-xf", archive)
	require.NoError(p.t, os.Remove(archive))
	tree = filepath.Join(tree, folder)
	mod, err := os.ReadFile(filepath.Join(tree, "go.mod"))
	require.NoError(p.t, err)
	write("list", []byte(version+"\n"))
	write(version+".info", []byte(`{"Version":"`+version+`","Time":"2026-01-01T00:00:00Z"}`))
	write(version+".mod", mod)

	file, err := os.Create(filepath.Join(at, version+".zip"))
	require.NoError(p.t, err)
	content := zip.NewWriter(file)
	require.NoError(p.t, filepath.WalkDir(tree, func(name string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(tree, name)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil && inside != "." {
				return filepath.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		read, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		w, err := content.Create(path + "@" + version + "/" + filepath.ToSlash(inside))
		if err != nil {
			return err
		}
		_, err = w.Write(read)
		return err
	}))
	require.NoError(p.t, content.Close())
	require.NoError(p.t, file.Close())
}
