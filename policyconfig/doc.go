// Package policyconfig makes pipelines from a file, and changes them while they run.
//
//	set, err := policyconfig.LoadFile("pipelines.json", policyconfig.Registry{})
//	if err != nil {
//		return err // everything that is wrong, each with its line and column
//	}
//	users := set.Pipeline("users")
//	user, err := resilience.Do(ctx, users, fetchUser)
//
// The file is JSON: an object for each pipeline, with a list of layers. An option has the name that it has in Go, in
// camelCase; its arguments, where there are several, have theirs; durations have a unit:
//
//	{
//	  "$schema": "schema.json",
//	  "pipelines": {
//	    "users": {
//	      "layers": [
//	        {"kind": "timeout", "total": "2s"},
//	        {"kind": "retry", "attempts": 4, "exponential": {"initial": "50ms", "longest": "2s"}},
//	        {"kind": "breaker", "name": "users-db", "failureRate": {"rate": 0.5, "minimumCalls": 20}, "openFor": "5s"},
//	        {"kind": "timeout", "perAttempt": "300ms"}
//	      ]
//	    }
//	  }
//	}
//
// A pipeline from a file is the same as one written in Go. Code, such as a classifier, is registered by name
// in a [Registry].
//
// [Set.Apply] and [Set.Watch] put another configuration in force. It is checked as a whole before anything changes; what
// has not changed stays the very same instance; what has changed in numbers is reconfigured in place and keeps its state;
// and after any error the configuration before is in force. [Set.Plan] says in words what would change.
//
// [Go] writes a configuration as Go source, [From] writes a pipeline as a configuration, and [Schema] is its JSON Schema,
// for editors.
package policyconfig
