package deafsleep

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

func fetch(ctx context.Context) (string, error) { return "", ctx.Err() }

func counted(ctx context.Context) (string, error) {
	var err error
	for range 5 {
		var page string
		page, err = fetch(ctx)
		if err == nil {
			return page, nil
		}
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps and calls on after ctx has ended"
	}
	return "", err
}

type answer struct{ text string }

func untilItWorks(ctx context.Context) (a answer, n int, err error) {
	for {
		a.text, err = fetch(ctx)
		if err != nil {
			time.Sleep(50 * time.Millisecond) // want "RL1: this retry loop sleeps and calls on after ctx has ended"
			continue
		}
		return a, n, nil
	}
}

func conditionOfTheLoop(ctx context.Context) error {
	_, err := fetch(ctx)
	for i := 0; err != nil && i < 3; i++ {
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps"
		_, err = fetch(ctx)
	}
	return err
}

func handler(w http.ResponseWriter, r *http.Request) {
	for i := 0; i < 3; i++ {
		if i > 0 {
			time.Sleep(time.Second) // want "RL1: this retry loop sleeps and calls on after r.Context\\(\\) has ended"
		}
		_, err := fetch(r.Context())
		switch {
		case err == nil:
			return
		case i == 2:
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	}
}

func inALiteral(ctx context.Context) func() {
	return func() {
		for i := 0; i < 3; i++ {
			if _, err := fetch(ctx); !(err != nil) {
				return
			}
			time.Sleep(time.Second) // want "RL1: this retry loop sleeps"
		}
	}
}

func noErrorToReturn(ctx context.Context) bool {
	for range 3 {
		if _, err := fetch(ctx); err == nil {
			return true
		}
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps"
	}
	return false
}

// the context of the attempt has ended when the loop sleeps: no fix
func contextOfTheAttempt(ctx context.Context) (err error) {
	for range 3 {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		_, err = fetch(ctx)
		cancel()
		if err == nil {
			break
		}
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps and calls on after ctx has ended"
	}
	return err
}

func generic[T any](ctx context.Context, get func(context.Context) (T, error)) (T, error) {
	for {
		value, err := get(ctx)
		if err == nil {
			return value, nil
		}
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps"
	}
}

func labelled(ctx context.Context, names []string) error {
again:
	for {
		for _, name := range names {
			if name == "" {
				continue again
			}
		}
		if _, err := fetch(ctx); err != nil {
			time.Sleep(time.Second) // want "RL1: this retry loop sleeps"
			continue again
		}
		break again
	}
	return nil
}

// a way out that another loop does not have: there is no fix
func unlocks(ctx context.Context, lock sync.Locker) (err error) {
	lock.Lock()
	for range 3 {
		if _, err = fetch(ctx); err == nil {
			break
		}
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps and calls on after ctx has ended"
	}
	lock.Unlock()
	return err
}

// the answer would be left out: there is no fix
func handles(w http.ResponseWriter, r *http.Request) {
	for range 3 {
		if page, err := fetch(r.Context()); err == nil {
			_, _ = io.WriteString(w, page)
			return
		}
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps and calls on after r.Context\\(\\) has ended"
	}
	http.Error(w, "no backend", http.StatusBadGateway)
}

// a name of the results is hidden: there is no fix
func hides(ctx context.Context) (result, error) {
	for range 3 {
		result := new(result)
		_, err := fetch(ctx)
		if err == nil {
			return *result, nil
		}
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps and calls on after ctx has ended"
	}
	return result{}, nil
}

type result struct{}

func withGoto(ctx context.Context) (string, error) {
again:
	page, err := fetch(ctx)
	if err != nil {
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps and calls on after ctx has ended"
		goto again
	}
	return page, nil
}

func inParentheses(ctx context.Context) error {
	for {
		if _, err := fetch(ctx); err == nil {
			return nil
		}
		(time.Sleep)(time.Second) // want "RL1: this retry loop sleeps"
	}
}

// another statement does not fit there: there is no fix
func inTheHeadOfAnIf(ctx context.Context, more func() bool) error {
	for {
		_, err := fetch(ctx)
		if err == nil {
			return nil
		}
		if time.Sleep(time.Second); !more() { // want "RL1: this retry loop sleeps"
			return err
		}
	}
}
