// Package policytest helps to test code that uses policies, and policies themselves.
//
// [Script] is an operation that answers what a test says, [Recorder] an observer that keeps what happened. Tests of
// time need no help: inside a testing/synctest bubble every policy of this module runs in virtual time.
package policytest
