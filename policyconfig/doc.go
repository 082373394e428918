// Package policyconfig makes pipelines from a file, and changes them while they run.
//
//	set, err := policyconfig.LoadFile("pipelines.json", policyconfig.Registry{})
//	if err != nil {
//		return err // everything that is wrong, each with its line and column
//	}
//	users := set.Pipeline("users")
//	user, err := resilience.Do(ctx, users, fetchUser)
//
// The file is JSON: an object for each pipeline, with a list of layers. Options are named as in Go, in camelCase, and
// so are the arguments of an option that takes several. Durations have a unit:
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
// [Set.Apply] and [Set.Watch] put another configuration in force. They check it as a whole before anything changes. A
// policy that is unchanged stays the very same instance. A policy of which only numbers change is reconfigured in place
// and keeps its state. After any error the previous configuration stays in force. [Set.Plan] says in words what would
// change.
//
// [Go] writes a configuration as Go source, [From] writes a pipeline as a configuration, and [Schema] is its JSON Schema,
// for editors.
package policyconfig
