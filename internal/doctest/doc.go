// Package doctest holds the tests of the documents: their Go code is compiled, and their links lead somewhere.
package doctest
