package policystatus_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policystatus"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("connection refused")

func ok(context.Context) error   { return nil }
func fail(context.Context) error { return errDown }

// users is a service with one dependency and its page.
type users struct {
	page    *policystatus.Page
	breaker *breaker.Breaker
	backend *resilience.Pipeline
}

func newUsers(opts ...policystatus.Option) *users {
	u := &users{page: policystatus.New(opts...)}
	u.breaker = breaker.New(breaker.Name("users-db"), breaker.FailureRate(0.5, 20), breaker.OpenFor(5*time.Second), breaker.Jitter(0))
	u.backend = resilience.Compose(
		resilience.Name("users"), timeout.Total(2*time.Second), retry.New(retry.Attempts(1)), u.breaker,
		bulkhead.New(16, bulkhead.Name("slots")), resilience.Observe(u.page),
	)
	u.page.Add(u.backend)
	return u
}

// trip makes 7 good calls and 13 bad ones.
func (u *users) trip() {
	for range 7 {
		_ = u.backend.Run(context.Background(), ok)
	}
	for range 13 {
		_ = u.backend.Run(context.Background(), fail)
	}
}

// answer is what a handler answered.
type answer struct {
	*httptest.ResponseRecorder
	body string
}

func request(handler http.Handler, method, target string, header ...string) answer {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return answer{w, w.Body.String()}
}

func get(handler http.Handler, target string, header ...string) answer {
	return request(handler, http.MethodGet, target, header...)
}

// document is what the tests read of the JSON.
type document struct {
	Version  int
	Time     time.Time
	Control  bool
	Refusing []struct {
		Pipeline, Layer, Text string
		Count                 int
	}
	Pipelines []struct {
		ID, Name, Error string
		Calls           map[string]int
		Layers          []struct {
			ID, Kind, Name, Stage, Seen string
			Shadow, Refusing            bool
			Actions                     []string
			State                       struct {
				Name         string
				Since, Until time.Time
			}
			Forced []struct{ Action, Actor, Reason, Text string }
			Values []struct {
				Name          string
				Number, Limit float64
			}
		}
	}
	Refusals []struct {
		Code, Pipeline, Kind, Name, Error string
		Count                             int
		First, Last                       time.Time
		Facts                             map[string]any
		Explanation                       map[string]any
	}
	Codes []struct {
		Code  string
		Count int
	}
	Events []struct {
		Number                      int
		Time                        time.Time
		Kind, Pipeline, Layer, Text string
		Count                       int
	}
}

func read(t *testing.T, handler http.Handler) (d document) {
	t.Helper()
	a := get(handler, "/?format=json")
	require.Equal(t, http.StatusOK, a.Code)
	require.Equal(t, "application/json", a.Header().Get("Content-Type"))
	require.NoError(t, json.Unmarshal([]byte(a.body), &d))
	return d
}

// layer is a guard that reports what the test says, and refuses with err if that is not nil.
type layer struct {
	report  func() policy.Report
	err     error
	reports atomic.Int64
}

func (*layer) Stage() policy.Stage { return policy.StageBulkhead }
func (l *layer) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, l.err
}
func (*layer) Settle(context.Context, policy.Ticket, policy.Outcome) {}
func (l *layer) Report() policy.Report {
	l.reports.Add(1)
	if l.report == nil {
		return policy.Report{Kind: "gate"}
	}
	return l.report()
}

// has asserts that a page contains a text, without printing the page.
func has(t *testing.T, page, text string, where ...any) {
	t.Helper()
	require.True(t, strings.Contains(page, text), "%q is missing %v", text, where)
}

// lacks is the opposite of has.
func lacks(t *testing.T, page, text string, where ...any) {
	t.Helper()
	require.False(t, strings.Contains(page, text), "%q is there %v", text, where)
}
