// Package policytest helps you test code that uses policies, and your own policies.
//
// # Code that uses policies
//
// [Script] makes an operation that returns what the test tells it to. [Recorder] is an observer that keeps the events.
// Time needs no help: inside a testing/synctest bubble every policy of this module runs in virtual time.
//
// # Policies of your own
//
// [Guard], [Repeater] and [Wrapper] check a policy against every rule of its contract in package policy, including the
// optional interfaces that it implements. Each rule is a subtest, and a failure quotes the rule.
package policytest
