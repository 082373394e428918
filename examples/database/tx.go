package main

import (
	"context"
	"database/sql"
	"errors"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// inTx runs fn in a transaction, and the whole of it again in a new one if backend retries. fn must do nothing but use tx,
// since what it does elsewhere is not rolled back.
//
// A transaction whose COMMIT got no answer may have been committed. It is not run again.
func inTx(
	ctx context.Context, backend policy.Layer, db *sql.DB, options *sql.TxOptions,
	fn func(context.Context, *sql.Tx) error,
) error {
	return resilience.Run(retry.NotIdempotent(ctx), backend, func(ctx context.Context) error {
		tx, err := db.BeginTx(ctx, options)
		if err != nil {
			return retry.NotSent(err) // nothing has been done
		}
		defer func() { _ = tx.Rollback() }() // does nothing after Commit
		if err := fn(ctx, tx); err != nil {
			return retry.NotSent(err) // rolled back: nothing of it stays
		}
		err = tx.Commit()
		if rolledBack(err) {
			return retry.NotSent(err)
		}
		return err
	})
}

// rolledBack reports whether the server says that it rolled back because others were in the way.
func rolledBack(err error) bool {
	server, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err)
	return ok && (server.SQLState() == "40001" || server.SQLState() == "40P01")
}
