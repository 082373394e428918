// Package policyhttp sends HTTP requests through a pipeline.
package policyhttp
