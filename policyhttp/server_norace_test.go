//go:build !race

package policyhttp_test

const handlerRaced = false
