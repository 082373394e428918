// Package atomicfile writes files that are there whole or not at all.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Write is [os.WriteFile] by way of a temporary file beside the file, which is renamed when all is written: if something
// goes wrong, or the program ends meanwhile, the file is what it was before. A file that exists keeps its permissions, and
// a link keeps pointing to what it points to. What is no regular file, such as a pipe or /dev/stdout, is written to, and so
// is what a link points to that is not there yet.
func Write(name string, content []byte) (err error) {
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	} else if info, err := os.Lstat(name); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return os.WriteFile(name, content, 0o644)
	}
	before, err := os.Stat(name)
	if err == nil && !before.Mode().IsRegular() {
		return os.WriteFile(name, content, 0)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	temporary := fmt.Sprintf("%s.%x.tmp", name, rand.Uint64())
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary)
		}
	}()
	_, err = f.Write(content)
	if before != nil && err == nil {
		err = f.Chmod(before.Mode().Perm())
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(temporary, name)
}
