package policyconfig_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

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

func TestPerKey_Replaced(t *testing.T) {
	set := loadWith(t, layersOf(`{"kind": "ratelimit", "perSecond": 1, "burst": 1}`), tenants)
	changes := apply(t, set, layersOf(`{"kind": "ratelimit", "perSecond": 1, "burst": 1, "perKey": {"key": "tenant"}}`))
	require.Equal(t, "users: rate limiter replaced, one for each key", changes.String())
	changes = apply(t, set, layersOf(`{"kind": "ratelimit", "perSecond": 1, "burst": 1, "perKey": {"key": "other"}}`))
	require.Equal(t, `users: rate limiter replaced, per key "tenant" to "other", state lost: 0 keys`, changes.String())
}
