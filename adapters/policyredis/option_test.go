package policyredis_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/adapters/policyredis"
	"github.com/go-resilience/resilience/policy"
)

func TestBadConfigurationIsRefused(t *testing.T) {
	tests := map[string]struct {
		perSecond float64
		burst     int
		option    policyredis.Option
		says      string
	}{
		"no rate":         {0, 1, nil, "rate 0 per second"},
		"NaN":             {math.NaN(), 1, nil, "rate NaN"},
		"no limit":        {math.Inf(1), 1, nil, "rate +Inf"},
		"no burst":        {1, 0, nil, "burst 0: must be positive"},
		"burst too large": {1, math.MaxInt32, nil, "must be full again within 1200h0m0s"},
		"deadline":        {1, 1, policyredis.Deadline(0), "Deadline 0s: must be from 1ms to 1m0s"},
		"probe":           {1, 1, policyredis.Probe(time.Millisecond), "Probe 1ms: must be from 10ms"},
		"peers":           {1, 1, policyredis.FailLocal(0), "FailLocal(0)"},
		"too many peers":  {1, 1, policyredis.FailLocal(math.MaxInt32), "the share must refill"},
		"prefix":          {1, 1, policyredis.Prefix("a{b"), `Prefix "a{b"`},
		"no prefix":       {1, 1, policyredis.Prefix(""), "Prefix: is empty"},
		"lots":            {1, 5, policyredis.Lots(6, time.Second), "Lots 6: must be from 1 to the burst, 5"},
		"keep":            {1, 5, policyredis.Lots(5, 0), "Lots: keep 0s"},
		"keys":            {1, 5, policyredis.Keys(0), "Keys 0"},
		"cost":            {1, 5, policyredis.CostOf(nil), "CostOf: the function is nil"},
		"listener":        {1, 5, policyredis.OnChange(nil), "OnChange: the function is nil"},
		"hook":            {1, 5, policyredis.OnError(nil), "OnError: the function is nil"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var options []policyredis.Option
			if test.option != nil {
				options = append(options, test.option)
			}
			err := policyredis.Validate(test.perSecond, test.burst, options...)
			require.ErrorAs(t, err, new(*policy.ConfigError))
			require.ErrorContains(t, err, test.says)
			require.PanicsWithError(t, err.Error(), func() {
				policyredis.NewPerKey(answers(nil, nil), test.perSecond, test.burst, func(context.Context) string { return "" }, options...)
			})
		})
	}
	require.ErrorContains(t, policyredis.Validate(1, 1, nil), "option 1 is nil")
	for _, make := range []func(){
		func() { policyredis.New[policyredis.Reply](nil, "key", 1, 1) },
		func() { var client *redis.Client; policyredis.New(client, "key", 1, 1) },
		func() { policyredis.New(answers(nil, nil), "", 1, 1) },
		func() { policyredis.New(answers(nil, nil), "key", 1, 1, policyredis.Keys(5)) },
		func() { policyredis.NewPerKey(answers(nil, nil), 1, 1, nil) },
	} {
		require.Panics(t, make)
	}
}

func TestLimitersInJSON(t *testing.T) {
	v := newVirtual(t)
	perKey := policyredis.NewPerKey(v.client, 1, 2, func(context.Context) string { return "key" })
	for _, live := range []policy.Reporter{policyredis.New(v.client, "json", 1, 2), perKey} {
		encoded, err := json.Marshal(live)
		require.NoError(t, err)
		report, err := json.Marshal(live.Report())
		require.NoError(t, err)
		require.JSONEq(t, string(report), string(encoded))
	}
}

func TestReport(t *testing.T) {
	v := newVirtual(t)
	l := policyredis.New(v.client, "report", 100, 20, policyredis.Name("api"), patient(), policyredis.FailLocal(10), costing())
	unknown, _ := l.Report().Value("tokens", "")
	require.True(t, unknown.Unknown)
	require.NoError(t, attempt(l))
	r := l.Report()
	require.Equal(t, "rate limiter", r.Kind)
	require.Equal(t, "api", r.Name)
	require.Equal(t, policy.StageRateLimit, r.Stage)
	require.Equal(t, "shared", r.State.Name)
	require.Equal(t, []string{"shared", "local", "fail open", "fail closed"}, r.State.All)
	require.False(t, r.State.Since.IsZero())
	tokens, _ := r.Value("tokens", "")
	require.False(t, tokens.Unknown)
	require.InDelta(t, 19, tokens.Number, 1)
	require.Equal(t, []string{"New", "Name", "Deadline", "FailLocal", "CostOf"}, func() (names []string) {
		for _, s := range r.Settings {
			names = append(names, s.Name)
		}
		return names
	}())
	require.Equal(t, `rate limit "api" 100/s burst 20 in redis ratelimit:{report}`, l.String())

	s := l.Snapshot()
	encoded, err := json.Marshal(s)
	require.NoError(t, err)
	require.Contains(t, string(encoded), `"mode":"shared"`)
	require.Equal(t, slog.KindGroup, s.LogValue().Kind())
	require.Equal(t, "mode 9", policyredis.Mode(9).String())
}
