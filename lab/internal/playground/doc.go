// Package playground makes the playground: one page, in one file, that runs the library itself, compiled to WebAssembly, in
// virtual time. [Page] builds it, and [Command] serves it or writes it to a file. What the page runs is package play.
package playground
