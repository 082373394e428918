package policyconfig_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyconfig"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
)

func TestF1_OpenStaysOpenToItsOldEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := func(openFor string) string {
			return layersOf(`{"kind": "breaker", "consecutiveFailures": 1, "jitter": 0, "openFor": "` + openFor + `"}`)
		}
		set := load(t, file("5s"))
		users := set.Pipeline("users")
		b := find[*breaker.Breaker](t, users)
		require.ErrorIs(t, users.Run(t.Context(), fail), errDown)
		time.Sleep(2 * time.Second)
		changes := apply(t, set, file("10s"))
		require.Equal(t, "users: breaker open time 5s to 10s, state kept: open for 3 s more", changes.String())
		require.Same(t, b, find[*breaker.Breaker](t, users))
		time.Sleep(3*time.Second - 1)
		require.ErrorIs(t, users.Run(t.Context(), succeed), breaker.ErrOpen)
		time.Sleep(1)
		require.ErrorIs(t, users.Run(t.Context(), fail), errDown) // the probe
		time.Sleep(10*time.Second - 1)
		require.ErrorIs(t, users.Run(t.Context(), succeed), breaker.ErrOpen) // the new open time
		time.Sleep(1)
		require.NoError(t, users.Run(t.Context(), succeed))
	})
}

func TestF1_HalfOpenKeepsItsProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := func(successes int) string {
			return layersOf(fmt.Sprintf(`{"kind": "breaker", "consecutiveFailures": 1, "jitter": 0, "successes": %d}`, successes))
		}
		set := load(t, file(2))
		users := set.Pipeline("users")
		require.ErrorIs(t, users.Run(t.Context(), fail), errDown)
		time.Sleep(5 * time.Second)
		probe, err := users.Acquire(t.Context())
		require.NoError(t, err)
		apply(t, set, file(1))
		require.ErrorIs(t, users.Run(t.Context(), succeed), breaker.ErrOpen, "the probe is still out")
		require.True(t, probe.Done(nil))
		require.Equal(t, breaker.Closed, find[*breaker.Breaker](t, users).State(), "one success is enough now")
	})
}

func TestF1_EmptyBucketStaysEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := func(perSecond, burst int) string {
			return layersOf(fmt.Sprintf(`{"kind": "ratelimit", "perSecond": %d, "burst": %d}`, perSecond, burst))
		}
		set := load(t, file(1, 3))
		users := set.Pipeline("users")
		for range 3 {
			require.NoError(t, users.Run(t.Context(), succeed))
		}
		apply(t, set, file(10, 100))
		require.ErrorIs(t, users.Run(t.Context(), succeed), ratelimit.ErrLimited, "a larger burst mints nothing")
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, users.Run(t.Context(), succeed), "the new rate")
		require.ErrorIs(t, users.Run(t.Context(), succeed), ratelimit.ErrLimited)
	})
}

func TestF1_QueueKeepsItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := func(limit int) string {
			return layersOf(fmt.Sprintf(`{"kind": "bulkhead", "limit": %d, "queue": {"length": 5, "wait": "1m"}}`, limit))
		}
		set := load(t, file(1))
		users := set.Pipeline("users")
		held, err := users.Acquire(t.Context())
		require.NoError(t, err)
		var mu sync.Mutex
		var order []int
		var calls sync.WaitGroup
		for i := range 5 {
			calls.Go(func() {
				_ = users.Run(context.Background(), func(context.Context) error {
					mu.Lock()
					order = append(order, i)
					mu.Unlock()
					time.Sleep(time.Second)
					return nil
				})
			})
			synctest.Wait()
		}
		changes := apply(t, set, file(2))
		require.Equal(t, "users: bulkhead 1 to 2, state kept: 1 in flight, 5 waiting", changes.String())
		synctest.Wait()
		mu.Lock()
		require.Equal(t, []int{0}, order, "the higher limit admits the first")
		mu.Unlock()
		time.Sleep(500 * time.Millisecond) // so that no two calls end, and no two begin, at the same time
		held.Done(nil)
		calls.Wait()
		require.Equal(t, []int{0, 1, 2, 3, 4}, order)
		require.Zero(t, find[*bulkhead.Bulkhead](t, users).Snapshot().InFlight)
	})
}

