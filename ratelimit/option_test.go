package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

func TestFault178_Configuration(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	tests := []struct {
		name    string
		rate    float64
		burst   int
		options []ratelimit.Option
		want    string
	}{
		{"rate NaN", nan, 1, nil, "rate NaN"},
		{"rate negative", -1, 1, nil, "rate -1"},
		{"rate -Inf", -inf, 1, nil, "rate -Inf"},
		{"rate too large", 1e9 + 1, 1, nil, "rate 1.000000001e+09"},
		{"rate MaxFloat64", math.MaxFloat64, 1, nil, "rate 1.797"},
		{"rate too small", 1e-10, 1, nil, "rate 1e-10"},
		{"burst 0", 1, 0, nil, "burst 0"},
		{"burst 0, rate 0", 0, 0, nil, "burst 0"},
		{"burst negative", 1, -1, nil, "burst -1"},
		{"burst negative, no limit", inf, -1, nil, "burst -1"},
		{"burst MinInt", 1, math.MinInt, nil, fmt.Sprint("burst ", math.MinInt)},
		{"burst MaxInt", 1, math.MaxInt, nil, fmt.Sprint("burst ", math.MaxInt)},
		{"nil option", 1, 1, []ratelimit.Option{nil}, "option 1 is nil"},
		{"wait 0", 1, 1, []ratelimit.Option{ratelimit.MaxWait(0)}, "MaxWait 0s"},
		{"wait negative", 1, 1, []ratelimit.Option{ratelimit.MaxWait(-1)}, "MaxWait -1ns"},
		{"waiters 0", 1, 1, []ratelimit.Option{ratelimit.MaxWait(1), ratelimit.MaxWaiters(0)}, "MaxWaiters 0"},
		{"waiters negative", 1, 1, []ratelimit.Option{ratelimit.MaxWait(1), ratelimit.MaxWaiters(-1)}, "MaxWaiters -1"},
		{"waiters without wait", 1, 1, []ratelimit.Option{ratelimit.MaxWaiters(5)}, "needs MaxWait"},
		{"nil cost", 1, 1, []ratelimit.Option{ratelimit.CostOf(nil)}, "CostOf: the function is nil"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := ratelimit.Validate(test.rate, test.burst, test.options...)
			require.ErrorContains(t, err, test.want)
			_, ok := errors.AsType[*policy.ConfigError](err)
			require.True(t, ok)
			require.PanicsWithError(t, err.Error(), func() { ratelimit.New(test.rate, test.burst, test.options...) })
			if test.options == nil {
				l := ratelimit.New(5, 5)
				if test.burst == 1 {
					require.EqualError(t, setRate(l, test.rate), err.Error())
				} else if test.rate == 1 {
					require.ErrorContains(t, setBurst(l, test.burst), test.want)
				}
				require.Equal(t, "rate limit 5/s burst 5", l.String())
			}
		})
	}
	for _, test := range []struct {
		n        int
		interval time.Duration
		want     string
	}{
		{1, 0, "interval 0s"},
		{1, -1, "interval -1ns"},
		{-1, 1, "-1 per 1ns"},
		{2, 1, "rate 2e+09"},
		{math.MaxInt, time.Second, fmt.Sprint("rate ", float64(math.MaxInt))},
	} {
		func() {
			defer func() {
				err, _ := recover().(error)
				require.ErrorContains(t, err, test.want)
			}()
			ratelimit.Per(test.n, test.interval, 1)
		}()
	}
	require.Panics(t, func() { ratelimit.Every(0, 1) })
	require.Equal(t, "rate limit 0/s burst 3", ratelimit.Per(0, time.Hour, 3).String())
	extremes := []*ratelimit.Limiter{
		ratelimit.New(ratelimit.MaxRate, ratelimit.MaxBurst, ratelimit.MaxWait(math.MaxInt64), ratelimit.MaxWaiters(math.MaxInt)),
		ratelimit.New(ratelimit.MinRate, ratelimit.MaxBurst, ratelimit.MaxWait(math.MaxInt64)),
		ratelimit.New(inf, ratelimit.MaxBurst),
		ratelimit.Every(math.MaxInt64/1000, 1),
	}
	for _, l := range extremes {
		require.True(t, admitted(t, l))
	}
}

func TestFault127_RateZero(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, options := range [][]ratelimit.Option{nil, {ratelimit.MaxWait(math.MaxInt64)}} {
			for _, zero := range []float64{0, math.Copysign(0, -1)} {
				l := ratelimit.New(zero, 3, options...)
				require.Equal(t, 3, drain(t, l), "the burst, once")
				start := time.Now()
				_, err := policy.Acquire(context.Background(), l)
				require.ErrorIs(t, err, ratelimit.ErrLimited)
				require.EqualError(t, err, "rate limiter: no token: no more tokens will come")
				_, again := policy.RetryAfter(err)
				require.False(t, again, "coming back is of no use")
				require.Zero(t, time.Since(start), "and neither is waiting")
				time.Sleep(1e5 * time.Hour)
				require.Zero(t, drain(t, l))
				require.NoError(t, l.Reconfigure(1, 3, options...))
				require.NoError(t, l.Reconfigure(zero, 3, options...))
				_, err = policy.Acquire(context.Background(), l)
				require.ErrorIs(t, err, ratelimit.ErrExhausted)
				require.Equal(t, "rate limit 0/s burst 3", l.String())
			}
		}
	})
}

