package policyredis_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/adapters/policyredis"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

func TestLotsSaveTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := policyredis.New(fake(scriptInGo()), "lots", 1000, 100, policyredis.Lots(20, time.Second))
		require.Equal(t, 63, admitted(l, 63))
		require.EqualValues(t, 3, l.Snapshot().Calls, "one for 21 attempts")
		require.False(t, l.Idle(), "it holds tokens")
		require.NoError(t, l.Drain(t.Context()))
		level, err := l.Peek(t.Context())
		require.NoError(t, err)
		require.Equal(t, 37, level.Tokens, "nothing is held")
		time.Sleep(time.Minute)
		require.True(t, l.Idle())
	})
}

// An attempt that costs more than a full lot holds asks for itself alone. While it waits for the store, another one fills the lot.
func TestADearAttemptKeepsNobodyFromFilling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := scriptInGo()
		var delay time.Duration
		client := fake(func(ctx context.Context, args []any) (any, error) {
			time.Sleep(delay)
			return server(ctx, args)
		})
		l := policyredis.New(client, "dear", hourly, 30, policyredis.Lots(4, time.Minute), costing())
		require.Equal(t, 1, admitted(l, 1))
		delay = 10 * time.Millisecond
		answered := make(chan error)
		go func() { answered <- attemptIn(withCost(5), l) }()
		synctest.Wait()
		delay = 0
		require.Equal(t, 9, admitted(l, 9))
		require.EqualValues(t, 3, l.Snapshot().Calls, "of the nine, one has asked")
		require.NoError(t, <-answered)
		require.NoError(t, l.Drain(t.Context()))
		level, err := l.Peek(t.Context())
		require.NoError(t, err)
		require.Equal(t, 30-10-5, level.Tokens, "nothing is held")
	})
}

func TestLotsGoBackAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := policyredis.New(fake(scriptInGo()), "lots", hourly, 100, policyredis.Lots(20, time.Second))
		require.NoError(t, attempt(l))
		time.Sleep(time.Second - 1)
		level, err := l.Peek(t.Context())
		require.NoError(t, err)
		require.Equal(t, 79, level.Tokens)
		time.Sleep(2)
		synctest.Wait()
		level, err = l.Peek(t.Context())
		require.NoError(t, err)
		require.Equal(t, 99, level.Tokens)
		require.Zero(t, l.Snapshot().Forgotten, "no alarm about one's own lots")
		require.NoError(t, l.Drain(t.Context()))
	})
}

// What is left is taken even if it is less than a lot, and a refusal is remembered until its token is there.
func TestLotsWhenTheBucketIsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := policyredis.New(fake(scriptInGo()), "lots", 10, 25, policyredis.Lots(20, time.Second))
		require.Equal(t, 25, admitted(l, 100))
		require.EqualValues(t, 3, l.Snapshot().Calls, "21, 4, and one refusal")
		err := attempt(l)
		require.ErrorIs(t, err, ratelimit.ErrLimited)
		wait, _ := policy.RetryAfter(err)
		require.Equal(t, 100*time.Millisecond, wait)
		time.Sleep(wait - 1)
		require.Error(t, attempt(l))
		require.EqualValues(t, 3, l.Snapshot().Calls)
		time.Sleep(1)
		require.NoError(t, attempt(l))
		require.NoError(t, l.Drain(t.Context()))
	})
}

// The documented error: in any window at most burst + rate·w, and in addition what the processes held as it began.
func TestTheErrorOfLots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, burst, lot, processes = 100.0, 50, 10, 4
		server := fake(scriptInGo())
		var limiters []*policyredis.Limiter
		for range processes {
			limiters = append(limiters, policyredis.New(server, "lots", perSecond, burst, policyredis.Lots(lot, time.Minute)))
		}
		for _, l := range limiters {
			require.NoError(t, attempt(l)) // each takes a lot
		}
		time.Sleep(time.Second) // and the bucket is full again
		yes, began := 0, time.Now()
		for range 200 {
			for _, l := range limiters {
				yes += admitted(l, 1)
			}
		}
		require.Zero(t, time.Since(began))
		require.Equal(t, burst+lot*processes, yes)
		for _, l := range limiters {
			require.NoError(t, l.Drain(t.Context()))
		}
	})
}

func TestLotsUnderConcurrency(t *testing.T) {
	v := newVirtual(t)
	l := policyredis.New(v.client, "lots", hourly, 500, policyredis.Lots(50, time.Minute), patient())
	var yes atomic.Int64
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for range 100 {
				if attempt(l) == nil {
					yes.Add(1)
				}
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 500, yes.Load())
	require.NoError(t, l.Drain(t.Context()))
}

