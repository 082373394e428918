package testsize

import "os/exec"

// A TestingT is what Program needs of a test.
type TestingT interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Program returns the path of a program that comes from a Debian package. Where it is not installed, a short run skips the
// test, and a whole one fails.
func Program(t TestingT, name, from string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
	case Whole():
		t.Fatalf("%s is not installed: apt-get install -y %s", name, from)
	default:
		t.Skipf("%s is not installed: apt-get install -y %s", name, from)
	}
	return path
}