func TestF2_UnchangedLayersAreTheSame(t *testing.T) {
	set := load(t, layersOf(users))
	before := set.Pipeline("users").Current()
	apply(t, set, layersOf(users))
	require.Same(t, before, set.Pipeline("users").Current(), "nothing changed")

	changes := apply(t, set, layersOf(users+`, {"kind": "throttle", "name": "front"}`))
	require.Equal(t, "users: throttle added", changes.String())
	after := set.Pipeline("users").Current()
	require.NotSame(t, before, after)
	require.Len(t, after.Layers(), 7)
	for _, layer := range before.Layers() {
		require.Contains(t, after.Layers(), layer)
		require.True(t, slices.ContainsFunc(after.Layers(), func(other policy.Layer) bool { return other == layer }))
	}

	changes = apply(t, set, layersOf(users))
	require.Equal(t, "users: throttle removed", changes.String())
	require.Equal(t, before.Layers(), set.Pipeline("users").Current().Layers())
}

func TestF2_LayersAreMatchedByName(t *testing.T) {
	file := func(first, second string) string {
		return layersOf(`{"kind": "ratelimit", "name": "` + first + `", "perSecond": 1, "burst": 1}, {"kind": "ratelimit", "name": "` + second + `", "perSecond": 1, "burst": 1}`)
	}
	set := load(t, file("second", "minute"))
	before := set.Pipeline("users").Current().Layers()
	require.Equal(t, "users: order of the layers", apply(t, set, file("minute", "second")).String())
	after := set.Pipeline("users").Current().Layers()
	require.Same(t, before[0], after[1])
	require.Same(t, before[1], after[0])
}

func TestF2_WhatChangesInKindIsReplaced(t *testing.T) {
	set := load(t, layersOf(`{"kind": "bulkhead", "limit": 3}`))
	users := set.Pipeline("users")
	old := find[*bulkhead.Bulkhead](t, users)
	permit, err := users.Acquire(t.Context())
	require.NoError(t, err)
	changes := apply(t, set, layersOf(`{"kind": "bulkhead", "adaptive": {"algorithm": "vegas", "floor": 1, "ceiling": 10}}`))
	require.Equal(t, "users: bulkhead replaced, fixed to adaptive, state lost: 1 in flight", changes.String())
	require.NotSame(t, old, find[*bulkhead.Bulkhead](t, users))
	require.True(t, permit.Done(nil), "what is in flight ends on the old")
	require.Zero(t, old.Snapshot().InFlight)
}

func TestF7_ModeShadow(t *testing.T) {
	set := load(t, layersOf(`
		{"kind": "breaker", "mode": "shadow", "consecutiveFailures": 1},
		{"kind": "ratelimit", "mode": "shadow", "perSecond": 0, "burst": 1},
		{"kind": "bulkhead", "mode": "shadow", "limit": 1},
		{"kind": "throttle", "mode": "shadow"}`))
	users := set.Pipeline("users")
	for _, layer := range users.Report().Layers {
		require.True(t, layer.Shadow, layer.Kind)
	}
	for range 10 {
		require.ErrorIs(t, users.Run(t.Context(), fail), errDown)
	}
	changes := apply(t, set, layersOf(`
		{"kind": "breaker", "consecutiveFailures": 1},
		{"kind": "ratelimit", "mode": "enforce", "perSecond": 0, "burst": 1},
		{"kind": "bulkhead", "limit": 1},
		{"kind": "throttle"}`))
	for _, layer := range users.Report().Layers {
		require.False(t, layer.Shadow, layer.Kind)
	}
	require.Contains(t, changes.String(), "users: breaker mode shadow to enforce, state kept: open for")
	require.ErrorIs(t, users.Run(t.Context(), succeed), breaker.ErrOpen, "the state of the shadow counts")
}

func TestF7_OnlyWhereThereIsAMode(t *testing.T) {
	for _, layer := range []string{
		`{"kind": "retry", "mode": "shadow"}`, `{"kind": "hedge", "mode": "shadow"}`, `{"kind": "timeout", "total": "1s", "mode": "shadow"}`,
		`{"kind": "bulkhead", "adaptive": {"algorithm": "vegas", "floor": 1, "ceiling": 2}, "mode": "shadow"}`, `{"kind": "breaker", "mode": "shadw"}`,
	} {
		require.Len(t, problemsOf(t, layersOf(layer)), 1, layer)
	}
}

