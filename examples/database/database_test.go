//go:build unix

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestDatabase runs everything against one real PostgreSQL.
func TestDatabase(t *testing.T) {
	s := startServer(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, *server)
	}{
		{"what each SQLSTATE means", testStates},
		{"a serialization failure runs the whole transaction again", testSerialization},
		{"a deadlock runs one of the two again", testDeadlock},
		{"a broken constraint is an answer", testConstraint},
		{"no rows is an answer", testNoRows},
		{"a COMMIT without an answer is not repeated", testLostCommit},
		{"rows keep their slot", testRows},
		{"a timeout cuts a query", testTimeout},
		{"the program", testProgram},
		{"the circuit opens when the server dies, and closes when it is back", testRestart},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			c.test(t, s)
		})
	}
	s.t = t
}

// newAccounts returns a store with two accounts of 100.
func newAccounts(t *testing.T, s *server) *store {
	t.Helper()
	db := s.open()
	require.NoError(t, createAccounts(t.Context(), db, 2, 100))
	t.Cleanup(func() {
		if s.running != nil {
			_ = dropAccounts(context.Background(), db)
		}
	})
	return newStore(db)
}

var row = regexp.MustCompile("(?m)^\\| `([0-9A-Z]{5})` \\|[^|]*\\| ([a-z]+) \\|")

// testStates raises each SQLSTATE of the page in the server.
func testStates(t *testing.T, s *server) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "databases.md"))
	require.NoError(t, err)
	rows := row.FindAllStringSubmatch(string(page), -1)
	require.Greater(t, len(rows), 15)
	db := s.open()
	for _, row := range rows {
		state, want := row[1], row[2]
		_, err := db.ExecContext(t.Context(), fmt.Sprintf(`do $$ begin raise exception using errcode = '%s'; end $$`, state))
		require.Error(t, err)
		server, ok := errors.AsType[interface {
			error
			SQLState() string
		}](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, state, server.SQLState())
		require.Equal(t, want, classOf(fmt.Errorf("wrapped: %w", err)).String(), state)
	}
}

// A transaction that another one disturbs while its first attempt runs.
func testSerialization(t *testing.T, s *server) {
	accounts := newAccounts(t, s)
	attempts := 0
	repeatable := &sql.TxOptions{Isolation: sql.LevelRepeatableRead}
	err := inTx(t.Context(), accounts.writes, accounts.db, repeatable, func(ctx context.Context, tx *sql.Tx) error {
		attempts++
		var balance int
		if err := tx.QueryRowContext(ctx, `select balance from resilience_accounts where id = 0`).Scan(&balance); err != nil {
			return err
		}
		if attempts == 1 { // somebody else is faster
			if _, err := accounts.db.ExecContext(ctx, `update resilience_accounts set balance = 50 where id = 0`); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `update resilience_accounts set balance = $1 where id = 0`, balance+1)
		return err
	})
	require.NoError(t, err)
	require.Equal(t, 2, attempts)
	balance, err := accounts.balance(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, 51, balance, "the second attempt has read again")
	require.Zero(t, accounts.down.Snapshot().Failures, "contention is no failure of the database")
}

func testDeadlock(t *testing.T, s *server) {
	accounts := newAccounts(t, s)
	var first sync.WaitGroup // both have their first lock
	first.Add(2)
	errs, attempts := make([]error, 2), make([]int, 2)
	var both sync.WaitGroup
	for i := range 2 {
		both.Go(func() {
			errs[i] = inTx(t.Context(), accounts.writes, accounts.db, nil, func(ctx context.Context, tx *sql.Tx) error {
				const pay = `update resilience_accounts set balance = balance + 1 where id = $1`
				_, err := tx.ExecContext(ctx, pay, i)
				if attempts[i]++; attempts[i] == 1 {
					first.Done()
					first.Wait()
				}
				if err == nil {
					_, err = tx.ExecContext(ctx, pay, 1-i)
				}
				return err
			})
		})
	}
	both.Wait()
	require.NoError(t, errs[0])
	require.NoError(t, errs[1])
	require.Greater(t, attempts[0]+attempts[1], 2)
	for account := range 2 {
		balance, err := accounts.balance(t.Context(), account)
		require.NoError(t, err)
		require.Equal(t, 102, balance)
	}
	require.Zero(t, accounts.down.Snapshot().Failures)
}

