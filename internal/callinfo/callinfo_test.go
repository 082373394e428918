package callinfo_test

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience/internal/callinfo"
	"github.com/go-resilience/resilience/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCall(t *testing.T) {
	open, limited := policy.NewReason("breaker.open", "open"), policy.NewReason("ratelimit.limited", "limited")
	for _, c := range []struct {
		call callinfo.Call
		code string
		log  string
	}{
		{callinfo.Call{Attempts: 1}, "", "[attempts=1]"},
		{callinfo.Call{Reason: open, Err: limited}, "breaker.open", "[attempts=0 code=breaker.open reason=open error=limited]"},
		{callinfo.Call{Reason: errors.New("none"), Err: limited}, "ratelimit.limited", "[attempts=0 code=ratelimit.limited reason=none error=limited]"},
		{callinfo.Call{Attempts: 2, Waits: []time.Duration{time.Second}}, "", "[attempts=2 waits=[1s]]"},
	} {
		require.Equal(t, c.code, c.call.Code())
		require.Equal(t, c.log, c.call.LogValue().String())
		var _ slog.LogValuer = c.call
	}
}

func TestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waits callinfo.Waits
		require.Empty(t, waits.Last())
		var want []time.Duration
		for n := range 20 {
			waits.Begin()
			time.Sleep(time.Duration(n))
			waits.End()
			want = append(want, time.Duration(n))
		}
		got := waits.Last()
		require.Equal(t, want[4:], got)
		got[0] = -1
		require.Equal(t, want[4:], waits.Last(), "a copy")
	})
}
