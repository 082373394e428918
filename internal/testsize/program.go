package testsize

import (
	"os/exec"
	"path/filepath"
)

// A TestingT is what Program needs of a test.
type TestingT interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Program returns the path of a program that comes from a Debian package. It looks in the PATH, and then where Debian
// keeps servers of several versions, such as /usr/lib/postgresql/15/bin. Where the program is not installed, a short run
// skips the test, and a whole one fails.
func Program(t TestingT, name, from string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if found, _ := filepath.Glob(filepath.Join("/usr/lib", from, "*", "bin", name)); len(found) > 0 {
			return found[len(found)-1]
		}
	}
	switch {
	case err == nil:
	case Whole():
		t.Fatalf("%s is not installed: apt-get install -y %s", name, from)
	default:
		t.Skipf("%s is not installed: apt-get install -y %s", name, from)
	}
	return path
}
