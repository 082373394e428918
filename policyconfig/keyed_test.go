package policyconfig_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policyconfig"
	"github.com/go-resilience/resilience/ratelimit"
)

type tenantKey struct{}

func tenant(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, tenantKey{}, name)
}

var tenants = policyconfig.Registry{Keys: map[string]func(context.Context) string{
	"tenant": func(ctx context.Context) string { name, _ := ctx.Value(tenantKey{}).(string); return name },
	"other":  func(context.Context) string { return "" },
}}

func TestPerKey(t *testing.T) {
	file := func(openFor string, burst, max int) string {
		return layersOf(fmt.Sprintf(`
			{"kind": "breaker", "consecutiveFailures": 1, "openFor": %q, "perKey": {"key": "tenant", "max": %d, "idle": "1h"}},
			{"kind": "ratelimit", "perSecond": 0, "burst": %d, "perKey": {"key": "tenant"}}`, openFor, max, burst))
	}
	set := loadWith(t, file("1m", 2, 10), tenants)
	users := set.Pipeline("users")
	a, b := tenant(t.Context(), "a"), tenant(t.Context(), "b")
	require.ErrorIs(t, users.Run(a, fail), errDown)
	require.ErrorIs(t, users.Run(a, succeed), breaker.ErrOpen)
	require.NoError(t, users.Run(b, succeed))
	require.NoError(t, users.Run(b, succeed))
	require.ErrorIs(t, users.Run(b, succeed), ratelimit.ErrLimited)

	before := users.Current()
	breakers := find[*keyed.Guard[string, *breaker.Breaker]](t, users)
	report, _ := breakers.ReportOf("a")
	until := report.State.Until
	changes := apply(t, set, file("2m", 3, 20))
	require.Equal(t, "users: breaker open time 1m0s to 2m0s, most keys 10 to 20, state kept: 2 keys\n"+
		"users: rate limiter burst 2 to 3, state kept: 2 keys", changes.String())
	require.Same(t, before, users.Current())
	require.ErrorIs(t, users.Run(a, succeed), breaker.ErrOpen, "open to its old end")
	report, _ = breakers.ReportOf("a")
	require.Equal(t, until, report.State.Until)
	require.Equal(t, "2m0s", fmt.Sprint(report.Settings[1].Args[0].Value), "%v", report.Settings)
	require.ErrorIs(t, users.Run(b, succeed), ratelimit.ErrLimited, "a larger burst mints nothing")
	c := tenant(t.Context(), "c")
	for range 3 {
		require.NoError(t, users.Run(c, succeed), "a new key has the new options")
	}
	require.ErrorIs(t, users.Run(c, succeed), ratelimit.ErrLimited)
}

// TestPerKey_MadeDuringAReload: no key is left behind with old options, also when it is made while a file is applied.
func TestPerKey_MadeDuringAReload(t *testing.T) {
	file := func(burst int) string {
		return layersOf(fmt.Sprintf(`{"kind": "ratelimit", "perSecond": 0, "burst": %d, "perKey": {"key": "tenant"}}`, burst))
	}
	set := loadWith(t, file(1), tenants)
	users := set.Pipeline("users")
	guard := find[*keyed.Guard[string, *ratelimit.Limiter]](t, users)
	var workers sync.WaitGroup
	const keys = 800
	for w := range 4 {
		workers.Go(func() {
			for i := range keys / 4 {
				_ = users.Run(tenant(context.Background(), fmt.Sprint(w, " ", i)), succeed)
			}
		})
	}
	for n := range 25 {
		apply(t, set, file(2+n))
	}
	workers.Wait()
	for w := range 4 {
		for i := range keys / 4 {
			report, ok := guard.ReportOf(fmt.Sprint(w, " ", i))
			require.True(t, ok)
			require.Equal(t, 26, report.Settings[0].Args[1].Value)
		}
	}
}

// TestPerKey_Buckets: one limiter with a bucket for each key, which a reload changes in place.
func TestPerKey_Buckets(t *testing.T) {
	file := func(burst, keys int) string {
		return layersOf(fmt.Sprintf(`{"kind": "ratelimit", "name": "client", "perSecond": 0, "burst": %d, "perKey": {"key": "tenant", "keys": %d}}`, burst, keys))
	}
	set := loadWith(t, file(2, 100), tenants)
	users := set.Pipeline("users")
	before := users.Current()
	limiter := find[*ratelimit.PerKey[string]](t, users)
	a, b, c := tenant(t.Context(), "a"), tenant(t.Context(), "b"), tenant(t.Context(), "c")
	for range 2 {
		require.NoError(t, users.Run(a, succeed))
	}
	require.ErrorIs(t, users.Run(a, succeed), ratelimit.ErrLimited)
	require.NoError(t, users.Run(b, succeed))

	changes := apply(t, set, file(3, 200))
	require.Equal(t, "users: rate limiter burst 2 to 3, room for keys 100 to 200, state kept: 2 keys", changes.String())
	require.Same(t, before, users.Current())
	require.Equal(t, 200, limiter.Snapshot().MaxKeys)
	require.ErrorIs(t, users.Run(a, succeed), ratelimit.ErrLimited, "a larger burst mints nothing")
	for range 3 {
		require.NoError(t, users.Run(c, succeed), "a new key has the new burst")
	}
	require.ErrorIs(t, users.Run(c, succeed), ratelimit.ErrLimited)
	require.True(t, apply(t, set, file(3, 200)).Empty())

	limiter.Shadow()
	changes = apply(t, set, file(4, 200))
	require.Equal(t, "users: rate limiter burst 3 to 4, state kept: 3 keys\nusers: rate limiter is in shadow by hand, the configuration says enforce", changes.String())
	require.True(t, limiter.Snapshot().Shadow)

	changes = apply(t, set, layersOf(`{"kind": "ratelimit", "name": "client", "perSecond": 0, "burst": 4, "perKey": {"key": "tenant", "max": 100}}`))
	require.Equal(t, "users: rate limiter replaced, a limiter for each key in place of a bucket, state lost: 3 keys", changes.String())
	changes = apply(t, set, file(4, 200))
	require.Equal(t, "users: rate limiter replaced, a bucket for each key in place of a limiter, state lost: 0 keys", changes.String())
}

