package fallback_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/fallback"
	"github.com/go-resilience/resilience/policy"
)

type user struct{ Name string }

func fails(context.Context) (user, error) { return user{}, errors.New("database is down") }

func ExampleValue() {
	users := resilience.For[user](resilience.Compose(breaker.New()))
	guest := fallback.Value(users, user{Name: "guest"})

	fmt.Println(guest.Do(context.Background(), fails))
	// Output:
	// {guest} <nil>
}

func ExampleFunc() {
	db := breaker.New()
	users := fallback.Func(breaker.Policy[user]{Breaker: db}, func(_ context.Context, err error) (user, error) {
		if errors.Is(err, policy.ErrRejected) {
			return user{Name: "guest, nothing was sent"}, nil
		}
		return user{}, errors.New("cache is empty")
	})

	fmt.Println(users.Do(context.Background(), fails))
	db.Trip()
	fmt.Println(users.Do(context.Background(), fails))
	// Output:
	// {} database is down; fallback: cache is empty
	// {guest, nothing was sent} <nil>
}

func ExampleLastGood() {
	rates := fallback.LastGood(resilience.For[float64](resilience.Compose()), time.Hour)

	fmt.Println(rates.Do(context.Background(), func(context.Context) (float64, error) { return 1.08, nil }))
	fmt.Println(rates.Do(context.Background(), func(context.Context) (float64, error) { return 0, errors.New("bank is closed") }))
	// Output:
	// 1.08 <nil>
	// 1.08 <nil>
}