func TestF8_SubscriptionsGoOn(t *testing.T) {
	var events, transitions atomic.Int64
	registry := policyconfig.Registry{
		Observers: map[string]policy.Observer{"metrics": policy.ObserverFunc(func(context.Context, policy.Event) { events.Add(1) })},
		OnChange:  map[string]func(breaker.Change){"log": func(breaker.Change) { transitions.Add(1) }},
	}
	file := func(openFor, more string) string {
		return `{"pipelines": {"users": {"observe": "metrics", "layers": [
			{"kind": "breaker", "onChange": ["log"], "consecutiveFailures": 1, "openFor": "` + openFor + `"}` + more + `]}}}`
	}
	set := loadWith(t, file("5s", ""), registry)
	users := set.Pipeline("users")
	require.NoError(t, users.Run(t.Context(), succeed))
	each := events.Load()
	require.Positive(t, each)
	for i := range 100 {
		apply(t, set, file(fmt.Sprintf("%ds", 6+i%2), []string{"", `, {"kind": "bulkhead", "limit": 9}`}[i%2]))
	}
	require.NoError(t, users.Run(t.Context(), succeed))
	require.Equal(t, 2*each, events.Load(), "heard, and once")
	find[*breaker.Breaker](t, users).Trip()
	require.EqualValues(t, 1, transitions.Load(), "heard, and once")
}

// TestF9_DefaultsWrittenOut: who writes a default into the file, or takes it out, changes nothing.
func TestF9_DefaultsWrittenOut(t *testing.T) {
	set := load(t, layersOf(`{"kind": "breaker"}, {"kind": "retry"}`))
	for _, file := range []string{
		layersOf(`{"kind": "breaker", "openFor": "5000ms", "probes": 1}, {"kind": "retry", "attempts": 3}`),
		layersOf(`{"kind": "breaker", "enabled": true, "mode": "enforce", "jitter": 1e-1}, {"kind": "retry", "noJitter": false}`),
	} {
		changes := apply(t, set, file)
		require.True(t, changes.Empty(), "%v", changes)
	}
	require.Equal(t, "users: breaker open time 5s to 6s\nusers: breaker open time 6s to 5s",
		apply(t, set, layersOf(`{"kind": "breaker", "openFor": "6s"}, {"kind": "retry"}`)).String()+"\n"+
			apply(t, set, layersOf(`{"kind": "breaker"}, {"kind": "retry"}`)).String())
}

// TestF9_CodeNamedNone: code is not taken for what is said where there is none.
func TestF9_CodeNamedNone(t *testing.T) {
	ignores := func(error) policy.Class { return policy.Ignored }
	set := loadWith(t, layersOf(`{"kind": "breaker", "consecutiveFailures": 1}`),
		policyconfig.Registry{Classify: map[string]func(error) policy.Class{"none": ignores}})
	require.False(t, apply(t, set, layersOf(`{"kind": "breaker", "consecutiveFailures": 1, "classify": "none"}`)).Empty())
	for range 2 {
		require.ErrorIs(t, set.Pipeline("users").Current().Run(t.Context(), fail), errDown, "the first is ignored")
	}
}

func TestF9_PlanInWords(t *testing.T) {
	const before = `{
		"budgets": {"api": {"kind": "budget", "ratio": 0.2, "perSecond": 10}},
		"policies": {"db": {"kind": "breaker"}},
		"pipelines": {
			"users": {"layers": [{"use": "db"}, {"kind": "retry", "withBudget": "api"}, {"kind": "timeout", "total": "2s"}]},
			"orders": {"layers": [{"use": "db"}]},
			"old": {"layers": []}
		}}`
	const after = `{
		"budgets": {"api": {"kind": "budget", "ratio": 0.1, "perSecond": 10}},
		"policies": {"db": {"kind": "breaker", "openFor": "10s", "failureRate": {"rate": 0.5, "minimumCalls": 20}}},
		"pipelines": {
			"users": {"layers": [{"use": "db"}, {"kind": "retry", "withBudget": "api", "attempts": 5, "noJitter": true}, {"kind": "timeout", "total": "2s"}, {"kind": "bulkhead", "limit": 4}]},
			"orders": {"layers": [{"use": "db", "enabled": false}]},
			"new": {"layers": [{"kind": "hedge"}]}
		}}`
	set := load(t, before)
	want := strings.Join([]string{
		"budget api: ratio 0.2 to 0.1",
		"policy db: breaker failure rate none to (rate 0.5, minimum calls 20), open time 5s to 10s",
		"users: retry attempts 3 to 5, no jitter none to on",
		"users: bulkhead added",
		"orders: policy db is disabled",
		"new: added",
		"old: removed: those who hold it keep what it was",
	}, "\n")
	plan, err := set.Plan([]byte(after))
	require.NoError(t, err)
	require.Equal(t, want, plan.String())
	require.Equal(t, "orders: policy db is disabled", plan.List[4].String())
	require.Equal(t, []string{"new", "old", "orders", "users"}, append([]string{"new"}, set.Names()...), "nothing has happened yet")
	changes := apply(t, set, after)
	require.Equal(t, plan, changes)
	plan, err = set.Plan([]byte(after))
	require.NoError(t, err)
	require.True(t, plan.Empty())
	require.Equal(t, "no change", plan.String())
}

func TestUC1_StateWindowAndForcedStatesStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := func(openFor string) string {
			return layersOf(`{"kind": "breaker", "failureRate": {"rate": 0.5, "minimumCalls": 10}, "openFor": "` + openFor + `"}`)
		}
		set := load(t, file("5s"))
		users := set.Pipeline("users")
		b := find[*breaker.Breaker](t, users)
		for range 9 {
			require.ErrorIs(t, users.Run(t.Context(), fail), errDown)
		}
		apply(t, set, file("6s"))
		require.EqualValues(t, 9, b.Snapshot().CallsFailed, "the window stays")
		require.ErrorIs(t, users.Run(t.Context(), fail), errDown)
		require.Equal(t, breaker.Open, b.State(), "nine before the reload and one after it")

		b.ForceClosed()
		changes := apply(t, set, file("7s"))
		require.Equal(t, breaker.ForcedClosed, b.State())
		require.Equal(t, "users: breaker open time 6s to 7s, state kept: forced closed, 10 calls in the window\n"+
			"users: breaker is forced closed by hand", changes.String())
		b.ForceOpen()
		changes = apply(t, set, file("7s"))
		require.Equal(t, breaker.ForcedOpen, b.State())
		require.Equal(t, "no change\nusers: breaker is forced open by hand", changes.String())
		require.True(t, changes.Empty())
		b.Reset()
		require.NoError(t, users.Run(t.Context(), succeed))
	})
}

func TestUC1_ModesSetByHandStay(t *testing.T) {
	file := func(mode string, n int) string {
		mode = `"mode": "` + mode + `"`
		return layersOf(fmt.Sprintf(`
			{"kind": "breaker", %s, "consecutiveFailures": %d},
			{"kind": "ratelimit", %s, "perSecond": 1, "burst": %d},
			{"kind": "bulkhead", %s, "limit": %d},
			{"kind": "throttle", %s, "padding": %d}`, mode, n, mode, n, mode, n, mode, n))
	}
	type steered interface {
		policy.Layer
		Shadow()
		Enforce()
	}
	set := load(t, file("enforce", 1))
	users := set.Pipeline("users")
	for _, layer := range users.Current().Layers() {
		layer.(steered).Shadow()
	}
	shadows := func() (n int) {
		for _, layer := range users.Report().Layers {
			if layer.Shadow {
				n++
			}
		}
		return n
	}
	for n := range 3 {
		changes := apply(t, set, file("enforce", 2+n))
		require.Equal(t, 4, shadows())
		require.Equal(t, 4, strings.Count(changes.String(), "is in shadow by hand, the configuration says enforce"), changes)
	}
	changes := apply(t, set, file("shadow", 5))
	require.Equal(t, 4, shadows())
	require.NotContains(t, changes.String(), "by hand", "now the configuration says so too")
	for _, layer := range users.Current().Layers() {
		layer.(steered).Enforce()
	}
	changes = apply(t, set, file("shadow", 6))
	require.Zero(t, shadows())
	require.Equal(t, 4, strings.Count(changes.String(), "is enforced by hand, the configuration says shadow"), changes)
}

func TestUC2_AllOrNothing(t *testing.T) {
	good := func(openFor, perSecond, limit string) string {
		return `{"pipelines": {
			"users": {"layers": [{"kind": "breaker", "openFor": ` + openFor + `}, {"kind": "ratelimit", "perSecond": ` + perSecond + `, "burst": 1}]},
			"orders": {"layers": [{"kind": "bulkhead", "limit": ` + limit + `}]}}}`
	}
	set := load(t, good(`"5s"`, "1", "1"))
	before := []resilience.Report{settings(set.Pipeline("users")), settings(set.Pipeline("orders"))}
	pipelines := []*resilience.Pipeline{set.Pipeline("users").Current(), set.Pipeline("orders").Current()}
	for _, bad := range []string{
		good(`"9s"`, "9", "0"), good(`"9s"`, "NaN", "9"), good(`9`, "9", "9"), good(`"9"`, "9", "9"), good(`"9s"`, "1e400", "9"),
		strings.Replace(good(`"9s"`, "9", "9"), `"limit"`, `"limt"`, 1),
		strings.Replace(good(`"9s"`, "9", "9"), `"limit": 9`, `"limit": 9, "limit": 9`, 1),
		strings.Replace(good(`"9s"`, "9", "9"), `{"kind": "bulkhead", "limit": 9}`, `{"kind": "bulkhead", "limit": 9}, {"kind": "timeout", "total": "1s"}, {"kind": "timeout", "perAttempt": "2s"}`, 1),
		good(`"9s"`, "9", "9")[1:], good(`"9s"`, "9", "9") + "x",
	} {
		_, err := set.Apply([]byte(bad))
		var config *policyconfig.Error
		require.ErrorAs(t, err, &config, bad)
		require.Equal(t, before, []resilience.Report{settings(set.Pipeline("users")), settings(set.Pipeline("orders"))}, bad)
		require.Same(t, pipelines[0], set.Pipeline("users").Current())
		require.Same(t, pipelines[1], set.Pipeline("orders").Current())
		require.EqualValues(t, 1, set.Generation())
	}
	apply(t, set, good(`"9s"`, "9", "9"))
	require.EqualValues(t, 2, set.Generation())
}

func TestUC3_InFlightAtMostTheLargerLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := func(limit int) string { return layersOf(fmt.Sprintf(`{"kind": "bulkhead", "limit": %d}`, limit)) }
		set := load(t, file(4))
		users := set.Pipeline("users")
		var inFlight, peak atomic.Int64
		var calls sync.WaitGroup
		call := func() {
			calls.Go(func() {
				_ = users.Run(context.Background(), func(context.Context) error {
					peak.Store(max(peak.Load(), inFlight.Add(1)))
					defer inFlight.Add(-1)
					time.Sleep(time.Second)
					return nil
				})
			})
			synctest.Wait()
		}
		for range 10 {
			call()
		}
		require.EqualValues(t, 4, inFlight.Load())
		apply(t, set, file(2))
		for range 10 {
			call()
		}
		require.EqualValues(t, 4, inFlight.Load(), "what is in flight ends on the old")
		time.Sleep(time.Second)
		for range 10 {
			call()
		}
		require.EqualValues(t, 2, inFlight.Load())
		apply(t, set, file(6))
		for range 10 {
			call()
		}
		require.EqualValues(t, 6, inFlight.Load())
		calls.Wait()
		require.EqualValues(t, 6, peak.Load())
		require.Zero(t, find[*bulkhead.Bulkhead](t, users).Snapshot().InFlight)
	})
}

func TestUC3_CallsEndOnThePipelineTheyBeganWith(t *testing.T) {
	set := load(t, layersOf(`{"kind": "bulkhead", "name": "a", "limit": 1}`))
	users := set.Pipeline("users")
	old := find[*bulkhead.Bulkhead](t, users)
	began, end, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		ended <- users.Run(context.Background(), func(context.Context) error { close(began); <-end; return nil })
	}()
	<-began
	apply(t, set, layersOf(`{"kind": "bulkhead", "name": "b", "limit": 1}`))
	require.NoError(t, users.Run(t.Context(), succeed), "the new one has a slot of its own")
	require.Equal(t, 1, old.Snapshot().InFlight)
	close(end)
	require.NoError(t, <-ended)
	require.Zero(t, old.Snapshot().InFlight)
}

func TestUC4_EqualPartsStayTheSameInstance(t *testing.T) {
	subscribers := 0
	registry := policyconfig.Registry{OnChange: map[string]func(breaker.Change){"log": func(breaker.Change) { subscribers++ }}}
	const file = `{"policies": {"db": {"kind": "breaker", "onChange": ["log"]}},
		"pipelines": {"users": {"layers": [{"use": "db"}, {"kind": "retry"}]}, "orders": {"layers": [{"use": "db"}]}}}`
	set := loadWith(t, file, registry)
	users, orders := set.Pipeline("users"), set.Pipeline("orders")
	db := find[*breaker.Breaker](t, users)
	require.Same(t, db, find[*breaker.Breaker](t, orders), "one policy, two pipelines")
	pipeline := users.Current()
	for i := range 100 {
		if i%2 == 0 {
			apply(t, set, strings.Replace(file, `"log"]`, `"log"], "probes": 2`, 1))
		} else {
			apply(t, set, file)
		}
		require.Same(t, pipeline, users.Current())
	}
	require.Same(t, db, find[*breaker.Breaker](t, users))
	require.Same(t, db, find[*breaker.Breaker](t, orders))
	db.Trip()
	require.Equal(t, 1, subscribers)
	require.EqualValues(t, 101, set.Generation())
}