// Tokens of attempts that are not made go back to those that follow, beside the lot.
func TestLotsTakeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := policyredis.New(fake(scriptInGo()), "lots", hourly, 10, policyredis.Lots(9, time.Minute))
		for range 100 {
			permit, err := policy.Acquire(t.Context(), l)
			require.NoError(t, err)
			time.Sleep(time.Nanosecond)
			permit.Settle(policy.Outcome{Kind: policy.NotCalled})
		}
		require.EqualValues(t, 1, l.Snapshot().Calls)
		time.Sleep(time.Microsecond)
		yes := admitted(l, 20)
		require.GreaterOrEqual(t, yes, 9, "each time a little was lost")
		require.LessOrEqual(t, yes, 10)
		require.NoError(t, l.Drain(t.Context()))
	})
}

// The bound of lots holds too when attempts were held for a while and then not made: with rapid, in virtual time.
func TestTheErrorOfLotsIsBounded(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		const unit, perSecond = 10 * time.Millisecond, 100
		burst := rapid.IntRange(1, 8).Draw(r, "burst")
		lot := rapid.IntRange(0, burst).Draw(r, "lot")
		processes := rapid.IntRange(1, 3).Draw(r, "processes")
		keep := rapid.SampledFrom([]time.Duration{time.Millisecond, 25 * time.Millisecond, time.Minute}).Draw(r, "keep")
		steps := rapid.SliceOfN(rapid.IntRange(0, 1<<20), 5, 80).Draw(r, "steps")
		problem := ""
		synctest.Test(t, func(t *testing.T) {
			server := fake(scriptInGo())
			var limiters []*policyredis.Limiter
			for range processes {
				options := []policyredis.Option{policyredis.FailLocal(processes)}
				if lot > 0 {
					options = append(options, policyredis.Lots(lot, keep))
				}
				limiters = append(limiters, policyredis.New(server, "lots", perSecond, burst, options...))
			}
			type held struct {
				limiter *policyredis.Limiter
				ticket  policy.Ticket
				at      time.Duration
			}
			var open []held
			var made []time.Duration
			began := time.Now()
			for _, s := range steps {
				what, value := s%8, s/8
				l := limiters[value%processes]
				switch value /= processes; what {
				case 0, 1, 2, 3:
					if _, ticket, err := l.Admit(t.Context()); err == nil {
						open = append(open, held{l, ticket, time.Since(began)})
					}
				case 4, 5:
					time.Sleep(time.Duration(value%100) * unit / 40)
				default:
					if len(open) == 0 {
						continue
					}
					i := value % len(open)
					h := open[i]
					open = append(open[:i], open[i+1:]...)
					if what == 6 {
						h.limiter.Settle(t.Context(), h.ticket, policy.Outcome{Kind: policy.NotCalled})
					} else {
						made = append(made, h.at)
					}
				}
			}
			for _, h := range open {
				made = append(made, h.at)
			}
			slices.Sort(made)
			for i := range made {
				for j := i; j < len(made); j++ {
					most := float64(burst+lot*processes) + (made[j]-made[i]).Seconds()*perSecond
					if float64(j-i+1) > most+1e-9 {
						problem = fmt.Sprintf("%d in %v, at most %v", j-i+1, made[j]-made[i], most)
					}
				}
			}
			for _, l := range limiters {
				require.NoError(t, l.Drain(t.Context()))
			}
		})
		if problem != "" {
			r.Fatal(problem)
		}
	})
}

// What goes back goes back once, also when a client does not hear the answer and sends the script again.
func TestLotsGoBackOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	real := newClient(t, s.addr())
	twice := redisTwice{real}
	l := drained(t, policyredis.New(twice, "}back{", hourly, 100, policyredis.Lots(20, time.Minute), patient()))
	require.NoError(t, real.ScriptLoad(t.Context(), policyredis.Script).Err())
	require.Equal(t, 3, admitted(l, 3))
	require.NoError(t, l.Drain(t.Context()))
	level, err := policyredis.New(real, "}back{", hourly, 100, patient()).Peek(t.Context())
	require.NoError(t, err)
	require.Equal(t, 100-2*21+18, level.Tokens, "what was taken twice is lost; what went back twice did so once")
}

// redisTwice is a client that never hears the first answer.
type redisTwice struct{ client *redis.Client }

func (c redisTwice) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return c.client.Eval(ctx, script, keys, args...)
}

func (c redisTwice) EvalSha(ctx context.Context, sha1 string, keys []string, args ...any) *redis.Cmd {
	_ = c.client.EvalSha(ctx, sha1, keys, args...)
	return c.client.EvalSha(ctx, sha1, keys, args...)
}

