package main

import (
	"database/sql"
	"errors"

	"github.com/go-resilience/resilience/policy"
)

// classOf says what an error of the database means, to every policy at once. It imports no driver: pgx, lib/pq and others
// have a method SQLState.
func classOf(err error) policy.Class {
	if errors.Is(err, sql.ErrNoRows) {
		return policy.Expected // an answer
	}
	if server, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok {
		return classOfState(server.SQLState())
	}
	return policy.Unclassified // no answer at all: a failure, and transient
}

// classOfState says what an SQLSTATE of PostgreSQL means.
func classOfState(state string) policy.Class {
	switch state {
	case "40001", "40P01", "55P03": // serialization failure, deadlock, lock not available: others were in the way
		return policy.Throttled
	case "53300": // too many connections
		return policy.Throttled
	case "53100", "57P04": // disk full, database dropped: waiting does not help
		return policy.Permanent
	case "25006": // read-only transaction: this was the primary before a failover
		return policy.Transient
	case "40002": // a constraint that is checked at the end
		return policy.Expected
	}
	switch class := state[:min(2, len(state))]; class {
	case "22", "23", "44", "P0": // data, constraints, views, errors raised by functions: answers about the data
		return policy.Expected
	case "0A", "21", "25", "26", "2F", "34", "3F", "42": // the statement is wrong: a mistake of ours
		return policy.Ignored
	case "28", "3D", "58", "F0", "XX": // password, database, files, internal: broken, and will be in a second
		return policy.Permanent
	default: // among them 08 connection, 53 resources, 57 operator intervention
		return policy.Transient
	}
}
