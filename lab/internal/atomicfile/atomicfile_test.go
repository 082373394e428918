package atomicfile_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/lab/internal/atomicfile"
)

func TestWrite(t *testing.T) {
	folder := t.TempDir()
	name := filepath.Join(folder, "report")
	read := func() string {
		t.Helper()
		files, err := os.ReadDir(folder)
		require.NoError(t, err)
		require.Len(t, files, 1, "nothing is left over")
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		return string(content)
	}
	require.NoError(t, atomicfile.Write(name, []byte("first, and long")))
	require.Equal(t, "first, and long", read())
	require.NoError(t, atomicfile.Write(name, []byte("second")))
	require.Equal(t, "second", read())
	if runtime.GOOS == "windows" {
		return
	}
	require.NoError(t, os.Chmod(name, 0o600))
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(name, link))
	require.NoError(t, atomicfile.Write(link, []byte("third")))
	require.Equal(t, "third", read())
	info, err := os.Stat(name)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// A reader sees the file before or the file after, and never a part: it is another file.
func TestWhoeverReadsSeesAWholeFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "report")
	require.NoError(t, atomicfile.Write(name, []byte("before")))
	reader, err := os.Open(name)
	require.NoError(t, err)
	defer reader.Close()
	require.NoError(t, atomicfile.Write(name, []byte("afterwards")))
	content := make([]byte, 100)
	n, err := reader.Read(content)
	require.NoError(t, err)
	require.Equal(t, "before", string(content[:n]))
}

func TestWhatCannotBeWritten(t *testing.T) {
	folder := t.TempDir()
	require.ErrorIs(t, atomicfile.Write(filepath.Join(folder, "no", "such", "folder"), nil), os.ErrNotExist)
	require.Error(t, atomicfile.Write(folder, nil), "a folder")
	files, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Empty(t, files)
}

// What is no file is not replaced by one.
func TestDevices(t *testing.T) {
	if _, err := os.Stat("/dev/null"); err != nil {
		t.Skip(err)
	}
	require.NoError(t, atomicfile.Write("/dev/null", []byte("x")))
	info, err := os.Stat("/dev/null")
	require.NoError(t, err)
	require.False(t, info.Mode().IsRegular())
}

// A link to nothing is followed too, as os.WriteFile does.
func TestALinkToNothing(t *testing.T) {
	folder := t.TempDir()
	target, link := filepath.Join(folder, "target"), filepath.Join(folder, "link")
	if err := os.Symlink("target", link); err != nil {
		t.Skip(err)
	}
	require.NoError(t, atomicfile.Write(link, []byte("x")))
	content, err := os.ReadFile(target)
	require.NoError(t, err)
	require.Equal(t, "x", string(content))
	info, err := os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeSymlink, "it is still a link")
}
