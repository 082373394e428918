package policyconfig_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policyconfig"
)

// watched is a set that follows a file in a bubble, and what it said.
type watched struct {
	t    *testing.T
	set  *policyconfig.Set
	path string

	mu   sync.Mutex
	said []string
}

// watch runs a test with a file that is watched every second.
func watch(t *testing.T, first string, test func(w *watched)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &watched{t: t, path: filepath.Join(dir, "pipelines.json")}
		w.write(first)
		set, err := policyconfig.LoadFile(w.path, policyconfig.Registry{})
		require.NoError(t, err)
		w.set = set
		ctx, cancel := context.WithCancel(t.Context())
		var watching sync.WaitGroup
		watching.Go(func() {
			for changes, err := range set.Watch(ctx, w.path, time.Second) {
				w.mu.Lock()
				if err != nil {
					w.said = append(w.said, strings.ReplaceAll(err.Error(), dir+"/", ""))
				} else {
					w.said = append(w.said, changes.String())
				}
				w.mu.Unlock()
			}
		})
		synctest.Wait()
		test(w)
		cancel()
		watching.Wait()
	})
}

func (w *watched) write(file string) {
	require.NoError(w.t, os.WriteFile(w.path, []byte(file), 0o600))
}

// hears lets a period pass, and checks what was said in it.
func (w *watched) hears(lines ...string) {
	w.t.Helper()
	time.Sleep(time.Second)
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Equal(w.t, lines, append([]string(nil), w.said...))
	w.said = nil
}

func attempts(n int) string {
	return layersOf(fmt.Sprintf(`{"kind": "retry", "attempts": %d}`, n))
}

const missing = "policyconfig: pipelines.json: cannot be read: no such file or directory"

func TestWatch(t *testing.T) {
	t.Run("overwritten", func(t *testing.T) {
		watch(t, attempts(2), func(w *watched) {
			w.hears()
			w.write(attempts(3))
			w.hears("users: retry attempts 2 to 3")
			w.hears()
			require.EqualValues(t, 2, w.set.Generation())
		})
	})
	t.Run("touched, or changed within a tick of the clock", func(t *testing.T) {
		watch(t, attempts(2), func(w *watched) {
			then := time.Unix(1e9, 0)
			require.NoError(t, os.Chtimes(w.path, then, then))
			w.hears()
			w.write(attempts(3)) // as long as before
			require.NoError(t, os.Chtimes(w.path, then, then))
			w.hears("users: retry attempts 2 to 3")
		})
	})
	t.Run("replaced", func(t *testing.T) {
		watch(t, attempts(2), func(w *watched) {
			require.NoError(t, os.WriteFile(w.path+".new", []byte(attempts(3)), 0o600))
			require.NoError(t, os.Rename(w.path+".new", w.path))
			w.hears("users: retry attempts 2 to 3")
		})
	})
	t.Run("missing for a moment", func(t *testing.T) {
		watch(t, attempts(2), func(w *watched) {
			require.NoError(t, os.Remove(w.path))
			w.hears()
			w.write(attempts(2))
			w.hears()
			require.EqualValues(t, 1, w.set.Generation())
			require.NoError(t, os.Remove(w.path))
			w.hears()
			w.write(attempts(3))
			w.hears("users: retry attempts 2 to 3")
		})
	})
	t.Run("missing for long", func(t *testing.T) {
		watch(t, attempts(2), func(w *watched) {
			require.NoError(t, os.Remove(w.path))
			w.hears()
			w.hears(missing)
			w.hears()
			w.hears()
			require.NoError(t, w.set.Pipeline("users").Run(t.Context(), succeed))
			w.write(attempts(3))
			w.hears("users: retry attempts 2 to 3")
		})
	})
	t.Run("half written", func(t *testing.T) {
		watch(t, attempts(2), func(w *watched) {
			for n := range 3 { // it grows
				w.write(attempts(3)[:10+n])
				w.hears()
			}
			w.write("")
			w.hears()
			w.write(attempts(2))
			w.hears()
			require.EqualValues(t, 1, w.set.Generation(), "as it was")
			w.write(attempts(3))
			w.hears("users: retry attempts 2 to 3")
			w.write(attempts(4)[:20])
			w.hears()
			w.hears("policyconfig: pipelines.json:1:21: the file ends inside a text")
			w.hears()
			w.write(attempts(3))
			w.hears("no change")
		})
	})
	t.Run("bad, then good", func(t *testing.T) {
		watch(t, attempts(2), func(w *watched) {
			w.write(attempts(0))
			const bad = "policyconfig: pipelines.json:1:67: /pipelines/users/layers/0/attempts: 0: must be a whole number, at least 1"
			w.hears(bad)
			w.hears()
			w.write(attempts(-1))
			w.hears(strings.Replace(bad, ": 0:", ": -1:", 1))
			w.write(attempts(4))
			w.hears("users: retry attempts 2 to 4")
			w.write(attempts(0))
			w.hears(bad)
			require.EqualValues(t, 2, w.set.Generation())
		})
	})
	t.Run("no file but a folder", func(t *testing.T) {
		watch(t, attempts(2), func(w *watched) {
			require.NoError(t, os.Remove(w.path))
			require.NoError(t, os.Mkdir(w.path, 0o700))
			w.hears()
			w.hears("policyconfig: pipelines.json: is not a regular file")
		})
	})
	t.Run("bad, missing for a moment, and as bad as before", func(t *testing.T) {
		watch(t, attempts(2), func(w *watched) {
			w.write(attempts(0))
			const bad = "policyconfig: pipelines.json:1:67: /pipelines/users/layers/0/attempts: 0: must be a whole number, at least 1"
			w.hears(bad)
			require.NoError(t, os.Remove(w.path))
			w.hears()
			w.write(attempts(0))
			w.hears()
			w.write("{")
			w.hears()
			w.write(attempts(0))
			w.hears()
			require.NoError(t, os.Remove(w.path))
			w.hears()
			w.hears(missing)
			w.write(attempts(0))
			w.hears(bad)
			w.write(attempts(2))
			w.hears("no change")
		})
	})
	t.Run("applied by hand stays until the file changes", func(t *testing.T) {
		watch(t, attempts(2), func(w *watched) {
			apply(t, w.set, attempts(5))
			w.hears()
			for _, away := range []func(){func() { require.NoError(t, os.Remove(w.path)) }, func() { w.write("") }} {
				away()
				w.hears()
				w.write(attempts(2))
				w.hears()
			}
			require.Equal(t, "retry 5", w.set.Pipeline("users").String())
			w.write(attempts(3))
			w.hears("users: retry attempts 5 to 3")
		})
	})
}

