package deafsleep

import (
	"context"
	"errors"
	"log"
	"net"
	"os"
	"time"
)

func waitsForTheContext(ctx context.Context) error {
	for {
		_, err := fetch(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(time.Second):
		}
	}
}

func asksTheContext(ctx context.Context) error {
	for {
		_, err := fetch(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// no context is in scope
func alone() error {
	for range 3 {
		if _, err := fetch(context.Background()); err == nil {
			return nil
		}
		time.Sleep(time.Second)
	}
	return errors.New("gave up")
}

// a periodic loop goes on after a success
func periodic(ctx context.Context) {
	for {
		if _, err := fetch(ctx); err != nil {
			log.Print(err)
		}
		time.Sleep(time.Minute)
	}
}

// a ticker loop
func ticks(ctx context.Context) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for range ticker.C {
		if _, err := fetch(ctx); err == nil {
			return nil
		}
	}
	return nil
}

// a loop that looks for a state gives up at an error
func polls(ctx context.Context) error {
	for {
		page, err := fetch(ctx)
		if err != nil {
			return err
		}
		if page == "ready" {
			return nil
		}
		time.Sleep(time.Second)
	}
}

// an accept loop waits for clients
func accepts(ctx context.Context, listener net.Listener) (net.Conn, error) {
	for {
		conn, err := listener.Accept()
		if err == nil {
			return conn, nil
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// each item is tried once
func each(ctx context.Context, names []string) error {
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

func ignored(ctx context.Context) error {
	for range 3 {
		if _, err := fetch(ctx); err == nil {
			return nil
		}
		//resilint:ignore RL1 the process has no shutdown
		time.Sleep(time.Second)
	}
	return nil
}

// ignoredAsAWhole is a loop that shows how not to do it.
//
//resilint:ignore RL1,RL2 an example
func ignoredAsAWhole(ctx context.Context) error {
	for range 3 {
		if _, err := fetch(ctx); err == nil {
			return nil
		}
		time.Sleep(time.Second)
	}
	return nil
}

func ignoredWithoutReason(ctx context.Context) error {
	for range 3 {
		if _, err := fetch(ctx); err == nil {
			return nil
		}
		time.Sleep(time.Second) //resilint:ignore RL1 // want "RL1: an ignore needs a reason"
	}
	return nil
}

func ignoresNothing(ctx context.Context) error {
	_, err := fetch(ctx) //resilint:ignore RL1 nobody waits // want "RL1: this ignore takes no finding back"
	return err
}

func ignoresNothingWithoutReason(ctx context.Context) error {
	//resilint:ignore deafsleep // want "RL1: an ignore needs a reason"
	_, err := fetch(ctx)
	return err
}

// nobody can end this context
func background() error {
	ctx := context.Background()
	for range 3 {
		if _, err := fetch(ctx); err == nil {
			return nil
		}
		time.Sleep(time.Second)
	}
	return errors.New("gave up")
}
