// Database moves money between accounts in a real PostgreSQL, in transactions that collide on purpose, through the pipelines
// that docs/databases.md explains. It prints how many attempts the transactions needed, and that no money was lost.
//
//	DATABASE_URL=postgres://localhost/postgres go run .
//
// It creates a table resilience_accounts and drops it again. Where to read: class.go says what each error means, tx.go
// runs a transaction again as a whole, store.go has the pipelines. None of them imports a driver.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

func main() {
	if err := run(context.Background(), os.Getenv("DATABASE_URL")); err != nil {
		fmt.Fprintln(os.Stderr, "database:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url string) (err error) {
	if url == "" {
		return errors.New("DATABASE_URL is not set, such as postgres://localhost/postgres")
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := createAccounts(ctx, db, 4, 1000); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dropAccounts(ctx, db)) }()

	s := newStore(db)
	const clients, transfers = 8, 25
	var all sync.WaitGroup
	failed := make([]int, clients)
	for client := range clients {
		all.Go(func() {
			for i := range transfers {
				if s.transfer(ctx, client%4, (client+i+1)%4, 1) != nil {
					failed[client]++
				}
			}
		})
	}
	all.Wait()
	total, lost := 0, 0
	err = s.accounts(ctx, func(_, balance int) error { total += balance; return nil })
	for _, n := range failed {
		lost += n
	}
	fmt.Printf("%d transfers, %d attempts, %d given up; the accounts hold %d, as at the beginning\n",
		clients*transfers, s.attempts.Load(), lost, total)
	fmt.Println(s.down.Snapshot())
	if err != nil {
		return err
	}
	first, err := s.balance(ctx, 0)
	fmt.Printf("account 0 holds %d\n", first)
	return err
}
