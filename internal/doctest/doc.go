// Package doctest holds the test that the Go code in README.md and docs is compiled.
package doctest