func testConstraint(t *testing.T, s *server) {
	accounts := newAccounts(t, s)
	for range 40 {
		err := accounts.transfer(t.Context(), 0, 1, 1000) // more than there is
		require.Equal(t, policy.Expected, classOf(err))
	}
	require.EqualValues(t, 40, accounts.attempts.Load(), "none is tried again")
	require.Equal(t, breaker.Closed, accounts.down.State())
	require.Zero(t, accounts.down.Snapshot().Failures)
}

func testNoRows(t *testing.T, s *server) {
	accounts := newAccounts(t, s)
	_, err := accounts.balance(t.Context(), 99)
	require.ErrorIs(t, err, sql.ErrNoRows)
	require.Zero(t, accounts.down.Snapshot().Failures)
	_, repeated := errors.AsType[*retry.Error](err)
	require.False(t, repeated)
}

// The connection ends before COMMIT is sent: the caller cannot know that, so it is not run again.
func testLostCommit(t *testing.T, s *server) {
	accounts := newAccounts(t, s)
	attempts := 0
	err := inTx(t.Context(), accounts.writes, accounts.db, nil, func(ctx context.Context, tx *sql.Tx) error {
		attempts++
		var pid int
		if err := tx.QueryRowContext(ctx, `select pg_backend_pid()`).Scan(&pid); err != nil {
			return err
		}
		_, err := accounts.db.ExecContext(ctx, `select pg_terminate_backend($1, 5000)`, pid)
		return err
	})
	require.Error(t, err)
	require.Equal(t, 1, attempts)
	require.EqualValues(t, 1, accounts.down.Snapshot().Failures)

	// The same before the COMMIT, noticed by fn, is rolled back for certain, and run again.
	attempts = 0
	err = inTx(t.Context(), accounts.writes, accounts.db, nil, func(ctx context.Context, tx *sql.Tx) error {
		if attempts++; attempts > 1 {
			return nil
		}
		_, err := tx.ExecContext(ctx, `select pg_terminate_backend(pg_backend_pid())`)
		return err
	})
	require.NoError(t, err)
	require.Equal(t, 2, attempts)
}

func testRows(t *testing.T, s *server) {
	accounts := newAccounts(t, s)
	inFlight := func() int { return accounts.pool.Snapshot().InFlight }
	seen := 0
	require.NoError(t, accounts.accounts(t.Context(), func(int, int) error {
		seen++
		require.Equal(t, 1, inFlight())
		return nil
	}))
	require.Equal(t, 2, seen)
	require.Zero(t, inFlight())
}

func testTimeout(t *testing.T, s *server) {
	accounts := newAccounts(t, s)
	_, err := resilience.Do(t.Context(), accounts.reads, func(ctx context.Context) (n int, err error) {
		err = accounts.db.QueryRowContext(ctx, `select 1 from pg_sleep(60)`).Scan(&n)
		return n, err
	})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Positive(t, accounts.down.Snapshot().Failures)
}

func testProgram(t *testing.T, s *server) { require.NoError(t, run(t.Context(), s.url())) }

func testRestart(t *testing.T, s *server) {
	accounts := newAccounts(t, s)
	s.stop()
	for range 40 {
		_, err := accounts.balance(t.Context(), 0)
		require.Error(t, err)
		if errors.Is(err, breaker.ErrOpen) {
			break
		}
	}
	require.Equal(t, breaker.Open, accounts.down.State())
	began := time.Now()
	_, err := accounts.balance(t.Context(), 0)
	require.ErrorIs(t, err, breaker.ErrOpen)
	require.Less(t, time.Since(began), 5*time.Second)

	s.start()
	accounts.down.Reset() // what the open time does by itself, without waiting for it
	balance, err := accounts.balance(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, 100, balance)
}