// TestReloadInAnOutage is one timeline: nothing is forgotten when a file is reloaded while a dependency is down.
func TestReloadInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := func(openFor string, limit, perSecond int) string {
			return layersOf(fmt.Sprintf(`
				{"kind": "timeout", "total": "1m"},
				{"kind": "breaker", "consecutiveFailures": 3, "jitter": 0, "openFor": %q},
				{"kind": "ratelimit", "perSecond": %d, "burst": 4},
				{"kind": "bulkhead", "limit": %d, "queue": {"length": 4, "wait": "10s"}}`, openFor, perSecond, limit))
		}
		set := load(t, file("5s", 1, 1))
		users := set.Pipeline("users")
		start := time.Now()
		var timeline []string
		note := func(what string, err error) {
			code := policy.Code(err)
			if err == nil {
				code = "ok"
			} else if code == "" {
				code = err.Error()
			}
			b, l := find[*breaker.Breaker](t, users).Snapshot(), find[*ratelimit.Limiter](t, users).Snapshot()
			timeline = append(timeline, fmt.Sprintf("%4v %s: %s; %v, %.0f tokens", time.Since(start), what, code, b.State, l.Tokens))
		}
		reload := func(file string) {
			changes, err := set.Apply([]byte(file))
			if err == nil {
				for _, change := range changes.List {
					timeline = append(timeline, fmt.Sprintf("%4v reload: %v", time.Since(start), change))
				}
				return
			}
			timeline = append(timeline, fmt.Sprintf("%4v refused", time.Since(start)))
		}
		for range 3 {
			note("call", users.Run(t.Context(), fail))
		}
		reload(file("8s", 1, 1))
		reload("{")
		time.Sleep(4 * time.Second)
		reload(file("9s", 1, 1))
		note("call", users.Run(t.Context(), succeed))
		time.Sleep(time.Second)
		note("probe", users.Run(t.Context(), fail))
		time.Sleep(9 * time.Second)
		probe, err := users.Acquire(t.Context())
		note("probe", err)
		reload(file("2s", 2, 1))
		note("call", users.Run(t.Context(), succeed))
		probe.Done(nil)
		note("closed", nil)
		for range 4 {
			note("call", users.Run(t.Context(), succeed))
		}
		reload(file("2s", 2, 2))
		note("call", users.Run(t.Context(), succeed))
		time.Sleep(500 * time.Millisecond)
		note("call", users.Run(t.Context(), succeed))
		require.Equal(t, []string{
			"  0s call: down; closed, 3 tokens",
			"  0s call: down; closed, 2 tokens",
			"  0s call: down; open, 1 tokens",
			"  0s reload: users: breaker open time 5s to 8s, state kept: open for 5 s more",
			"  0s refused",
			"  4s reload: users: breaker open time 8s to 9s, state kept: open for 1 s more",
			"  4s call: breaker.open; open, 4 tokens",
			"  5s probe: down; open, 3 tokens",
			" 14s probe: ok; half-open, 3 tokens",
			" 14s reload: users: breaker open time 9s to 2s, state kept: half-open",
			" 14s reload: users: bulkhead 1 to 2, state kept: 1 in flight",
			" 14s call: breaker.open; half-open, 3 tokens",
			" 14s closed: ok; closed, 3 tokens",
			" 14s call: ok; closed, 2 tokens",
			" 14s call: ok; closed, 1 tokens",
			" 14s call: ok; closed, 0 tokens",
			" 14s call: ratelimit.limited; closed, 0 tokens",
			" 14s reload: users: rate limiter per second 1 to 2, state kept: 0 of 4 tokens",
			" 14s call: ratelimit.limited; closed, 0 tokens",
			"14.5s call: ok; closed, 0 tokens",
		}, timeline)
	})
}

// TestF4_ReloadsUnderLoad: 100 reloads a second for 10 seconds, good ones and bad ones, change everything that can change
// under load, and harm no call.
func TestF4_ReloadsUnderLoad(t *testing.T) { synctest.Test(t, reloadsUnderLoad) }

// TestF4_ReloadsUnderLoadForReal is the same in real time, which interleaves otherwise.
func TestF4_ReloadsUnderLoadForReal(t *testing.T) {
	if !long() {
		t.Skip("takes 10 s of real time: set RESILIENCE_TESTS=whole")
	}
	reloadsUnderLoad(t)
}

