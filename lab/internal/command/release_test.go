package command

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

// Once released, the lab runs without a clone: go run MODULE/lab@latest. The release is made by .ci/release-lab in a clone,
// and served by a file proxy beside the modules of the cache.
func TestRunsAsReleased(t *testing.T) {
	if raceEnabled || !testsize.Whole() {
		t.Skip("builds everything anew")
	}
	const library, version = "github.com/go-resilience/resilience", "v1.0.0"
	dir := t.TempDir()
	clone, proxy := filepath.Join(dir, "clone"), filepath.Join(dir, "proxy")
	shell := func(in string, env []string, command ...string) string {
		t.Helper()
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Dir, cmd.Env = in, append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", command, out)
		return strings.TrimSpace(string(out))
	}
	cache := shell(".", nil, "go", "env", "GOMODCACHE")
	env := []string{
		"GOWORK=off", "GOFLAGS=-mod=mod -modcacherw", "GOSUMDB=off", "GOMODCACHE=" + filepath.Join(dir, "cache"),
		"GOPROXY=file://" + proxy + ",file://" + filepath.Join(cache, "cache", "download"),
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
	}
	shell("../../..", nil, "git", "clone", "-q", ".", clone)

	// serve puts a module into the proxy: the files of a commit in a folder, without the modules in it.
	serve := func(path, commit, folder string) {
		t.Helper()
		at := filepath.Join(proxy, path, "@v")
		require.NoError(t, os.MkdirAll(at, 0o755))
		write := func(name, content string) {
			require.NoError(t, os.WriteFile(filepath.Join(at, name), []byte(content), 0o644))
		}
		tree := filepath.Join(dir, strings.ReplaceAll(path, "/", "-"))
		require.NoError(t, os.MkdirAll(tree, 0o755))
		shell(clone, nil, "sh", "-c", "git archive "+commit+" "+folder+" | tar -x -C "+tree)
		tree = filepath.Join(tree, folder)
		mod, err := os.ReadFile(filepath.Join(tree, "go.mod"))
		require.NoError(t, err)
		write("list", version+"\n")
		write(version+".info", `{"Version":"`+version+`","Time":"2026-01-01T00:00:00Z"}`)
		write(version+".mod", string(mod))
		file, err := os.Create(filepath.Join(at, version+".zip"))
		require.NoError(t, err)
		archive := zip.NewWriter(file)
		require.NoError(t, filepath.WalkDir(tree, func(name string, entry os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			inside, _ := filepath.Rel(tree, name)
			if entry.IsDir() {
				if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil && inside != "." {
					return filepath.SkipDir
				}
				return nil
			}
			if !entry.Type().IsRegular() {
				return nil
			}
			content, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			w, err := archive.Create(path + "@" + version + "/" + filepath.ToSlash(inside))
			if err == nil {
				_, err = w.Write(content)
			}
			return err
		}))
		require.NoError(t, archive.Close())
		require.NoError(t, file.Close())
	}
	serve(library, "HEAD", ".")
	shell(clone, env, ".ci/release-lab", version)
	serve(library+"/lab", "lab/"+version, "lab")
	mod, err := os.ReadFile(filepath.Join(proxy, library, "lab", "@v", version+".mod"))
	require.NoError(t, err)
	require.NotContains(t, string(mod), "replace")

	list := shell(dir, env, "go", "run", library+"/lab@latest", "-list")
	require.Contains(t, list, "composition-order")
	page := filepath.Join(dir, "playground.html") // which is compiled from the module in the cache
	require.Contains(t, shell(dir, env, "go", "run", library+"/lab@latest", "playground", "-out", page), "MB")
	require.FileExists(t, page)

	// And a scenario from outside the module.
	outside := filepath.Join(dir, "outside")
	require.NoError(t, os.MkdirAll(outside, 0o755))
	example, err := os.ReadFile("../../scenario/example_test.go")
	require.NoError(t, err)
	program := strings.NewReplacer("package scenario_test", "package main", "func Example()", "func main()").Replace(string(example))
	require.NoError(t, os.WriteFile(filepath.Join(outside, "main.go"), []byte(program), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(outside, "go.mod"), []byte("module example.com/masking\n\ngo 1.26.0\n\nrequire "+library+"/lab "+version+"\n"), 0o644))
	out := shell(outside, env, "go", "run", ".", "-set", "p=0.5", "-run", "M1")
	require.Contains(t, out, "1 of 1 expectations met")
}
