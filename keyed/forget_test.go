package keyed_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/ratelimit"
)

// TestFault188_AbandonedBreakersGiveTheirPlacesBack: hosts that failed, were probed once and never called again must not
// fill the registry for good.
func TestFault188_AbandonedBreakersGiveTheirPlacesBack(t *testing.T) {
	probes := map[string]func(context.CancelFunc) error{
		"recovered, with a ramp": func(context.CancelFunc) error { return nil },
		"half-open, the client hung up": func(cancel context.CancelFunc) error {
			cancel()
			return context.Canceled
		},
	}
	for name, probe := range probes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hosts := keyed.New(func(string) *breaker.Breaker {
					return breaker.New(breaker.ConsecutiveFailures(1), breaker.Ramp(time.Minute), breaker.Jitter(0))
				}, keyed.Max(100), keyed.Idle(time.Hour))
				call := func(i int, op func(context.CancelFunc) error) {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					_, _ = resilience.Do(ctx, hosts.Get(fmt.Sprint("host", i)), func(context.Context) (int, error) { return 0, op(cancel) })
				}
				for i := range 100 {
					call(i, func(context.CancelFunc) error { return errors.New("down") })
				}
				require.False(t, hosts.Get("host1").Idle())
				time.Sleep(6 * time.Second)
				for i := range 100 {
					call(i, probe)
				}
				require.False(t, hosts.Get("host1").Idle())
				time.Sleep(1000 * time.Hour)
				require.True(t, hosts.Get("host1").Idle())
				for i := range 100 {
					require.NotSame(t, hosts.Overflow(), hosts.Get(fmt.Sprint("new", i)))
				}
				require.Zero(t, hosts.Snapshot().Overflowed)
			})
		})
	}
}

func TestFault188_LimitsThatWereSetLiveAreNotForgotten(t *testing.T) {
	limits := keyed.New(func(string) *ratelimit.Limiter { return ratelimit.New(1000, 1000) }, keyed.Max(1))
	require.NoError(t, limits.Get("abuser").Reconfigure(1, 1))
	require.Same(t, limits.Overflow(), limits.Get("other"))
	require.Equal(t, "rate limit 1/s burst 1", limits.Get("abuser").String())

	slots := keyed.New(func(string) *bulkhead.Bulkhead { return bulkhead.New(100) }, keyed.Max(1))
	require.NoError(t, slots.Get("abuser").Reconfigure(1))
	require.Same(t, slots.Overflow(), slots.Get("other"))
	require.Equal(t, "bulkhead 1", slots.Get("abuser").String())
}
