// Mutate checks the tests: it changes the code of a package in one small way at a time, runs the tests, and lists the
// changes that no test noticed.
//
//	go run ./mutate                  # every package that matters; hours
//	go run ./mutate bulkhead policy  # these
//
// All mutants of a package are compiled into one test binary, each as a copy of the function that it changes, and one
// is chosen with an environment variable; so the compiler runs once per package and not once per mutant. All this
// happens in a temporary copy of the tree.
//
// A mutant is killed when a test of its package, or of a package that relies on it, fails, crashes or does not end. Tests
// that take long run last, since few mutants live until then. What was killed is remembered beside the code that it was
// a mutant of (-state), so that a run that was interrupted goes on where it was, and a run after new tests looks at the
// survivors only; but not before the tests have passed once more without a mutation, for tests that have begun to fail
// by themselves kill nothing.
//
// Survivors that cannot be told from the original are listed in equivalent.txt, each with the reason.
//
// A package without mutants, or whose own tests fail without a mutation, is an error: a run of nothing must not pass
// for success.
package main
