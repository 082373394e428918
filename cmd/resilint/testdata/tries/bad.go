package tries

import (
	"context"
	"fmt"
	"time"
)

func fetch(ctx context.Context, id int) (string, error) { return "", ctx.Err() }

const most = 4

// Page fetches a page.
func Page(ctx context.Context, id int) (page string, err error) {
	for i := 0; i < most; i++ {
		page, err = fetch(ctx, id)
		if err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond) // want "RL1: this retry loop sleeps"
	}
	return page, err
}

func inTheIf(ctx context.Context) error {
	for range 3 {
		if _, err := fetch(ctx, 1); err == nil {
			return nil
		}
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps"
	}
	return fmt.Errorf("gave up")
}

func usesTheCounter(ctx context.Context) error {
	for i := 0; i < 3; i++ {
		if _, err := fetch(ctx, i); err == nil {
			return nil
		}
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps"
	}
	return fmt.Errorf("gave up")
}

type first struct{}

func (first) Load(ctx context.Context) (page string, err error) {
	for range 3 {
		page, err = fetch(ctx, 1)
		if err == nil {
			break
		}
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps"
	}
	return page, err
}

type second struct{}

func (*second) Load(ctx context.Context) (err error) {
	for range 4 {
		if _, err = fetch(ctx, 2); err == nil {
			return nil
		}
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps"
	}
	return err
}

func twice(ctx context.Context) (err error) {
	for range 3 {
		_, err = fetch(ctx, 1)
		if err == nil {
			break
		}
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps"
	}
	for range 5 {
		_, err = fetch(ctx, 2)
		if err == nil {
			break
		}
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps"
	}
	return err
}

// the names are taken
func taken(ctx context.Context, try int) (err error) {
	for range 3 {
		_, err = fetch(ctx, try)
		if err == nil {
			break
		}
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps"
	}
	return err
}

// the counter is known after the loop
func counted(ctx context.Context) (i int, err error) {
	for i = 0; i < 3; i++ {
		if _, err = fetch(ctx, 1); err == nil {
			break
		}
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps"
	}
	return i, err
}

func countedByARange(ctx context.Context) (i int, err error) {
	for i = range 3 {
		if _, err = fetch(ctx, 1); err == nil {
			break
		}
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps"
	}
	return i, err
}

// another variable is the bound
func sharedBudget(ctx context.Context, spent int) (err error) {
	for i := 0; spent < 3; i++ {
		if _, err = fetch(ctx, 1); err == nil {
			return nil
		}
		spent++
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps"
	}
	return err
}

// each attempt has its own time
func withOwnTime(ctx context.Context) (err error) {
	for range 3 {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		_, err = fetch(ctx, 1)
		cancel()
		if err == nil {
			return nil
		}
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps"
	}
	return err
}

const few uint8 = 4

func typedBound(ctx context.Context) error {
	for i := uint8(0); i < few; i++ {
		if _, err := fetch(ctx, 1); err == nil {
			return nil
		}
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps"
	}
	return fmt.Errorf("gave up")
}
