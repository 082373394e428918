package budget

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/policy"
)

func TestFault245_TheShareDeliveredIsTheRatio(t *testing.T) {
	const calls = 10_000
	for _, ratio := range []float64{0.001, 0.05, 0.1, 0.2, 0.3, 0.35, 0.5, 0.6, 0.75, 0.9, 0.99, 0.999, 0.9999, 1, 1.5, 2.25, 7} {
		for _, every := range []time.Duration{0, 300 * time.Millisecond, 11 * time.Second} {
			t.Run(fmt.Sprintf("%v, a call every %v", ratio, every), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b, extra := New(ratio, 0), 0
					for range calls {
						time.Sleep(every)
						b.Deposit()
						for range 10 {
							if !b.Withdraw() {
								break
							}
							extra++
						}
					}
					require.InDelta(t, ratio*calls, extra, 1, "the token that it begins with")
				})
			})
		}
	}
}

func TestFault246_WhatGoodTrafficEarnsLastsForTenSeconds(t *testing.T) {
	withdraw := func(b *Budget) (n int) {
		for b.Withdraw() {
			n++
		}
		return n
	}
	synctest.Test(t, func(t *testing.T) {
		b := New(0.2, 10)
		for range 10_000 {
			b.Deposit()
			time.Sleep(time.Millisecond)
		}
		require.Equal(t, 2100, withdraw(b))
		require.Zero(t, withdraw(b))
		time.Sleep(time.Second)
		require.Equal(t, 10, withdraw(b))
	})
	synctest.Test(t, func(t *testing.T) {
		b := New(0.2, 10)
		for range 10_000 {
			b.Deposit()
		}
		require.True(t, b.Withdraw()) // so that no part of a batch is left
		b.Return()
		time.Sleep(10 * time.Second)
		require.InDelta(t, 2100, b.Snapshot().Limit, 1e-6, "ten seconds are not over yet")
		time.Sleep(time.Second)
		require.InDelta(t, 100, b.Snapshot().Limit, 1e-6)
		require.Equal(t, 100, withdraw(b))
	})
}

// model is a budget that remembers every call.
type model struct {
	ratio, perSecond, tokens float64
	at                       time.Duration
	calls                    []time.Duration
}

func (m *model) floor() float64 { return max(1, 10*m.perSecond) }

func (m *model) limit() float64 {
	n := 0
	for _, at := range m.calls {
		if m.at/time.Second-at/time.Second <= 10 {
			n++
		}
	}
	return m.floor() + m.ratio*float64(n)
}

func (m *model) advance(now time.Duration) {
	passed := now - m.at
	m.at = now
	m.tokens = min(m.tokens+m.perSecond*passed.Seconds(), m.limit())
}

func TestABudgetIsItsModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(*testing.T) {
			ratio := rapid.SampledFrom([]float64{0, 0.1, 0.25, 0.75, 1, 3}).Draw(rt, "ratio")
			perSecond := rapid.SampledFrom([]float64{0, 0.1, 1, 10}).Draw(rt, "perSecond")
			if ratio+perSecond == 0 {
				ratio = 0.2
			}
			start, b := time.Now(), New(ratio, perSecond)
			m := &model{ratio: ratio, perSecond: perSecond}
			m.tokens = m.floor()
			held := 0
			rt.Repeat(map[string]func(*rapid.T){
				"": func(rt *rapid.T) {
					s := b.Snapshot()
					if math.Abs(s.Tokens-m.tokens) > 1e-6 || math.Abs(s.Limit-m.limit()) > 1e-6 {
						rt.Fatalf("%+v, want %v of %v", s, m.tokens, m.limit())
					}
				},
				"pass": func(rt *rapid.T) {
					time.Sleep(time.Duration(rapid.IntRange(1, 15_000).Draw(rt, "ms")) * time.Millisecond)
					m.advance(time.Since(start))
				},
				"deposit": func(rt *rapid.T) {
					for range rapid.IntRange(1, 20).Draw(rt, "calls") {
						b.Deposit()
						m.calls = append(m.calls, m.at)
						m.tokens += m.ratio
					}
				},
				"withdraw": func(rt *rapid.T) {
					got, want := b.Withdraw(), m.tokens >= 1-1e-6
					if got != want {
						rt.Fatalf("withdraw: %v with %v tokens", got, m.tokens)
					}
					if want {
						m.tokens = max(0, m.tokens-1)
						held++
					}
				},
				"return": func(rt *rapid.T) {
					if held == 0 {
						rt.Skip()
					}
					held--
					b.Return()
					m.tokens = min(m.tokens+1, m.limit())
				},
			})
		})
	})
}

func TestEveryCallCounts(t *testing.T) {
	const goroutines, calls = 16, 30_000
	b := New(0.5, 0)
	var group sync.WaitGroup
	for range goroutines {
		group.Go(func() {
			for range calls {
				b.Deposit()
			}
		})
	}
	group.Wait()
	s := b.Snapshot()
	require.Equal(t, 1+0.5*goroutines*calls, s.Tokens)
	require.Equal(t, s.Tokens, s.Limit)
}

func TestCallsAreDatedEvenIfTheyBecomeRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(1, 0)
		for range 1_000_000 {
			b.Deposit()
		}
		time.Sleep(time.Minute)
		require.Less(t, b.Snapshot().Tokens, 20_000.0, "less than a batch for each core is dated too late")
		require.True(t, b.Withdraw())
		for range 5 {
			b.Deposit()
			time.Sleep(time.Second)
		}
		time.Sleep(11 * time.Second)
		require.Equal(t, 1.0, b.Snapshot().Limit)
	})
}

func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(0.2, 10)
		require.True(t, b.Idle())
		b.Deposit()
		require.True(t, b.Idle(), "it has more than a new one")
		for b.Withdraw() {
		}
		require.False(t, b.Idle())
		time.Sleep(10 * time.Second)
		require.True(t, b.Idle())

		calls := New(0.2, 0)
		require.True(t, calls.Withdraw())
		require.False(t, calls.Idle())
		time.Sleep(Forget - 1)
		require.False(t, calls.Idle())
		time.Sleep(1)
		require.True(t, calls.Idle())
	})
}

func TestReconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(0.2, 10)
		for range 10 {
			require.True(t, b.Withdraw())
		}
		b.Reconfigure(0.2, 20)
		require.Equal(t, Snapshot{Tokens: 90, Limit: 200}, b.Snapshot(), "what is there stays")
		b.Reconfigure(0.2, 1)
		require.Equal(t, Snapshot{Tokens: 10, Limit: 10}, b.Snapshot())
		time.Sleep(time.Second)
		require.True(t, b.Withdraw())
		time.Sleep(500 * time.Millisecond)
		require.InDelta(t, 9.5, b.Snapshot().Tokens, 1e-9)
	})
}

func TestCheck(t *testing.T) {
	for _, bad := range [][2]float64{{-1, 1}, {1, -1}, {math.NaN(), 1}, {1, math.Inf(1)}, {0, 0}, {Most * 1.01, 0}} {
		problems := policy.ConfigError{Policy: "x"}
		Check(bad[0], bad[1], &problems)
		require.Error(t, problems.Err(), "%v", bad)
	}
	problems := policy.ConfigError{Policy: "x"}
	Check(Most, Most, &problems)
	require.NoError(t, problems.Err())
}

func BenchmarkDeposit(b *testing.B) {
	budget := New(0.2, 10)
	for b.Loop() {
		budget.Deposit()
	}
}

func BenchmarkDepositParallel(b *testing.B) {
	budget := New(0.2, 10)
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			budget.Deposit()
		}
	})
}