// TestWatch_SymbolicLinkIsSwapped is how Kubernetes mounts a ConfigMap: the file is a link into a folder that is a link,
// and only the latter is swapped.
func TestWatch_SymbolicLinkIsSwapped(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pipelines.json")
	version := func(n int) {
		folder := filepath.Join(dir, fmt.Sprintf("..%d", n))
		require.NoError(t, os.Mkdir(folder, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(folder, "pipelines.json"), []byte(attempts(n)), 0o600))
		require.NoError(t, os.Symlink(folder, filepath.Join(dir, "..new")))
		require.NoError(t, os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")))
		require.NoError(t, os.RemoveAll(filepath.Join(dir, fmt.Sprintf("..%d", n-1))))
	}
	version(2)
	require.NoError(t, os.Symlink(filepath.Join("..data", "pipelines.json"), path))
	synctest.Test(t, func(t *testing.T) {
		set, err := policyconfig.LoadFile(path, policyconfig.Registry{})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var watching sync.WaitGroup
		watching.Go(func() {
			for range set.Watch(ctx, path, time.Second) {
			}
		})
		for n := 3; n < 10; n++ {
			version(n)
			time.Sleep(time.Second)
			synctest.Wait()
			require.Equal(t, fmt.Sprintf("retry %d", n), set.Pipeline("users").String())
		}
		cancel()
		watching.Wait()
	})
}

func TestWatchEndsWithABreak(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipelines.json")
	set := load(t, attempts(2))
	require.NoError(t, os.WriteFile(path, []byte(attempts(3)), 0o600))
	for changes, err := range set.Watch(t.Context(), path, time.Hour) {
		require.NoError(t, err)
		require.Equal(t, "users: retry attempts 2 to 3", changes.String())
		break
	}
	require.PanicsWithError(t, "policyconfig.Watch: every 0s: must be positive", func() { set.Watch(t.Context(), path, 0) })
}

func TestLoadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipelines.json")
	_, err := policyconfig.LoadFile(path, policyconfig.Registry{})
	require.EqualError(t, err, "policyconfig: "+path+": cannot be read: no such file or directory")
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat(" ", 3<<20)), 0o600))
	_, err = policyconfig.LoadFile(path, policyconfig.Registry{})
	require.EqualError(t, err, "policyconfig: "+path+":1:1: the file has more than 1048576 bytes")
}

// TestWatch_MissingAtFirst: a file may come later, go again, and come back with the same mistake.
func TestWatch_MissingAtFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipelines.json")
	synctest.Test(t, func(t *testing.T) {
		set := load(t, attempts(2))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		var said []string
		for changes, err := range set.Watch(ctx, path, time.Second) {
			text := changes.String()
			if err != nil {
				text = err.Error()[strings.LastIndex(err.Error(), ": ")+2:]
			}
			said = append(said, fmt.Sprint(time.Since(start), " ", text))
			switch len(said) {
			case 1:
				require.NoError(t, os.WriteFile(path, []byte(attempts(3)), 0o600))
			case 2, 4:
				require.NoError(t, os.WriteFile(path, []byte(attempts(0)), 0o600))
			case 3:
				require.NoError(t, os.Remove(path))
			}
		}
		require.Equal(t, []string{
			"1s no such file or directory", "2s users: retry attempts 2 to 3", "3s must be a whole number, at least 1",
			"5s no such file or directory", "6s must be a whole number, at least 1",
		}, said)
		require.Equal(t, "retry 3", set.Pipeline("users").String())
	})
}
