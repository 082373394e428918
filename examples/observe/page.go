package main

import "github.com/go-resilience/resilience/policystatus"

// newPage returns the fourth way to look: a live page for people. It is read-only. policystatus.Control would let
// operators act, and needs to know who they are.
func newPage() *policystatus.Page {
	return policystatus.New(policystatus.Title("observe"))
}