func reloadsUnderLoad(t *testing.T) {
	const bucket = 500_000_000 // int has 32 bits on some machines
	file := func(i int) string {
		more := ""
		if i%3 == 0 {
			more = `, {"kind": "hedge", "after": "3s"}`
		}
		return fmt.Sprintf(`{"policies": {"db": {"kind": "breaker", "openFor": "%ds"}}, "pipelines": {
			"users": {"layers": [{"kind": "retry", "attempts": %d, "maxRetryAfter": "%ds"}, {"use": "db"}, {"kind": "throttle", "padding": %d},
				{"kind": "bulkhead", "limit": %d, "queue": {"length": 1000, "wait": "1m"}}, {"kind": "timeout", "perAttempt": "%dms"}%s]},
			"tokens": {"layers": [{"kind": "ratelimit", "perSecond": 0, "burst": %d}]}}}`,
			5+i%5, 2+i%3, 1+i%9, 1+i%7, 2+i%6, 4000+i%50, more, bucket+i%2)
	}
	set := load(t, file(0))
	users, tokens := set.Pipeline("users"), set.Pipeline("tokens")
	limiter := find[*ratelimit.Limiter](t, tokens)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var calls, entered, taken atomic.Int64
	var failed atomic.Value
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for ctx.Err() == nil {
				err := users.Run(context.Background(), func(context.Context) error {
					entered.Add(1)
					time.Sleep(5 * time.Millisecond)
					return nil
				})
				if err != nil {
					failed.Store(err)
				}
				if tokens.Run(context.Background(), succeed) == nil {
					taken.Add(1)
				}
				calls.Add(1)
			}
		})
	}
	good, bad := uint64(0), 0
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for i := 1; ctx.Err() == nil; i++ {
		<-ticker.C
		if i%4 == 0 {
			_, err := set.Apply([]byte(file(i)[:100+i%100]))
			require.Error(t, err)
			bad++
		} else {
			apply(t, set, file(i))
			good++
		}
		require.Equal(t, 1+good, set.Generation(), "counts the good ones")
	}
	workers.Wait()
	require.Nil(t, failed.Load(), "no call fails because of a reload")
	require.Equal(t, calls.Load(), entered.Load())
	require.Zero(t, find[*bulkhead.Bulkhead](t, users).Snapshot().InFlight, "slots")
	require.Zero(t, find[*breaker.Breaker](t, users).Snapshot().InFlight)
	s := limiter.Snapshot()
	require.EqualValues(t, taken.Load(), s.Admitted)
	require.Equal(t, float64(bucket-taken.Load()), s.Tokens, "tokens: none is minted, none is lost")
	t.Logf("%d good and %d bad reloads during %d calls", good, bad, calls.Load())
}

// TestHandedOnce: a handle is the same for ever, also for a pipeline that goes and comes back.
func TestHandedOnce(t *testing.T) {
	set := load(t, layersOf(`{"kind": "retry"}`))
	users := set.Pipeline("users")
	apply(t, set, `{"pipelines": {}}`)
	require.NoError(t, users.Run(t.Context(), succeed), "those who hold it keep what it was")
	require.Equal(t, "retry 3", users.String())
	apply(t, set, layersOf(`{"kind": "retry", "attempts": 5}`))
	require.Same(t, users, set.Pipeline("users"))
	require.Equal(t, "retry 5", users.String())
	require.Equal(t, "users", users.Key())
	_, ok := set.Lookup("usrs")
	require.False(t, ok)
	require.PanicsWithError(t, `policyconfig: "usrs": no pipeline of this name: did you mean "users"?`, func() { set.Pipeline("usrs") })
}

// TestDisabledKeepsItsState: a layer that is disabled is not forgotten.
func TestDisabledKeepsItsState(t *testing.T) {
	file := func(enabled bool) string {
		return layersOf(fmt.Sprintf(`{"kind": "breaker", "enabled": %v, "consecutiveFailures": 1}, {"kind": "timeout", "total": "1s"}`, enabled))
	}
	set := load(t, file(true))
	users := set.Pipeline("users")
	require.ErrorIs(t, users.Run(t.Context(), fail), errDown)
	require.Equal(t, "users: breaker is disabled", apply(t, set, file(false)).String())
	require.Equal(t, "total timeout 1s", users.String())
	require.NoError(t, users.Run(t.Context(), succeed))
	require.Equal(t, "users: breaker is enabled", apply(t, set, file(true)).String())
	require.ErrorIs(t, users.Run(t.Context(), succeed), breaker.ErrOpen)
}

