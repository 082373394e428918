package policyconfig_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyconfig"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

var pipelines = []byte(`{
	"pipelines": {
		"users": {
			"layers": [
				{"kind": "timeout", "total": "2s"},
				{"kind": "retry", "attempts": 4},
				{"kind": "breaker", "name": "users-db", "openFor": "5s"},
				{"kind": "timeout", "perAttempt": "300ms"}
			]
		}
	}
}`)

type user struct{ name string }

func fetchUser(context.Context) (user, error) { return user{"Ada"}, nil }

func ExampleLoad() {
	ctx := context.Background()

	set, err := policyconfig.Load(pipelines, policyconfig.Registry{Require: []string{"users"}})
	if err != nil {
		log.Fatal(err) // every problem, with its line and column
	}
	users := set.Pipeline("users") // follows every change
	u, err := resilience.Do(ctx, users, fetchUser)

	fmt.Println(u.name, err)
	fmt.Println(users)
	// Output:
	// Ada <nil>
	// total timeout 2s > retry 4 > breaker "users-db" > attempt timeout 300ms
}

func ExampleSet_Apply() {
	set, err := policyconfig.Load([]byte(`{"pipelines": {"users": {"layers": [
		{"kind": "breaker", "openFor": "5s"}, {"kind": "bulkhead", "limit": 16}]}}}`), policyconfig.Registry{})
	if err != nil {
		log.Fatal(err)
	}
	changes, err := set.Apply([]byte(`{"pipelines": {"users": {"layers": [
		{"kind": "breaker", "openFor": "10s"}, {"kind": "bulkhead", "limit": 8}]}}}`))
	fmt.Println(changes, err)

	_, err = set.Apply([]byte(`{"pipelines": {"users": {"layers": [
		{"kind": "breaker", "openfor": "10"}, {"kind": "bulkhead", "limit": 0}]}}}`))
	fmt.Println(err)
	// Output:
	// users: breaker open time 5s to 10s
	// users: bulkhead 16 to 8 <nil>
	// policyconfig: configuration:2:23: /pipelines/users/layers/0/openfor: "openfor" is not known here: did you mean "openFor"?
	// configuration:2:71: /pipelines/users/layers/1/limit: 0: must be a whole number, from 1 to 2147483647
}

func ExampleSet_Watch() {
	dir, err := os.MkdirTemp("", "users")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "pipelines.json")
	if err := os.WriteFile(path, pipelines, 0o600); err != nil {
		log.Print(err)
		return
	}
	serve := func(users *policyconfig.Handle) { fmt.Println(users) }

	set, err := policyconfig.LoadFile(path, policyconfig.Registry{Require: []string{"users"}})
	if err != nil {
		log.Print(err)
		return
	}

	ctx, stop := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		for changes, err := range set.Watch(ctx, path, 2*time.Second) {
			if err != nil {
				log.Print(err) // the configuration before stays in force
				continue
			}
			log.Print(changes)
		}
	})

	serve(set.Pipeline("users"))
	stop()
	watching.Wait()
	// Output: total timeout 2s > retry 4 > breaker "users-db" > attempt timeout 300ms
}

// A pipeline that stands in front of a handler has to be one that the handler accepts, also after a reload.
func ExampleRegistry_frontDoor() {
	mux := http.NewServeMux()
	set, err := policyconfig.Load([]byte(`{"pipelines": {"front": {"layers": [
		{"kind": "bulkhead", "limit": 64, "queue": {"length": 64, "wait": "100ms"}}]}}}`), policyconfig.Registry{
		Check: map[string]func(*resilience.Pipeline) error{
			"front": func(p *resilience.Pipeline) error { return policyhttp.ValidateHandler(mux, p) },
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	server := http.Server{Addr: ":8080", ReadHeaderTimeout: 5 * time.Second, Handler: policyhttp.Handler(mux, set.Pipeline("front"))}
	defer func() { _ = server.Close() }()

	_, err = set.Apply([]byte(`{"pipelines": {"front": {"layers": [
		{"kind": "retry", "attempts": 2}, {"kind": "bulkhead", "limit": 32}]}}}`))
	fmt.Println(err)
	fmt.Println(set.Pipeline("front"))
	// Output:
	// policyconfig: configuration:2:3: /pipelines/front/layers/0: retry 2: repeats, and a handler must not run twice
	// bulkhead 64+64
}

var errNotFound = errors.New("not found")

func ExampleRegistry() {
	registry := policyconfig.Registry{
		Classify: map[string]func(error) policy.Class{
			"http": func(err error) policy.Class {
				if errors.Is(err, errNotFound) {
					return policy.Expected
				}
				return policy.Unclassified
			},
		},
		Keys: map[string]func(context.Context) string{"tenant": tenantOf},
	}
	set, err := policyconfig.Load([]byte(`{"pipelines": {"users": {
		"classify": "http",
		"layers": [
			{"kind": "breaker"},
			{"kind": "ratelimit", "perSecond": 10, "burst": 5, "perKey": {"key": "tenant", "max": 1000, "idle": "1h"}}
		]}}}`), registry)
	fmt.Println(set.Pipeline("users"), err)
	// Output: breaker > per key rate limit 10/s burst 5 <nil>
}

func tenantOf(ctx context.Context) string {
	name, _ := ctx.Value(tenantKey{}).(string)
	return name
}

func ExampleGo() {
	source, err := policyconfig.Go(pipelines)
	fmt.Printf("%s%v", source, err)
	// Output:
	// // Package pipelines was written by policyconfig.Go.
	// package pipelines
	//
	// import (
	// 	"time"
	//
	// 	"github.com/go-resilience/resilience"
	// 	"github.com/go-resilience/resilience/breaker"
	// 	"github.com/go-resilience/resilience/retry"
	// 	"github.com/go-resilience/resilience/timeout"
	// )
	//
	// // Pipelines returns the pipelines by name. Call it once.
	// func Pipelines() map[string]*resilience.Pipeline {
	// 	return map[string]*resilience.Pipeline{
	// 		"users": resilience.Compose(
	// 			resilience.Name("users"),
	// 			timeout.Total(2*time.Second),
	// 			retry.New(retry.Attempts(4)),
	// 			breaker.New(breaker.Name("users-db"), breaker.OpenFor(5*time.Second)),
	// 			timeout.PerAttempt(300*time.Millisecond),
	// 		),
	// 	}
	// }
	// <nil>
}

func ExampleFrom() {
	users := resilience.Compose(
		resilience.Name("users"),
		timeout.Total(2*time.Second),
		retry.New(retry.Attempts(4)),
		breaker.New(breaker.FailureRate(0.5, 20)),
	)
	file, err := policyconfig.From(users)
	fmt.Printf("%s%v", file, err)
	// Output:
	// {
	//   "$schema": "https://github.com/go-resilience/resilience/policyconfig/schema.json",
	//   "pipelines": {
	//     "users": {
	//       "layers": [
	//         {"kind": "timeout", "total": "2s"},
	//         {"kind": "retry", "attempts": 4},
	//         {"kind": "breaker", "failureRate": {"rate": 0.5, "minimumCalls": 20}}
	//       ]
	//     }
	//   }
	// }
	// <nil>
}
