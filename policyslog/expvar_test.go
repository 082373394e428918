package policyslog_test

import (
	"encoding/json"
	"expvar"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyslog"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
)

var published atomic.Int64

// publish publishes pipelines under a name that nobody has, and returns how to read it.
func publish(pipelines ...resilience.Source) func() string {
	name := fmt.Sprintf("resilience-%d", published.Add(1))
	policyslog.Expvar(name, pipelines...)
	return func() string { return expvar.Get(name).String() }
}

type shown = struct {
	Calls  map[string]int
	Layers []struct {
		Kind, Name string
		State      struct {
			Name  string
			Cause struct{ Text string }
		}
		Values []struct {
			Name   string
			Number *float64
		}
	}
}

func read(t *testing.T, text string) (pipelines map[string]shown) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), &pipelines), text)
	return pipelines
}

func TestP6_OneVariableWithEveryPipeline(t *testing.T) {
	b := breaker.New(breaker.Name("users-db"), breaker.ConsecutiveFailures(2))
	users, orders := named("users", retry.New(retry.Attempts(1)), b), named("orders", breaker.New())
	get := publish(users, orders)

	require.Equal(t, "closed", read(t, get())["orders"].Layers[0].State.Name, "before the first call")
	for range 2 {
		require.Error(t, users.Run(t.Context(), fail))
	}
	require.Error(t, users.Run(t.Context(), fail))
	got := read(t, get())["users"]
	require.Equal(t, map[string]int{"succeeded": 0, "expected": 0, "failed": 2, "rejected": 1, "canceled": 0, "panicked": 0}, got.Calls)
	require.Equal(t, "users-db", got.Layers[1].Name)
	require.Equal(t, "open", got.Layers[1].State.Name)
	require.Equal(t, "2 calls in a row failed, the limit is 2", got.Layers[1].State.Cause.Text)
}

func TestP6_TheJSONIsStableAndSorted(t *testing.T) {
	get := publish(named("b", breaker.New()), named("a"), named("c"))
	text := get()
	require.Equal(t, text, get())
	at := []int{strings.Index(text, `"a":`), strings.Index(text, `"b":`), strings.Index(text, `"c":`)}
	require.True(t, slices.IsSorted(at) && at[0] >= 0, text)
}

func TestP6_ABadConfigurationIsRefused(t *testing.T) {
	publish()
	for problem, f := range map[string]func(){
		`the name is empty`:                       func() { policyslog.Expvar("") },
		`the name "memstats" is taken`:            func() { policyslog.Expvar("memstats") },
		`pipeline 1 has no name`:                  func() { publish(resilience.Compose()) },
		`pipeline 2 is nil`:                       func() { publish(named("a"), nil) },
		`pipeline 1 is nil`:                       func() { publish((*resilience.Pipeline)(nil)) },
		`pipelines 1 and 3 are both named "same"`: func() { publish(named("same"), named("b"), named("same")) },
	} {
		func() {
			defer func() {
				err, isConfig := recover().(*policy.ConfigError)
				require.True(t, isConfig, problem)
				require.ErrorContains(t, err, problem)
			}()
			f()
		}()
	}
}

// source is a source whose pipeline is replaced.
type source struct {
	atomic.Pointer[resilience.Pipeline]
}

func (s *source) Current() *resilience.Pipeline { return s.Load() }

func TestP6_UM4_ASourceIsReadAsItIsNow(t *testing.T) {
	var s source
	s.Store(named("a"))
	get := publish(&s, named("b", breaker.New()))
	s.Store(named("a", breaker.New(breaker.Name("new"))))
	require.Equal(t, "new", read(t, get())["a"].Layers[0].Name)
	s.Store(named("b"))
	require.Contains(t, read(t, get()), "b (2)")
	s.Store(resilience.Compose())
	require.Contains(t, read(t, get()), "pipeline 1")
}

func TestP6_WhatIsNotFiniteDoesNotSpoilThePage(t *testing.T) {
	get := publish(named("all", ratelimit.New(math.Inf(1), 1), odd{}))
	layers := read(t, get())["all"].Layers
	require.Len(t, layers, 2)
}

// odd is a layer with values that JSON does not know.
type odd struct{ bare }

func (odd) Report() policy.Report {
	return policy.Report{Kind: "odd", Values: []policy.Value{
		{Name: "nan", Kind: policy.Gauge, Number: math.NaN()}, {Name: "inf", Kind: policy.Gauge, Number: math.Inf(1), Limit: math.Inf(1)},
	}}
}

func TestFault231_AReportThatPanicsSpoilsOnlyItsOwnPipeline(t *testing.T) {
	pipelines := read(t, publish(named("bad", bare{}), named("good", breaker.New()))())
	require.Len(t, pipelines["good"].Layers, 1)
	require.Empty(t, pipelines["bad"].Layers)
	require.Contains(t, publish(named("bad", bare{}))(), `{"error":"panic: report"}`)
}

func TestFault229_EveryReadingAddsUp(t *testing.T) {
	p := named("users", breaker.New(breaker.FailureRate(0.9, 1000)))
	get := publish(p)
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for i := range 2 {
		callers.Go(func() {
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if n%2 == 0 {
					_ = p.Run(t.Context(), ok)
				} else {
					_ = p.Run(t.Context(), fail)
				}
			}
		})
	}
	for range 50 {
		layer := read(t, get())["users"].Layers[0]
		values := map[string]float64{}
		for _, v := range layer.Values {
			if v.Number != nil {
				values[v.Name] = *v.Number
			}
		}
		require.Equal(t, values["requests"],
			values["successes"]+values["failures"]+values["neutral"]+values["stale"]+values["in_flight"], "%v", values)
	}
	close(stop)
	callers.Wait()
}