func TestFault127_RateInfinite(t *testing.T) {
	for _, burst := range []int{0, 1, 100} {
		l := ratelimit.New(math.Inf(1), burst, ratelimit.CostOf(costMark), ratelimit.MaxWait(time.Second))
		for cost := range 1000 {
			acquire(t, l, cost*cost).Settle(neverCalled)
			acquire(t, l, cost).Done(nil)
		}
		require.Equal(t, "rate limit none", l.String())
		require.Equal(t, uint64(2000), l.Snapshot().Admitted)
	}
}

// A wait that no clock can measure is no wait.
func TestFault127_BeyondTheHorizon(t *testing.T) {
	l := ratelimit.New(ratelimit.MinRate, ratelimit.MaxBurst, ratelimit.CostOf(costMark), ratelimit.MaxWait(math.MaxInt64))
	acquire(t, l, ratelimit.MaxBurst)
	for cost, ever := range map[int]bool{1: true, 2: true, 1000: false, ratelimit.MaxBurst: false} {
		ctx, cancel := in(time.Minute)
		_, err := policy.Acquire(costing(ctx, cost), l)
		cancel()
		require.ErrorIs(t, err, ratelimit.ErrLimited)
		wait, again := policy.RetryAfter(err)
		require.Equal(t, ever, again, cost)
		if ever {
			require.InEpsilon(t, float64(cost)*1e9, wait.Seconds(), 1e-6)
		}
	}
}

// A token takes 32 years to come, and 146 years are the horizon: what is there already does not have to come.
func TestFault127_WhatIsThereIsNotWaitedFor(t *testing.T) {
	for _, options := range [][]ratelimit.Option{nil, {ratelimit.MaxWait(time.Hour)}} {
		l := ratelimit.New(ratelimit.MinRate, 10, append(options, ratelimit.CostOf(costMark))...)
		acquire(t, l, 7)
		_, err := policy.Acquire(costing(context.Background(), 4), l)
		require.ErrorIs(t, err, ratelimit.ErrLimited)
		wait, again := policy.RetryAfter(err)
		require.True(t, again)
		require.InEpsilon(t, 1e9, wait.Seconds(), 1e-3)
	}
}

func TestFault128_Costs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, options := range [][]ratelimit.Option{{ratelimit.CostOf(costMark)}, {ratelimit.CostOf(costMark), ratelimit.MaxWait(time.Hour)}} {
			l := ratelimit.New(1, 10, options...)
			start := time.Now()
			for _, test := range []struct {
				cost int
				want string
			}{
				{11, "the cost is above the burst"}, {math.MaxInt, "the cost is above the burst"},
				{-1, "the cost is negative"}, {-5, "the cost is negative"}, {math.MinInt, "the cost is negative"},
			} {
				_, err := policy.Acquire(costing(context.Background(), test.cost), l)
				require.ErrorIs(t, err, ratelimit.ErrLimited)
				require.ErrorContains(t, err, test.want)
				_, again := policy.RetryAfter(err)
				require.False(t, again)
				require.Equal(t, 10.0, l.Snapshot().Tokens, "neither debt nor gift")
			}
			acquire(t, l, 10)
			for range 100 {
				acquire(t, l, 0).Settle(neverCalled) // costs nothing, and gives nothing back
			}
			require.Zero(t, l.Snapshot().Tokens)
			require.Zero(t, l.Snapshot().Returned)
			require.Zero(t, time.Since(start))
		}
	})
}

func TestFault127_BeyondTheHorizonBehindAQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(ratelimit.MinRate, 1e6, ratelimit.CostOf(costMark), ratelimit.MaxWait(math.MaxInt64))
		acquire(t, l, 1e6)
		ctx, leave := context.WithCancel(context.Background())
		left := make(chan error)
		go func() { _, err := policy.Acquire(ctx, l); left <- err }()
		synctest.Wait()
		require.Equal(t, 1, l.Snapshot().Waiting)
		_, err := policy.Acquire(costing(context.Background(), 1e6), l)
		require.ErrorIs(t, err, ratelimit.ErrLimited)
		_, again := policy.RetryAfter(err)
		require.False(t, again)
		acquire(t, l, 0).Done(nil) // what costs nothing does not queue either
		leave()
		require.ErrorIs(t, <-left, context.Canceled)
	})
}

// Of the same option given twice the later one counts; what is checked is the configuration that results.
func TestFault258_TheLaterOptionCounts(t *testing.T) {
	for _, options := range [][]ratelimit.Option{
		{ratelimit.MaxWait(-1), ratelimit.MaxWait(1)},
		{ratelimit.MaxWaiters(0), ratelimit.MaxWait(1), ratelimit.MaxWaiters(1)},
		{ratelimit.CostOf(nil), ratelimit.CostOf(costMark)},
		{ratelimit.Name("a"), ratelimit.Name("b")},
	} {
		require.NoError(t, ratelimit.Validate(1, 1, options...))
		require.NotPanics(t, func() { ratelimit.New(1, 1, options...) })
	}
	require.Error(t, ratelimit.Validate(1, 1, ratelimit.CostOf(costMark), ratelimit.CostOf(nil)))
}
