package proof

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

// The limiter per key: a history is linearizable when that of every single key is. Meanwhile others come, so that segments
// are split, keys move, and, where there is little room, keys go between the overflow bucket and an entry of their own.

type (
	ofKey[T any] struct {
		key int
		op  T
	}
	asked struct{ key, cost int }
)

const hotKeys = 3

// keyModel is a bucket for each key. A token that goes back is worth its cost less the seconds since, which whoever gives it
// back knows: the clock stands still meanwhile.
var keyModel = porcupine.Model{
	Partition: func(operations []porcupine.Operation) [][]porcupine.Operation {
		parts := make([][]porcupine.Operation, hotKeys)
		for _, o := range operations {
			switch in := o.Input.(type) {
			case ofKey[take]:
				o.Input = in.op
				parts[in.key] = append(parts[in.key], o)
			case ofKey[giveBack]:
				o.Input = in.op
				parts[in.key] = append(parts[in.key], o)
			default:
				for key := range parts {
					parts[key] = append(parts[key], o)
				}
			}
		}
		return parts
	},
	Init: func() any { return burst },
	Step: func(state, input, output any) (bool, any) {
		left := state.(int)
		switch in := input.(type) {
		case take:
			enough := left >= in.cost
			if enough {
				left -= in.cost
			}
			return output.(bool) == enough, left
		case giveBack:
			left += in.cost
		case wait:
			left += in.seconds
		}
		return true, min(burst, left)
	},
}

func askedKey(ctx context.Context) int  { return ctx.Value(weighted{}).(asked).key }
func askedCost(ctx context.Context) int { return ctx.Value(weighted{}).(asked).cost }

func newPerKey(room int) *ratelimit.PerKey[int] {
	return ratelimit.NewPerKey(1, burst, askedKey, ratelimit.CostOf(askedCost), ratelimit.Keys(room))
}

func perKeyExperiment(l *ratelimit.PerKey[int], guard policy.Guard) experiment {
	type attempt struct {
		asked
		permit *policy.Permit
		at     time.Time
	}
	held := make([][]attempt, clients)
	var others atomic.Int64
	return experiment{
		model: keyModel,
		step: func(h *history, client int, random *rand.Rand) {
			for range random.IntN(60) {
				l.Allow(int(hotKeys + others.Add(1)))
			}
			if last := len(held[client]) - 1; random.IntN(10) < 3 && last >= 0 {
				a := held[client][last]
				held[client] = held[client][:last]
				worth := max(0, a.cost-int(time.Since(a.at)/time.Second))
				h.do(client, ofKey[giveBack]{a.key, giveBack{cost: worth}}, func() any {
					return a.permit.Settle(policy.Outcome{Kind: policy.NotCalled})
				})
				return
			}
			a := attempt{asked: asked{random.IntN(hotKeys), random.IntN(4)}, at: time.Now()}
			h.do(client, ofKey[take]{a.key, take{cost: a.cost}}, func() any {
				var err error
				if a.permit, err = policy.Acquire(context.WithValue(context.Background(), weighted{}, a.asked), guard); err == nil {
					held[client] = append(held[client], a)
				}
				return err == nil
			})
		},
		pass: func(h *history) {
			h.do(clients, wait{2}, func() any { time.Sleep(2 * time.Second); return nil })
		},
	}
}

func TestLinearizablePerKey(t *testing.T) {
	requireLinearizable(t, func() experiment {
		l := newPerKey(20_000)
		return perKeyExperiment(l, l)
	})
}

// lavish is a limiter per key that now and then gives a token back that was spent.
type lavish struct {
	*ratelimit.PerKey[int]
	calls atomic.Int64
}

func (l *lavish) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	inner, ticket, err := l.PerKey.Admit(ctx)
	if err == nil && l.calls.Add(1)%7 == 0 {
		l.Settle(inner, ticket, policy.Outcome{Kind: policy.NotCalled})
	}
	return inner, ticket, err
}

func TestLinearizableCatchesAWrongPerKey(t *testing.T) {
	requireCaught(t, func() experiment {
		l := newPerKey(20_000)
		return perKeyExperiment(l, &lavish{PerKey: l})
	})
}

// Where there is no room for all, no key gets more than its bucket, whatever moves it makes.
func TestPerKeyConservesInAFlood(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			l := newPerKey(1)
			var granted [hotKeys]atomic.Int64
			start := time.Now()
			for range phases {
				done := make(chan struct{})
				for client := range clients {
					go func() {
						defer func() { done <- struct{}{} }()
						random := rand.New(rand.NewPCG(rand.Uint64(), uint64(client)))
						for range 400 {
							l.Allow(hotKeys + random.IntN(5_000))
							if key := random.IntN(hotKeys); l.Allow(key) {
								granted[key].Add(1)
							}
						}
					}()
				}
				for range clients {
					<-done
				}
				for key := range granted {
					require.LessOrEqual(t, granted[key].Load(), burst+int64(time.Since(start)/time.Second))
				}
				time.Sleep(2 * time.Second)
			}
			require.Positive(t, l.Snapshot().Overflowed)
		})
	}
}