// What lots hold is not lost to a Drain that has no time left.
func TestDrainWithoutTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := scriptInGo()
		client := fake(func(ctx context.Context, args []any) (any, error) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return server(ctx, args)
		})
		l := policyredis.New(client, "drain", hourly, 10, policyredis.Lots(5, time.Second))
		require.NoError(t, attempt(l))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, l.Drain(ctx), context.Canceled)
		require.False(t, l.Idle())
		time.Sleep(2 * time.Second)
		level, err := l.Peek(t.Context())
		require.NoError(t, err)
		require.Equal(t, 9, level.Tokens, "it went back later")
	})
}

// A lot that its timer gives back while somebody drains is waited for.
func TestDrainWaitsForALotThatGoesBack(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			var closed, late atomic.Bool
			server := scriptInGo()
			client := fake(func(ctx context.Context, args []any) (any, error) {
				if closed.Load() {
					late.Store(true)
				}
				return server(ctx, args)
			})
			l := policyredis.New(client, "drain", hourly, 10, policyredis.Lots(5, time.Second))
			require.NoError(t, attempt(l))
			time.Sleep(time.Second) // its timer ends at the same moment
			require.NoError(t, l.Drain(t.Context()))
			closed.Store(true)
			synctest.Wait()
			require.False(t, late.Load(), "a call after Drain")
		})
	}
}

// When the bucket of a lot is empty, what is said without asking is as true as what the store says.
func TestR9_LotsSayWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := policyredis.New(fake(scriptInGo()), "lots", hourly, 2, policyredis.Lots(2, 100*time.Millisecond))
		require.Equal(t, 2, admitted(l, 2))
		for range 5 {
			wait := waitOf(t, attempt(l))
			require.Equal(t, time.Hour, wait.Round(time.Second))
			time.Sleep(10 * time.Millisecond)
		}
		require.EqualValues(t, 2, l.Snapshot().Calls)
		require.NoError(t, l.Drain(t.Context()))
	})
}

// A refusal that is remembered is one of the limit of then: also when its answer comes after the change.
func TestReconfigureForgetsARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := scriptInGo()
		var delay time.Duration
		client := fake(func(ctx context.Context, args []any) (any, error) {
			reply, err := server(ctx, args)
			time.Sleep(delay)
			return reply, err
		})
		lots := policyredis.Lots(1, time.Minute)
		l := policyredis.New(client, "raised", 1.0/30, 1, lots)
		require.Equal(t, 1, admitted(l, 3))
		require.NoError(t, l.Reconfigure(1.0/30, 5, lots))
		require.Equal(t, 4, admitted(l, 9))
		require.NoError(t, l.Reconfigure(1.0/30, 2, lots))
		require.Zero(t, admitted(l, 3))

		delay = 10 * time.Millisecond
		refused := make(chan error)
		go func() { refused <- attempt(l) }()
		require.NoError(t, l.Reconfigure(1.0/30, 6, lots))
		go func() { refused <- attempt(l) }() // is on its way when that changes
		synctest.Wait()
		require.NoError(t, l.Reconfigure(1.0/30, 8, lots))
		<-refused
		<-refused
		require.Positive(t, admitted(l, 9))
		require.NoError(t, l.Drain(t.Context()))
	})
}

// What a lot holds goes back to a bucket that has become smaller than what was taken from it.
func TestLotsGoBackToASmallerBucket(t *testing.T) {
	t.Parallel()
	client := newClient(t, startServer(t).addr())
	other := policyredis.New(client, "smaller", hourly, 100, patient(), costing())
	l := policyredis.New(client, "smaller", hourly, 100, policyredis.Lots(20, time.Minute), patient())
	require.NoError(t, attempt(l))
	require.NoError(t, attemptIn(withCost(60), other))
	require.NoError(t, l.Reconfigure(hourly, 50, policyredis.Lots(20, time.Minute), patient()))
	require.NoError(t, l.Drain(t.Context()))
	require.Zero(t, l.Snapshot().Errors)
	level, err := other.Peek(t.Context())
	require.NoError(t, err)
	require.Equal(t, 39, level.Tokens, "all but 61 are there")
}

// An attempt that is admitted from a lot and never made also gives back what it took of the share, however long the lot had held
// its tokens. In Redis they are worth nothing any more.
func TestLotsGiveTheShareBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := downing{}
		l := policyredis.New(server.client(), "share", 1000, 100, policyredis.Lots(20, time.Minute), policyredis.FailLocal(10))
		require.NoError(t, attempt(l), "fills the lot")
		time.Sleep(10 * time.Millisecond) // the share is full again
		for range 15 {
			permit, err := policy.Acquire(t.Context(), l)
			require.NoError(t, err)
			permit.Settle(policy.Outcome{Kind: policy.NotCalled})
		}
		require.EqualValues(t, 1, l.Snapshot().Calls, "the lot has admitted them")
		require.NoError(t, l.Drain(t.Context()))
		server.down = true
		require.Equal(t, 10, admitted(l, 20), "all of the share")
	})
}
