package main

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// store is what the service knows of accounts.
type store struct {
	db            *sql.DB
	reads, writes *resilience.Pipeline
	down          *breaker.Breaker
	pool          *bulkhead.Bulkhead
	attempts      atomic.Int64 // of transactions
}

const connections = 16

func newStore(db *sql.DB) *store {
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	down := breaker.New(breaker.Name("accounts-db"), breaker.FailureRate(0.5, 20))
	pool := bulkhead.New(connections, bulkhead.Queue(64, 200*time.Millisecond))
	base := resilience.Compose(resilience.Classify(classOf), down, pool)
	return &store{
		db:   db,
		down: down,
		pool: pool,
		reads: resilience.Compose(base,
			resilience.Name("accounts-reads"),
			timeout.Total(2*time.Second),
			retry.New(),
			timeout.PerAttempt(500*time.Millisecond),
		),
		writes: resilience.Compose(base,
			resilience.Name("accounts-writes"),
			timeout.Total(5*time.Second),
			retry.New(retry.Attempts(8), retry.Exponential(10*time.Millisecond, 500*time.Millisecond)),
		),
	}
}

// balance is a single read.
func (s *store) balance(ctx context.Context, account int) (int, error) {
	return resilience.Do(ctx, s.reads, func(ctx context.Context) (balance int, err error) {
		const query = `select balance from resilience_accounts where id = $1`
		err = s.db.QueryRowContext(ctx, query, account).Scan(&balance)
		return balance, err
	})
}

// accounts calls f with each account. The rows are read after the query has returned, so they are opened: until the permit
// is settled they keep their slot and their context.
func (s *store) accounts(ctx context.Context, f func(id, balance int) error) error {
	rows, permit, err := resilience.Open(ctx, s.reads, func(ctx context.Context) (*sql.Rows, error) {
		return s.db.QueryContext(ctx, `select id, balance from resilience_accounts order by id`)
	})
	if err != nil {
		return err
	}
	defer permit.Done(nil) // nothing, after another Done
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, balance int
		if err := rows.Scan(&id, &balance); err != nil {
			return err
		}
		if err := f(id, balance); err != nil {
			return err
		}
	}
	permit.Done(rows.Err()) // a failure on the way is one failure more for the breaker
	return rows.Err()
}

// transfer moves money in one transaction.
func (s *store) transfer(ctx context.Context, from, to, amount int) error {
	serializable := &sql.TxOptions{Isolation: sql.LevelSerializable}
	return inTx(ctx, s.writes, s.db, serializable, func(ctx context.Context, tx *sql.Tx) error {
		s.attempts.Add(1)
		const move = `update resilience_accounts set balance = balance + $1 where id = $2`
		_, err := tx.ExecContext(ctx, move, -amount, from)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, move, amount, to)
		return err
	})
}

// createAccounts makes the table, with n accounts that hold balance each.
func createAccounts(ctx context.Context, db *sql.DB, n, balance int) error {
	const create = `create table resilience_accounts (id int primary key, balance int not null check (balance >= 0))`
	_, err := db.ExecContext(ctx, create)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `insert into resilience_accounts select id, $2 from generate_series(0, $1 - 1) id`, n, balance)
	if err != nil {
		return errors.Join(err, dropAccounts(ctx, db))
	}
	return nil
}

func dropAccounts(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, `drop table resilience_accounts`)
	return err
}
