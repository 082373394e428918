// Package interop runs the interoperability tests of gRPC for Go through the interceptors of package policygrpc, on both
// sides. It is a module of its own since those tests need much that policygrpc does not.
package interop
