package policyslog_test

import (
	"context"
	"errors"
	"expvar"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policyslog"
	"github.com/go-resilience/resilience/retry"
)

// A log is attached in two places: to the pipeline, and to the breaker.
func Example() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: brief}))
	log := policyslog.New(logger)
	defer log.Flush()
	users := resilience.Compose(
		resilience.Name("users"),
		retry.New(retry.Attempts(3), retry.Exponential(time.Millisecond, 10*time.Millisecond)),
		breaker.New(
			breaker.Name("users-db"),
			breaker.FailureRate(0.5, 2),
			breaker.OpenFor(5*time.Second),
			breaker.Jitter(0),
			breaker.OnChange(log.Change),
		),
		resilience.Observe(log),
	)
	_ = users.Run(context.Background(), func(context.Context) error { return errors.New("connection refused") })
	// Output:
	// level=WARN msg="breaker \"users-db\" opened: 2 of the last 2 calls failed (100 %), the limit is 50 % of at least 2; for 5s"
	// level=WARN msg="call given up" resilience.attempt=2 resilience.code=breaker.open
}

// brief leaves out what differs from run to run, and more.
func brief(groups []string, a slog.Attr) slog.Attr {
	switch {
	case len(groups) == 0 && a.Key != slog.TimeKey, a.Key == "code", a.Key == "attempt":
		return a
	}
	return slog.Attr{}
}

func ExampleExpvar() {
	users := resilience.Compose(resilience.Name("users"), breaker.New(breaker.Name("users-db")))
	policyslog.Expvar("pipelines", users) // /debug/vars, if net/http serves the default mux
	fmt.Println(expvar.Get("pipelines").String()[:59])
	// Output:
	// {"users":{"name":"users","calls":{"succeeded":0,"expected":
}

func ExampleRecord() {
	file, err := os.CreateTemp("", "calls-*.jsonl")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.Remove(file.Name())
	defer file.Close()
	recorder := policyslog.Record(file)
	users := resilience.Compose(resilience.Name("users"), retry.New(), resilience.Observe(recorder))
	_ = users.Run(context.Background(), func(context.Context) error { return nil })
	if err := recorder.Close(); err != nil { // before the file
		fmt.Println(err)
	}
	fmt.Println(recorder.Lost(), "lines lost")
	// Output:
	// 0 lines lost
}

// The start of docs/observing.md.
func Example_observing() {
	log := policyslog.New(slog.Default())
	users := resilience.Compose(
		resilience.Name("users"), // without a name nothing is counted or shown
		retry.New(),
		breaker.New(breaker.Name("users-db"), breaker.OnChange(log.Change)),
		resilience.Observe(log),
	)
	policyslog.Expvar("resilience", users)
	fmt.Println(users.Report().Calls.Failed)
	// Output:
	// 0
}
