// Package policygrpc sends gRPC calls through a pipeline.
package policygrpc
