// Package replay runs recorded traffic through pipelines in virtual time: what would these policies have done to it?
//
// A [Log] is what was recorded: calls, and the attempts that reached the dependency. A [Candidate] is a pipeline from a
// policyconfig file. [Run] sends the calls of a log through a candidate; a [Model] answers its attempts. [Measured] is what
// came of it, and what was recorded is measured in the same way.
//
// The first attempt of a call meets what it met when it was recorded. What further attempts meet, and what changed load
// does to the dependency, was never recorded: it is a guess, and each Model is one.
package replay
