// Package play is the model of the playground: what its controls say, the world that they make, and what comes of it. The
// page runs it as WebAssembly, the tests as it is, and both get the same numbers.
//
// A [State] is everything that can be set, and stands in the address of the page ([Decode], [State.Encode]). [State.Run] plays
// one of its two pipelines, second by second. [State.Source] writes that pipeline as Go and as JSON, and [State.Theory] says
// what to expect where there is a closed form.
//
// Whatever a state says, a run is bounded: in calls and attempts, in calls at a time, and in virtual time.
package play