func TestPerKey_BucketsRefused(t *testing.T) {
	for layer, want := range map[string]string{
		`{"kind": "ratelimit", "perSecond": 1, "burst": 1, "perKey": {"key": "tenant", "keys": 0}}`:                   `/perKey/keys: 0: must be a whole number, from 1 to 1073741824`,
		`{"kind": "ratelimit", "perSecond": 1, "burst": 1, "perKey": {"keys": 10}}`:                                   `/perKey: "key" is missing`,
		`{"kind": "ratelimit", "perSecond": 1, "burst": 1, "perKey": {"key": "tenant", "keys": 10, "max": 10}}`:       `/perKey/keys: "keys" makes a bucket for each key, and has nothing to do with "max", "idle" and "maxKeyLength"`,
		`{"kind": "ratelimit", "perSecond": 1, "burst": 1, "maxWait": "1s", "perKey": {"key": "tenant", "keys": 10}}`: `/maxWait: MaxWait 1s: a limiter per key lets no attempt wait`,
		`{"kind": "breaker", "perKey": {"key": "tenant", "keys": 10}}`:                                                `/perKey/keys: "keys" is not known here`,
		`{"kind": "ratelimit", "every": {"interval": "1s", "burst": 0}, "perKey": {"key": "tenant", "keys": 10}}`:     `burst 0`,
	} {
		_, err := policyconfig.Load([]byte(layersOf(layer)), tenants)
		require.ErrorContains(t, err, want)
	}
}

// TestPerKey_BucketsRoundTrip: a limiter of buckets is the same from a file, from Go, and as Go source.
func TestPerKey_BucketsRoundTrip(t *testing.T) {
	written := resilience.Compose(resilience.Name("users"),
		ratelimit.NewPerKey(10, 20, tenants.Keys["tenant"], ratelimit.Name("client"), ratelimit.Keys(500), ratelimit.Shadow()))
	file, err := policyconfig.From(written)
	require.NoError(t, err)
	const layer = `{"kind": "ratelimit", "perSecond": 10, "burst": 20, "name": "client", "mode": "shadow", "perKey": {"key": "key", "keys": 500}}`
	require.Contains(t, string(file), layer)
	registry := policyconfig.Registry{Keys: numbered("key", tenants.Keys["tenant"])}
	set := loadWith(t, string(file), registry)
	require.Equal(t, written.String(), set.Pipeline("users").String())
	require.Equal(t, settings(written), settings(set.Pipeline("users")))
	again, err := policyconfig.From(set.Pipeline("users"))
	require.NoError(t, err)
	require.Equal(t, string(file), string(again))

	source, err := policyconfig.Go([]byte(layersOf(`{"kind": "ratelimit", "every": {"interval": "100ms", "burst": 20}, "perKey": {"key": "key", "keys": 500}}`)))
	require.NoError(t, err)
	require.Contains(t, string(source), `ratelimit.NewPerKey(10, 20, registry.Keys["key"], ratelimit.Keys(500)),`)
	require.NotContains(t, string(source), "keyed")

	file, err = policyconfig.From(resilience.Compose(ratelimit.NewPerKey(10, 20, tenants.Keys["tenant"])))
	require.NoError(t, err)
	require.Contains(t, string(file), `"perKey": {"key": "key", "keys": 100000}`, "the default is said")
	_, err = policyconfig.From(resilience.Compose(ratelimit.NewPerKey(10, 20, func(context.Context) int { return 1 })))
	require.ErrorContains(t, err, "the keys must be of type string")
}

func TestPerKey_Replaced(t *testing.T) {
	set := loadWith(t, layersOf(`{"kind": "ratelimit", "perSecond": 1, "burst": 1}`), tenants)
	changes := apply(t, set, layersOf(`{"kind": "ratelimit", "perSecond": 1, "burst": 1, "perKey": {"key": "tenant"}}`))
	require.Equal(t, "users: rate limiter replaced, one for each key", changes.String())
	changes = apply(t, set, layersOf(`{"kind": "ratelimit", "perSecond": 1, "burst": 1, "perKey": {"key": "other"}}`))
	require.Equal(t, `users: rate limiter replaced, per key "tenant" to "other", state lost: 0 keys`, changes.String())
}