// TestBudgetsAreShared: a budget is named once; one that is a guard is composed by itself.
func TestBudgetsAreShared(t *testing.T) {
	extra := `, {"kind": "hedge", "withBudget": "api", "after": "1s"}`
	file := func(kind, args string) string {
		return `{"budgets": {"api": {"kind": "` + kind + `", ` + args + `}}, "pipelines": {
			"users": {"layers": [{"kind": "retry", "withBudget": "api"}` + extra + `]},
			"orders": {"layers": [{"kind": "retry", "withBudget": "api", "attempts": 2}]}}}`
	}
	set := load(t, file("budget", `"ratio": 0, "perSecond": 1`))
	users, orders := set.Pipeline("users"), set.Pipeline("orders")
	budget := find[*retry.Retrier](t, users).Budget()
	require.Same(t, budget, find[*retry.Retrier](t, orders).Budget())
	changes := apply(t, set, file("budget", `"ratio": 0.5, "perSecond": 1`))
	require.Equal(t, "budget api: ratio 0 to 0.5", changes.String())
	require.Same(t, budget, find[*retry.Retrier](t, orders).Budget())

	changes = apply(t, set, file("tokenBudget", `"maxTokens": 10, "tokenRatio": 0.1`))
	require.Equal(t, strings.Join([]string{
		"budget api: token budget replaced",
		`users: retry replaced, budget "api" is a new one`,
		`users: hedge replaced, budget "api" is a new one`,
		`orders: retry replaced, budget "api" is a new one`,
	}, "\n"), changes.String())
	require.Same(t, find[*hedge.Hedge](t, users).Budget(), find[*retry.Retrier](t, orders).Budget())

	extra = ""
	changes = apply(t, set, file("concurrencyBudget", `"share": 0.2, "minimum": 3`))
	require.Contains(t, changes.String(), "budget api: concurrency budget replaced")
	require.Same(t, find[*retry.ConcurrencyBudget](t, users), find[*retry.ConcurrencyBudget](t, orders))
	require.Contains(t, users.String(), "retry 3 > retry concurrency budget 0.2, at least 3")
	changes = apply(t, set, file("concurrencyBudget", `"share": 0.3, "minimum": 3`))
	require.Contains(t, users.String(), "retry concurrency budget 0.3, at least 3")
	require.Equal(t, "budget api: share 0.2 to 0.3", changes.String())
}

// TestF9_SharedPolicyIsDisabled: Plan says so, since it changes every pipeline that uses it.
func TestF9_SharedPolicyIsDisabled(t *testing.T) {
	file := func(enabled bool) string {
		return fmt.Sprintf(`{"policies": {"db": {"kind": "breaker", "enabled": %v}}, "pipelines": {"a": {"layers": [{"use": "db"}]}, "b": {"layers": [{"use": "db"}, {"kind": "retry"}]}}}`, enabled)
	}
	set := load(t, file(true))
	db := find[*breaker.Breaker](t, set.Pipeline("a"))
	db.Trip()
	require.Equal(t, "policy db: breaker is disabled", apply(t, set, file(false)).String())
	require.Equal(t, "empty pipeline, retry 3", fmt.Sprintf("%v, %v", set.Pipeline("a"), set.Pipeline("b")))
	require.Equal(t, "policy db: breaker is enabled", apply(t, set, file(true)).String())
	require.ErrorIs(t, set.Pipeline("b").Run(t.Context(), succeed), breaker.ErrOpen, "the same, with its state")
	require.Same(t, db, find[*breaker.Breaker](t, set.Pipeline("b")))
}

// TestBudgetOfTheProgram: a name can pass from a budget of the program to one of the file and back.
func TestBudgetOfTheProgram(t *testing.T) {
	program := retry.NewBudget(0.5, 5)
	const layers = `"pipelines": {"users": {"layers": [{"kind": "retry", "withBudget": "api"}]}}}`
	set := loadWith(t, "{"+layers, policyconfig.Registry{Budgets: map[string]policy.Budget{"api": program}})
	budget := func() policy.Budget { return find[*retry.Retrier](t, set.Pipeline("users")).Budget() }
	require.Same(t, program, budget())
	changes := apply(t, set, `{"budgets": {"api": {"kind": "budget", "ratio": 0.1, "perSecond": 1}},`+layers)
	require.Equal(t, "budget api: budget added\nusers: retry replaced, budget \"api\" is a new one", changes.String())
	require.NotSame(t, program, budget())
	changes = apply(t, set, "{"+layers)
	require.Equal(t, "budget api: removed\nusers: retry replaced, budget \"api\" is a new one", changes.String())
	require.Same(t, program, budget())
}

// TestUC2_Concurrent: who applies, plans, reads and calls at the same time sees whole configurations.
func TestUC2_Concurrent(t *testing.T) {
	set := load(t, attempts(2))
	var workers sync.WaitGroup
	for worker := range 4 {
		workers.Go(func() {
			for i := range 50 {
				switch worker {
				case 0, 1:
					_, err := set.Apply([]byte(attempts(i % 3)))
					assert.Equal(t, i%3 == 0, err != nil)
				case 2:
					_, err := set.Plan([]byte(attempts(1 + i%3)))
					assert.NoError(t, err)
				default:
					assert.Equal(t, []string{"users"}, set.Names())
					assert.NoError(t, set.Pipeline("users").Run(context.Background(), succeed))
					_, err := policyconfig.From(set.Pipeline("users"))
					assert.NoError(t, err)
				}
			}
		})
	}
	workers.Wait()
	require.EqualValues(t, 1+2*33, set.Generation())
}
