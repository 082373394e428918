package policystatus_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policystatus"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// A page about one pipeline, on a port that only operators reach.
func Example() {
	page := policystatus.New(policystatus.Title("checkout"))
	users := resilience.Compose(
		resilience.Name("users"),
		timeout.Total(2*time.Second),
		retry.New(),
		breaker.New(breaker.Name("users-db"), breaker.OpenFor(5*time.Second)),
		bulkhead.New(16),
		timeout.PerAttempt(300*time.Millisecond),
		resilience.Observe(page), // for the last refusals
	)
	page.Add(users)

	mux := http.NewServeMux()
	mux.Handle("/debug/resilience/", page)
	server := &http.Server{Addr: "127.0.0.1:6060", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	server.RegisterOnShutdown(page.Close) // ends live streams, which Shutdown waits for
	defer page.Close()                    // waits for what Shutdown does not wait for
	defer server.Close()

	fmt.Println(users)
	// Output:
	// total timeout 2s > retry 3 > breaker "users-db" > bulkhead 16 > attempt timeout 300ms
}

// Operators may act, and every act is logged.
func ExampleControl() {
	page := policystatus.New(
		policystatus.Control(func(r *http.Request) (string, error) {
			operator, err := operatorOf(r)
			if err != nil {
				return "", fmt.Errorf("no session: %w", err)
			}
			return operator, nil
		}),
		policystatus.Audit(func(act policystatus.Act) {
			slog.Warn("a policy was steered by hand", "act", act)
		}),
	)
	defer page.Close()
	page.AddReporter("users", breaker.New(breaker.Name("users-db")))
	http.Handle("/debug/resilience/", page)
}

// operatorOf stands for how a service knows its operators: a session, a client certificate, a proxy that logs in.
func operatorOf(r *http.Request) (string, error) {
	cookie, err := r.Cookie("session")
	if err != nil || cookie.Value == "" {
		return "", errors.New("no cookie")
	}
	return "alice", nil
}

// The reason of a refusal in words, for a log or a ticket.
func ExampleExplain() {
	err := fmt.Errorf("get user 7: %w", bulkhead.ErrFull)
	fmt.Println(policystatus.Explain(err))
	// Output:
	// The bulkhead refuses calls: all slots are taken. A slot becomes free as soon as a call ends. See whether calls take longer than usual: a slow dependency keeps slots taken. More slots help only if it can serve more calls at a time. Shadow lets every call through and only counts. The error: get user 7: all slots are taken.
}

// Changes that nobody looks at are shown too when the policy tells of them.
func ExamplePage_Note() {
	page := policystatus.New()
	defer page.Close()
	db := breaker.New(
		breaker.Name("users-db"),
		breaker.OnChange(func(c breaker.Change) { page.Note("users", c.String()) }),
	)
	page.Add(resilience.Compose(resilience.Name("users"), db))
	db.Trip()
	fmt.Println(db.State())
	// Output: open
}
