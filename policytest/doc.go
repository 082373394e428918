// Package policytest helps to test code that uses policies, and policies themselves.
//
// # Code that uses policies
//
// [Script] is an operation that answers what the test says. [Recorder] is an observer that keeps what happened. Tests of
// time need no help: inside a testing/synctest bubble every policy of this module runs in virtual time.
//
// # Policies of your own
//
// [Guard], [Repeater] and [Wrapper] check a policy against every rule of its contract in package policy, including the
// optional interfaces that it implements. Each rule is a subtest, and a failure quotes the rule.
package policytest
