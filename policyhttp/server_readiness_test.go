package policyhttp_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
)

func TestHS1_AnOpenBreakerDoesNotMakeAProcessUnready(t *testing.T) {
	users := breaker.New(breaker.Name("users-db"))
	users.ForceOpen()
	response := ask(policyhttp.Readiness(), get())
	require.Equal(t, 200, response.StatusCode)
	require.Equal(t, "ready\n", text(t, response))
	require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
}

func TestHS1_UnlessItIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users, mails := breaker.New(breaker.Name("users-db")), breaker.New(breaker.Name("mails"))
		pipeline := resilience.Compose(policy.At(policy.StageShed, users), mails, bulkhead.New(1))
		ready := policyhttp.Readiness(policyhttp.Needs(pipeline, "users-db"))
		mails.ForceOpen()
		require.Equal(t, 200, ask(ready, get()).StatusCode, "the other one")
		users.Trip()
		response := ask(ready, get())
		require.Equal(t, 503, response.StatusCode)
		require.Equal(t, "not ready\n", text(t, response), "nothing about what is missing")
		time.Sleep(time.Minute)
		require.Equal(t, 200, ask(ready, get()).StatusCode, "traffic must come back, or it would never close")
		require.Equal(t, breaker.HalfOpen, users.State(), "the question has moved nothing")
	})
}

func TestReadinessFollowsAReplacedPipeline(t *testing.T) {
	s := &source{}
	first, second := breaker.New(breaker.Name("db")), breaker.New(breaker.Name("db"))
	s.pipeline.Store(resilience.Compose(first))
	ready := policyhttp.Readiness(policyhttp.Needs(s, "db"))
	second.ForceOpen()
	require.Equal(t, 200, ask(ready, get()).StatusCode)
	s.pipeline.Store(resilience.Compose(second))
	require.Equal(t, 503, ask(ready, get()).StatusCode)
	s.pipeline.Store(resilience.Compose())
	require.Equal(t, 200, ask(ready, get()).StatusCode, "it is not needed any more")
}

func TestDrainMakesAProcessUnready(t *testing.T) {
	ready := policyhttp.Readiness()
	server := httptest.NewServer(ready)
	defer server.Close()
	require.Equal(t, 200, must(server.Client().Head(server.URL)).StatusCode)
	ready.Drain()
	response, err := server.Client().Get(server.URL)
	require.NoError(t, err)
	require.Equal(t, 503, response.StatusCode)
	require.Equal(t, "not ready\n", text(t, response))
	response = ask(ready, httptest.NewRequest(http.MethodPost, "/", nil))
	require.Equal(t, 405, response.StatusCode)
	require.Equal(t, "GET, HEAD", response.Header.Get("Allow"))
}

func TestReadinessRefusesNonsense(t *testing.T) {
	hosts := keyed.New(func(string) *breaker.Breaker { return breaker.New(breaker.Name("host")) })
	pipeline := resilience.Compose(bulkhead.New(1, bulkhead.Name("slots")), breaker.New(), keyed.By(policyhttp.Key, hosts))
	var noPipeline *resilience.Pipeline
	for name, needs := range map[string]policyhttp.Need{
		"the zero value":    {},
		"no pipeline":       policyhttp.Needs(nil, "db"),
		"a nil pipeline":    policyhttp.Needs(noPipeline, "db"),
		"none in force":     policyhttp.Needs(&source{}, "db"),
		"not made":          policyhttp.Needs(&resilience.Pipeline{}, "db"),
		"no name":           policyhttp.Needs(pipeline),
		"an unknown name":   policyhttp.Needs(pipeline, "db"),
		"an empty name":     policyhttp.Needs(pipeline, ""),
		"no gate":           policyhttp.Needs(pipeline, "slots"),
		"a breaker per key": policyhttp.Needs(pipeline, "host"),
	} {
		value := caught(func() { policyhttp.Readiness(needs) })
		config, ok := value.(*policy.ConfigError)
		require.True(t, ok, name)
		require.Equal(t, "policyhttp.Readiness", config.Policy)
	}
	value := caught(func() { policyhttp.Readiness(policyhttp.Needs(pipeline, "a", "b"), policyhttp.Need{}) })
	require.Len(t, value.(*policy.ConfigError).Problems, 3)
}

func TestAPipelineThatIsGoneIsNotNeeded(t *testing.T) {
	db := breaker.New(breaker.Name("db"))
	db.ForceOpen()
	s := &source{}
	s.pipeline.Store(resilience.Compose(db))
	ready := policyhttp.Readiness(policyhttp.Needs(s, "db"))
	require.Equal(t, 503, ask(ready, get()).StatusCode)
	s.pipeline.Store(nil)
	require.Equal(t, 200, ask(ready, get()).StatusCode)
}
