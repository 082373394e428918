package policyredis_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/adapters/policyredis"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

// FAULT 214: the script is sent again, once for each call that misses it, and no caller sees an error.
func TestFault214_R2_TheScriptIsSentAgain(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	client := newClient(t, s.addr())
	l := drained(t, policyredis.New(client, "script", 1000, 1000, patient()))
	require.NoError(t, attempt(l))
	require.EqualValues(t, 1, l.Snapshot().Texts, "the first call of all")
	require.NoError(t, attempt(l))
	require.EqualValues(t, 1, l.Snapshot().Texts)

	require.NoError(t, client.ScriptFlush(t.Context()).Err())
	require.NoError(t, attempt(l))
	require.EqualValues(t, 2, l.Snapshot().Texts, "one extra trip")
	require.NoError(t, attempt(l))
	require.EqualValues(t, 2, l.Snapshot().Texts)

	s.kill()
	s.restart(t)
	require.NoError(t, attempt(l), "the client connects again")
	require.EqualValues(t, 3, l.Snapshot().Texts)

	require.NoError(t, client.ScriptFlush(t.Context()).Err())
	const callers = 200
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			if err := attempt(l); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	texts := l.Snapshot().Texts
	require.NoError(t, attempt(l))
	require.Equal(t, texts, l.Snapshot().Texts, "no stampede: those that were on their way, and nobody after them")
	require.Zero(t, l.Snapshot().Errors)
	require.Equal(t, policyredis.Shared, l.Snapshot().Mode)
}

// A server that is stopped holds one call in each probe interval for the deadline, and no other. The client is one that does
// not keep to contexts: left alone, it would wait for a minute, four times.
func TestFault213_R3_AStoppedServerHoldsOneCallPerProbe(t *testing.T) {
	s := startServer(t)
	client := redis.NewClient(&redis.Options{Addr: s.addr(), ReadTimeout: time.Minute})
	defer client.Close()
	probe, window := testsize.Pick(100*time.Millisecond, 200*time.Millisecond), testsize.Pick(400*time.Millisecond, time.Second)
	var mu sync.Mutex
	var changes []policyredis.Change
	l := drained(t, policyredis.New(client, "stopped", 1000, 1000, policyredis.FailLocal(4), policyredis.Probe(probe),
		policyredis.OnChange(func(c policyredis.Change) {
			mu.Lock()
			defer mu.Unlock()
			changes = append(changes, c)
		})))
	eventually(t, "the server answers in time", func() bool {
		before := l.Snapshot().FellBack
		return attempt(l) == nil && l.Snapshot().Mode == policyredis.Shared && l.Snapshot().FellBack == before
	})

	s.freeze()
	defer s.thaw()
	before, began := l.Snapshot(), time.Now()
	decisions := 0
	local := func() bool { return decisions > 100*int(l.Snapshot().Calls-before.Calls) }
	for time.Since(began) < window || !local() && time.Since(began) < time.Minute { // a busy machine takes longer
		asked := time.Now()
		_ = attempt(l)
		require.Less(t, time.Since(asked), 30*time.Second, "the client's own settings do not matter")
		decisions++
	}
	require.True(t, local(), "all but the probes are local")
	stopped := l.Snapshot()
	probes := uint64(time.Since(began)/probe) + 1
	require.LessOrEqual(t, stopped.Calls-before.Calls, 3+probes, "three in a row, and then one in each interval")
	require.Equal(t, policyredis.Local, stopped.Mode)
	require.Equal(t, stopped.Calls-before.Calls, stopped.Timeouts-before.Timeouts)
	require.Positive(t, stopped.Abandoned, "the client still waits")
	report := l.Report()
	require.Equal(t, "local", report.State.Name)
	require.ErrorIs(t, report.State.Cause.Err, policyredis.ErrDeadline)
	require.WithinRange(t, report.State.Since, began, time.Now())

	s.thaw()
	eventually(t, "the store decides again", func() bool { _ = attempt(l); return l.Snapshot().Mode == policyredis.Shared })
	mu.Lock()
	defer mu.Unlock()
	for i, c := range changes {
		require.EqualValues(t, i+1, c.Number)
		require.NotEqual(t, c.From, c.To)
	}
	require.EqualValues(t, len(changes), value(t, l, "mode_changes"))
	require.Equal(t, policyredis.Shared, changes[len(changes)-1].To)
	t.Logf("%d decisions in %v, %d of them asked", decisions, time.Since(began), stopped.Calls-before.Calls)
}

// The same with a server that is killed and comes back, with a second of latency, and with one that does not write.
func TestFault213_RecoveryIsAutomatic(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	client := redis.NewClient(&redis.Options{Addr: s.addr(), MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	l := drained(t, policyredis.New(client, "killed", hourly, 3, policyredis.Probe(50*time.Millisecond), patient()))
	require.NoError(t, attempt(l))
	s.kill()
	for range 4 {
		_ = attempt(l)
	}
	require.Equal(t, policyredis.Local, l.Snapshot().Mode)
	s.restart(t)
	eventually(t, "the store decides again", func() bool { _ = attempt(l); return l.Snapshot().Mode == policyredis.Shared })
}

func TestFault213_TheModeIsExplicit(t *testing.T) {
	down := answers(nil, errDown)
	for mode, option := range map[policyredis.Mode]policyredis.Option{
		policyredis.Local: policyredis.FailLocal(2), policyredis.Open: policyredis.FailOpen(), policyredis.Closed: policyredis.FailClosed(),
	} {
		l := policyredis.New(down, "mode", hourly, 6, option, patient())
		yes := admitted(l, 10)
		require.Equal(t, map[policyredis.Mode]int{policyredis.Local: 3, policyredis.Open: 10, policyredis.Closed: 0}[mode], yes)
		s := l.Snapshot()
		require.Equal(t, mode, s.Mode)
		require.EqualValues(t, 3, s.Calls)
		require.EqualValues(t, 10, s.FellBack)
		require.EqualValues(t, 1, s.Changes)
		require.Equal(t, mode.String(), l.Report().State.Name)
	}
	l := policyredis.New(down, "mode", hourly, 6, policyredis.FailClosed(), patient())
	for range 4 {
		err := attempt(l)
		require.ErrorIs(t, err, policyredis.ErrStore)
		require.ErrorIs(t, err, policy.ErrRejected)
		require.NotErrorIs(t, err, ratelimit.ErrLimited, "nobody knows")
		require.Equal(t, "policyredis.store", policy.Code(err))
	}
	wait, known := policy.RetryAfter(attempt(l))
	require.True(t, known, "when the store is asked again")
	require.LessOrEqual(t, wait, 1100*time.Millisecond)
}

// The outage finds a bucket that is empty: each of 4 processes has its share, and no burst.
func TestR4_TheLocalBucketIsWarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, burst, peers = 40, 20, 4
		var server downing
		l := policyredis.New(server.client(), "warm", perSecond, burst, policyredis.FailLocal(peers))
		require.Equal(t, burst, admitted(l, 100), "this process alone has taken everything")
		server.down = true
		yes := 0
		for range 100 {
			time.Sleep(10 * time.Millisecond)
			yes += admitted(l, 3)
		}
		require.LessOrEqual(t, yes, burst/peers+perSecond/peers)
		require.Equal(t, perSecond/peers, yes, "its share of the rate: nothing of the burst was left")

		time.Sleep(time.Minute) // an outage that begins with the local bucket full
		require.Equal(t, burst/peers, admitted(l, 100))
	})
}

// An attempt that costs more than the share's burst goes through when the local bucket is full, and is paid for.
func TestAnExpensiveAttemptInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := policyredis.New(answers(nil, errDown), "dear", 40, 20, policyredis.FailLocal(10), costing())
		require.NoError(t, attemptIn(withCost(20), l))
		err := attempt(l)
		require.ErrorIs(t, err, ratelimit.ErrLimited)
		wait, _ := policy.RetryAfter(err)
		require.Equal(t, 19*250*time.Millisecond, wait, "20 tokens at a tenth of the rate, less the burst of 2, and one more")
		time.Sleep(wait - 1)
		require.Error(t, attempt(l))
		time.Sleep(1)
		require.NoError(t, attempt(l))
	})
}

// wedged is a server that takes connections and says what it is told to, or nothing.
func wedged(t *testing.T, say string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer conn.Close()
				if say == "" {
					_, _ = io.Copy(io.Discard, conn)
					return
				}
				_, _ = bufio.NewReader(conn).ReadString('\n')
				_, _ = io.WriteString(conn, say)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		group.Wait()
	})
	return listener.Addr().String()
}

func TestUR5_AWedgedSocketCostsTheDeadline(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: wedged(t, ""), ReadTimeout: time.Hour}) // it ignores the deadlines of contexts
	l := policyredis.New(client, "wedged", hourly, 5, policyredis.Probe(time.Hour))
	for range 10 {
		began := time.Now()
		_ = attempt(l)
		require.Less(t, time.Since(began), 30*time.Second)
	}
	s := l.Snapshot()
	require.EqualValues(t, 3, s.Calls)
	require.EqualValues(t, 3, s.Timeouts)
	require.EqualValues(t, 5, s.Admitted, "the local bucket decides")
	require.NoError(t, client.Close())
	require.NoError(t, l.Drain(t.Context()), "what was abandoned ends with the client")
	require.Zero(t, l.Snapshot().Running)
	require.Zero(t, l.Snapshot().Abandoned)
}

// The deadline holds in virtual time too: 50 ms, exactly, whatever the client does.
func TestUR5_TheDeadlineIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, ignores := range []bool{false, true} {
			client := fake(func(ctx context.Context, _ []any) (any, error) { // a second of latency
				if ignores {
					time.Sleep(time.Second)
					return int64(0), nil
				}
				select {
				case <-time.After(time.Second):
					return int64(0), nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			})
			l := policyredis.New(client, "late", hourly, 5, policyredis.FailClosed())
			began := time.Now()
			require.ErrorIs(t, attempt(l), policyredis.ErrStore, "an answer that is late admits nobody")
			require.Equal(t, 50*time.Millisecond, time.Since(began))
			require.EqualValues(t, 1, l.Snapshot().Timeouts)
			require.NoError(t, l.Drain(t.Context()))
			require.Equal(t, ignores, time.Since(began) == time.Second)
		}
	})
}

// Errors that a working server gives are about the key. They do not keep other keys from being asked.
func TestUR5_TheBreakerCountsConnectivityOnly(t *testing.T) {
	v := newVirtual(t)
	require.NoError(t, v.Set("ratelimit:{text}", "not ours"))
	_, err := v.Lpush("ratelimit:{list}", "not ours")
	require.NoError(t, err)
	heard := 0
	key := func(ctx context.Context) string { return ctx.Value(costKey{}).(string) }
	on := func(name string) context.Context { return context.WithValue(t.Context(), costKey{}, name) }
	p := policyredis.NewPerKey(v.client, hourly, 3, key, patient(), policyredis.OnError(func(error) { heard++ }))
	for _, name := range []string{"text", "list"} {
		yes := 0
		for range 20 {
			if attemptIn(on(name), p) == nil {
				yes++
			}
		}
		require.Equal(t, 3, yes, "the local bucket of this key decides")
	}
	require.Equal(t, 40, heard)
	s := p.Snapshot()
	require.EqualValues(t, 40, s.Errors)
	require.EqualValues(t, 40, s.FellBack)
	require.Equal(t, policyredis.Shared, s.Mode, "of the other keys")
	require.NoError(t, attemptIn(on("fine"), p))
	require.EqualValues(t, 40, p.Snapshot().FellBack)
	got, err := v.Get("ratelimit:{text}")
	require.NoError(t, err)
	require.Equal(t, "not ours", got, "what is not ours stays")

	l := policyredis.New(v.client, "text", hourly, 3, patient())
	require.Equal(t, 3, admitted(l, 5))
	require.Equal(t, policyredis.Local, l.Snapshot().Mode, "of a single key it is the mode")
	require.EqualValues(t, 5, l.Snapshot().Calls, "and it is asked each time")
}

// A wrong type at the key, with a real server, whose error has another form than that of miniredis.
func TestAWrongTypeOnARealServer(t *testing.T) {
	t.Parallel()
	client := newClient(t, startServer(t).addr())
	require.NoError(t, client.LPush(t.Context(), "ratelimit:{list}", "x").Err())
	require.NoError(t, client.Set(t.Context(), "ratelimit:{text}", "x", 0).Err())
	for _, key := range []string{"list", "text"} {
		l := drained(t, policyredis.New(client, key, hourly, 3, patient()))
		require.Equal(t, 3, admitted(l, 10))
		require.EqualValues(t, 10, l.Snapshot().Calls, "the breaker stays closed")
		require.EqualValues(t, 10, l.Snapshot().Errors)
	}
}

// Where EVALSHA is refused, a client need not ask for it.
func TestAServerWithoutEvalSha(t *testing.T) {
	t.Parallel()
	client := newClient(t, startServer(t, "--rename-command", "EVALSHA", "").addr())
	refused := policyredis.New(client, "refused", hourly, 3, patient())
	require.Equal(t, 3, admitted(refused, 10))
	require.Equal(t, policyredis.Local, refused.Snapshot().Mode)
	l := policyredis.New(textOnly{client}, "text", hourly, 3, patient(), policyredis.FailClosed())
	require.Equal(t, 3, admitted(l, 10))
	require.Zero(t, l.Snapshot().Errors)
	require.EqualValues(t, 10, l.Snapshot().Texts)
}

type textOnly struct{ *redis.Client }

func (textOnly) EvalSha(ctx context.Context, _ string, _ []string, _ ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	cmd.SetErr(errors.New("NOSCRIPT this client sends the text"))
	return cmd
}

// A replica answers, and does not write: it is as good as down.
func TestAReadOnlyReplicaDecidesNothing(t *testing.T) {
	t.Parallel()
	master := startServer(t)
	replica := startServer(t, "--replicaof", "127.0.0.1 "+portOf(master))
	client := redis.NewClient(&redis.Options{Addr: replica.addr(), MaxRetries: -1})
	defer client.Close()
	l := drained(t, policyredis.New(client, "replica", hourly, 3, patient(), policyredis.Probe(time.Hour)))
	require.Equal(t, 3, admitted(l, 10), "locally")
	s := l.Snapshot()
	require.Equal(t, policyredis.Local, s.Mode)
	require.EqualValues(t, 3, s.Calls, "then the breaker is open")
}

// A store that can be read and not written is down, also for those who look at what is left after each attempt.
func TestAReadableStoreIsNotWell(t *testing.T) {
	for _, option := range []policyredis.Option{policyredis.FailLocal(1), policyredis.TrustClient()} {
		synctest.Test(t, func(t *testing.T) {
			full := true
			server := scriptInGo()
			l := policyredis.New(fake(func(ctx context.Context, args []any) (any, error) {
				if most := args[2]; full && most != "0" {
					return nil, errors.New("OOM command not allowed when used memory > 'maxmemory'.")
				}
				return server(ctx, args)
			}), "full", hourly, 100, option)
			attempts := func(n int) {
				for range n {
					require.NoError(t, attempt(l))
					_, _ = l.Peek(t.Context())
				}
			}
			attempts(10)
			require.Equal(t, policyredis.Local, l.Snapshot().Mode)
			require.EqualValues(t, 3, l.Snapshot().Errors, "the breaker is open")
			for range 5 {
				time.Sleep(2 * time.Second)
				_, err := l.Peek(t.Context())
				require.NoError(t, err, "it answers")
				attempts(2)
			}
			require.EqualValues(t, 1, l.Snapshot().Changes)
			require.EqualValues(t, 3+5, l.Snapshot().Errors, "one attempt for each probe")
			full = false
			time.Sleep(2 * time.Second)
			attempts(1)
			require.Equal(t, policyredis.Shared, l.Snapshot().Mode)
		})
	}
}

// Nor does a refusal say that it is well, which writes nothing either: in a store that is full, or has become a replica, keys
// that are exhausted are refused as before.
func TestAStoreThatOnlyRefusesIsNotWell(t *testing.T) {
	t.Parallel()
	client := newClient(t, startServer(t).addr())
	p := policyredis.NewPerKey(client, hourly, 5, tenantOf, patient(), policyredis.Probe(10*time.Millisecond))
	allowed := func(key string) bool { return p.Allow(t.Context(), key, 1) == nil }
	for allowed("greedy") {
	}
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	for i := range 20 {
		require.True(t, allowed(fmt.Sprint(i)), "locally")
		require.False(t, allowed("greedy"))
	}
	require.Equal(t, policyredis.Local, p.Snapshot().Mode)
	changes := p.Snapshot().Changes
	time.Sleep(20 * time.Millisecond)
	for range 20 {
		require.False(t, allowed("greedy"))
	}
	require.Equal(t, changes, p.Snapshot().Changes)
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "0").Err())
	eventually(t, "the store decides again", func() bool {
		allowed("another")
		return p.Snapshot().Mode == policyredis.Shared
	})
}

// But when it could not be reached, and now refuses, it is there again.
func TestARefusalEndsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var server downing
		l := policyredis.New(server.client(), "exhausted", hourly, 5)
		admitted(l, 6)
		server.down = true
		admitted(l, 3)
		require.Equal(t, policyredis.Local, l.Snapshot().Mode)
		server.down = false
		time.Sleep(2 * time.Second)
		require.ErrorIs(t, attempt(l), ratelimit.ErrLimited)
		require.Equal(t, policyredis.Shared, l.Snapshot().Mode)
	})
}

// A process that never takes tokens, and only looks, finds a store that answers again as well as others do.
func TestWhoOnlyPeeksFindsTheStoreAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		server := scriptInGo()
		l := policyredis.New(fake(func(ctx context.Context, args []any) (any, error) {
			if down {
				return nil, errDown
			}
			return server(ctx, args)
		}), "looks", hourly, 100)
		for range 3 {
			_, err := l.Peek(t.Context())
			require.ErrorIs(t, err, errDown)
		}
		require.Equal(t, policyredis.Local, l.Snapshot().Mode)
		down = false
		time.Sleep(10 * time.Second)
		_, err := l.Peek(t.Context())
		require.NoError(t, err)
		require.Equal(t, policyredis.Shared, l.Snapshot().Mode)
		var all sync.WaitGroup
		for range 10 { // no probe that only one of them may be
			all.Go(func() {
				_, err := l.Peek(t.Context())
				assert.NoError(t, err)
			})
		}
		all.Wait()
	})
}

// UR4, FAULT 220: whatever the reply is, only an integer that the script can have given admits.
func TestFault220_UR4_ABadReplyNeverAdmits(t *testing.T) {
	for _, reply := range []any{
		nil, "OK", "1", 1, 1.5, true, []any{}, []any{int64(1)}, []any{int64(1), int64(0)}, map[string]any{}, []byte("1"),
		int64(1 << 60), int64(-1 << 60), int64(5 * time.Hour), errors.New("an error as a value"),
	} {
		l := policyredis.New(answers(reply, nil), "bad", hourly, 5, policyredis.FailClosed(), policyredis.Name("bad"), patient())
		require.ErrorIs(t, attempt(l), policyredis.ErrStore, "%T %v", reply, reply)
		require.EqualValues(t, 1, l.Snapshot().Errors)
	}
	for _, client := range []fake{
		func(context.Context, []any) (any, error) { panic("a client that panics") },
		func(_ context.Context, args []any) (any, error) { return args[len(args)], nil },
	} {
		l := policyredis.New(client, "bad", hourly, 5, policyredis.FailClosed(), patient())
		require.ErrorIs(t, attempt(l), policyredis.ErrStore)
	}
}

// An answer that is cut off is no answer.
func TestUR4_AnAnswerThatIsCutOff(t *testing.T) {
	for _, say := range []string{":", ":1", ":123456", "*4\r\n:1\r\n", "$5\r\nab", "\x00\xff", "-", "+"} {
		client := redis.NewClient(&redis.Options{Addr: wedged(t, say), MaxRetries: -1, Protocol: 2, DisableIdentity: true})
		l := policyredis.New(client, "cut", hourly, 5, policyredis.FailClosed())
		require.ErrorIs(t, attempt(l), policyredis.ErrStore, "%q", say)
		require.NoError(t, client.Close())
		require.NoError(t, l.Drain(t.Context()))
	}
}

// FAULT 228: what was taken is forgotten. The limit begins anew with a full bucket, and says so.
func TestFault228_AStoreThatForgetsIsReported(t *testing.T) {
	v := newVirtual(t)
	var heard []error
	l := policyredis.New(v.client, "flushed", hourly, 5, patient(), policyredis.OnError(func(err error) { heard = append(heard, err) }))
	require.Equal(t, 5, admitted(l, 6))
	require.Zero(t, value(t, l, "store_forgotten"))
	v.FlushAll()
	require.Equal(t, 5, admitted(l, 6), "full again")
	require.EqualValues(t, 1, value(t, l, "store_forgotten"))
	require.ErrorIs(t, heard[0], policyredis.ErrForgotten)
	require.Len(t, heard, 1)
	require.Equal(t, policyredis.Shared, l.Snapshot().Mode, "the store is well")

	quiet := policyredis.New(v.client, "quiet", 1000, 5, patient())
	for range 100 {
		_ = attempt(quiet)
		v.advance(300 * time.Microsecond)
	}
	require.Zero(t, value(t, quiet, "store_forgotten"), "a bucket that fills is no loss")
}

// The mode does not flap with a store that answers now and then.
func TestModesDoNotFlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		server := scriptInGo()
		client := fake(func(ctx context.Context, args []any) (any, error) {
			if n++; n%5 != 0 {
				return nil, errors.New("WRONGTYPE, most of the time") // which the breaker does not count
			}
			return server(ctx, args)
		})
		l := policyredis.New(client, "flaps", 1000, 1000)
		for range 10_000 {
			_ = attempt(l)
			time.Sleep(time.Millisecond)
		}
		require.LessOrEqual(t, l.Snapshot().Changes, uint64(2*10+2), "at most two in each probe interval")
		require.Greater(t, l.Snapshot().Changes, uint64(5))
	})
}

// downing is a server that is there, or is not.
type downing struct{ down bool }

func (d *downing) client() fake {
	server := scriptInGo()
	return func(ctx context.Context, args []any) (any, error) {
		if d.down {
			return nil, errDown
		}
		return server(ctx, args)
	}
}

// A listener may use the limiter, panic, and end its goroutine; the changes come in order all the same.
func TestListenersCannotHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := downing{down: true}
		var l *policyredis.Limiter
		var seen []policyredis.Mode
		l = policyredis.New(server.client(), "listeners", 1000, 1000,
			policyredis.OnChange(func(c policyredis.Change) { _ = l.Report(); panic(c) }),
			policyredis.OnChange(func(c policyredis.Change) { seen = append(seen, c.To) }))
		admitted(l, 5)
		server.down = false
		time.Sleep(2 * time.Second)
		admitted(l, 1)
		require.Equal(t, []policyredis.Mode{policyredis.Local, policyredis.Shared}, seen)
	})
}

// A client that is trusted is called on the attempt's own goroutine. One that keeps to its context is as good as any other.
func TestUR5_ATrustedClient(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: wedged(t, ""), ContextTimeoutEnabled: true, ReadTimeout: time.Hour})
	defer client.Close()
	l := policyredis.New(client, "trusted", hourly, 5, policyredis.Probe(time.Hour))
	require.True(t, l.Snapshot().Trusted, "it says so itself")
	for range 10 {
		began := time.Now()
		_ = attempt(l)
		require.Less(t, time.Since(began), 30*time.Second)
	}
	s := l.Snapshot()
	require.EqualValues(t, 3, s.Calls)
	require.EqualValues(t, 3, s.Timeouts)
	require.Zero(t, s.Running)
	require.EqualValues(t, 5, s.Admitted)

	panics := fake(func(context.Context, []any) (any, error) { panic("a client that panics") })
	closed := policyredis.New(panics, "trusted", hourly, 5, policyredis.FailClosed(), policyredis.TrustClient(), patient())
	require.ErrorIs(t, attempt(closed), policyredis.ErrStore)
	require.Zero(t, closed.Snapshot().Running)
	v := newVirtual(t)
	fine := policyredis.New(v.client, "trusted", hourly, 5, patient())
	require.True(t, fine.Snapshot().Trusted)
	require.Equal(t, 5, admitted(fine, 9))
}

// A client of go-redis may be told to set no deadline at all on its connections, whatever its contexts say.
func TestUR5_AClientWithoutDeadlines(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: wedged(t, ""), Protocol: 2, DisableIdentity: true,
		ContextTimeoutEnabled: true, ReadTimeout: -2, MaxRetries: -1})
	l := policyredis.New(client, "wedged", hourly, 5, policyredis.FailClosed())
	refused := make(chan error)
	go func() { refused <- attempt(l) }()
	select {
	case err := <-refused:
		require.ErrorIs(t, err, policyredis.ErrStore)
	case <-time.After(10 * time.Second):
		t.Error("it waits for longer than its deadline")
	}
	require.NoError(t, client.Close())
	require.NoError(t, l.Drain(t.Context()))
}

// Who does not keep to the deadline is trusted once.
func TestUR5_ATrustThatIsAbused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleeps := fake(func(context.Context, []any) (any, error) {
			time.Sleep(5 * time.Second)
			return int64(0), nil
		})
		l := policyredis.New(sleeps, "abused", hourly, 5, policyredis.FailClosed(), policyredis.TrustClient())
		began := time.Now()
		require.NoError(t, attempt(l))
		require.Equal(t, 5*time.Second, time.Since(began))
		require.False(t, l.Snapshot().Trusted)
		began = time.Now()
		require.ErrorIs(t, attempt(l), policyredis.ErrStore)
		require.Equal(t, 50*time.Millisecond, time.Since(began))
		require.NoError(t, l.Drain(t.Context()))
	})
}

// A client is trusted as it is only if it is one of go-redis, for a single server, and set to keep to deadlines.
func TestUR5_WhichClientsAreTrusted(t *testing.T) {
	trusts := func(l *policyredis.Limiter) bool { return l.Snapshot().Trusted }
	for _, keeps := range []bool{true, false} {
		single := redis.NewClient(&redis.Options{ContextTimeoutEnabled: keeps})
		require.Equal(t, keeps, trusts(policyredis.New(single, "key", 1, 1)))
		require.Equal(t, keeps, trusts(policyredis.New[*redis.Cmd](redis.UniversalClient(single), "key", 1, 1)))
		require.NoError(t, single.Close())
		sentinel := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"127.0.0.1:1"}, ContextTimeoutEnabled: keeps})
		require.Equal(t, keeps, trusts(policyredis.New(sentinel, "key", 1, 1)))
		require.NoError(t, sentinel.Close())
		many := redis.NewClusterClient(&redis.ClusterOptions{ContextTimeoutEnabled: keeps})
		require.False(t, trusts(policyredis.New(many, "key", 1, 1)))
		require.NoError(t, many.Close())
	}
	for _, test := range []struct {
		options redis.Options
		trusted bool
	}{
		{redis.Options{ReadTimeout: time.Second, WriteTimeout: time.Second}, true},
		{redis.Options{ReadTimeout: -1, WriteTimeout: -1}, true}, // no timeouts of its own
		{redis.Options{ReadTimeout: -2, WriteTimeout: -1}, false},
		{redis.Options{ReadTimeout: -1, WriteTimeout: -2}, false},
		{redis.Options{CredentialsProvider: func() (string, string) { return "", "" }}, false},
		{redis.Options{StreamingCredentialsProvider: streaming{}}, false},
	} {
		test.options.ContextTimeoutEnabled = true
		single := redis.NewClient(&test.options)
		require.Equal(t, test.trusted, trusts(policyredis.New(single, "key", 1, 1)), single)
		require.NoError(t, single.Close())
	}
	require.False(t, trusts(policyredis.New(fake(nil), "key", 1, 1)))
	require.False(t, trusts(policyredis.New(withOptions[int]{}, "key", 1, 1)))
	require.False(t, trusts(policyredis.New(withOptions[*redis.Options]{}, "key", 1, 1)), "nil")
	require.False(t, trusts(policyredis.New(withOptions[func()]{}, "key", 1, 1)))
	require.False(t, trusts(policyredis.New(panicking{}, "key", 1, 1)))
	require.True(t, trusts(policyredis.New(fake(nil), "key", 1, 1, policyredis.TrustClient())))
}

// streaming is asked for credentials without a context.
type streaming struct {
	auth.StreamingCredentialsProvider
}

// withOptions is a client with a method of the same name that means something else.
type withOptions[T any] struct{ fake }

func (withOptions[T]) Options() (options T) { return options }

type panicking struct{ fake }

func (panicking) Options() *redis.Options { panic("not now") }

// What a server says that is there, and takes no more clients, is no answer about a key: the breaker counts it.
func TestUR5_AServerThatIsFull(t *testing.T) {
	for says, calls := range map[string]uint64{
		"ERR max number of clients reached":           3,
		"NOAUTH Authentication required.":             3,
		"CLUSTERDOWN Hash slot not served":            3,
		"MOVED 3999 127.0.0.1:6381":                   3,
		"ERROR in the client":                         3,
		"WRONGTYPE Operation against a key":           10,
		"TRYAGAIN Multiple keys request":              10,
		"NOPERM this user has no permissions":         10,
		"ERR unknown command 'EVALSHA', with args":    10,
		"ERR policyredis: the key holds":              10,
		"ERR user_script:8: OOM command not allowed ": 3,
	} {
		l := policyredis.New(answers(nil, errors.New(says)), "full", hourly, 5, patient())
		admitted(l, 10)
		require.Equal(t, calls, l.Snapshot().Calls, says)
	}
}

// A client may wrap the server's error, in whatever way.
func TestFault214_AnErrorThatIsWrapped(t *testing.T) {
	noScript := errors.New("NOSCRIPT No matching script")
	for _, wrapped := range []error{
		noScript, fmt.Errorf("client: %w", noScript), errors.Join(errDown, noScript), fmt.Errorf("%w: %w", errDown, noScript),
	} {
		first := true
		client := fake(func(context.Context, []any) (any, error) {
			if first {
				first = false
				return nil, wrapped
			}
			return int64(0), nil
		})
		l := policyredis.New(client, "wrapped", hourly, 5, policyredis.FailClosed(), patient())
		require.NoError(t, attempt(l), wrapped)
		require.EqualValues(t, 1, l.Snapshot().Texts)
	}
}

// At the bounds of a configuration the local bucket is neither bottomless nor closed.
func TestTheLocalBucketDoesNotOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, dear := range []int{1, 1000, 1_000_000} {
			l := policyredis.New(answers(nil, errDown), "bounds", 1_000_000.0/(49*24*3600), 1_000_000, policyredis.FailLocal(1_000_000), costing())
			require.NoError(t, attemptIn(withCost(dear), l))
			for range 10 {
				require.ErrorIs(t, attemptIn(withCost(dear), l), ratelimit.ErrLimited)
			}
			permit, err := policy.Acquire(withCost(0), l)
			require.NoError(t, err)
			permit.Settle(policy.Outcome{Kind: policy.NotCalled})
			require.ErrorIs(t, attemptIn(withCost(1), l), ratelimit.ErrLimited)
		}
		shared := policyredis.New(fake(scriptInGo()), "bounds", 1_000_000.0/(49*24*3600), 1_000_000, policyredis.FailLocal(1_000_000), costing())
		require.NoError(t, attemptIn(withCost(999_999), shared))
		require.Equal(t, 1, admitted(shared, 5))
	})
}

// Lots of other processes that go back are no loss, also when nobody has said how many processes there are.
func TestFault228_LotsThatGoBackAreNoLoss(t *testing.T) {
	for _, option := range []policyredis.Option{policyredis.FailClosed(), policyredis.FailOpen(), policyredis.FailLocal(10)} {
		synctest.Test(t, func(t *testing.T) {
			server := fake(scriptInGo())
			var limiters []*policyredis.Limiter
			for range 10 {
				l := policyredis.New(server, "lots", hourly, 500, policyredis.Lots(20, time.Second), option)
				require.NoError(t, attempt(l))
				limiters = append(limiters, l)
			}
			for _, l := range limiters {
				require.NoError(t, l.Drain(t.Context()))
			}
			for _, l := range limiters {
				_, err := l.Peek(t.Context())
				require.NoError(t, err)
				require.Zero(t, l.Snapshot().Forgotten)
			}
		})
	}
}

// An error that no key escapes is the mode of all of them.
func TestUR5_AnErrorThatIsNotAboutAKey(t *testing.T) {
	for says, mode := range map[string]policyredis.Mode{
		"NOPERM this user has no permissions to run the 'evalsha' command":                          policyredis.Local,
		"ERR unknown command 'EVALSHA', with args":                                                  policyredis.Local,
		"ERR upstream failure":                                                                      policyredis.Local,
		"WRONGTYPE Operation against a key":                                                         policyredis.Shared,
		"TRYAGAIN Multiple keys request during rehashing of slot":                                   policyredis.Shared,
		"ERR policyredis: the key holds something else":                                             policyredis.Shared,
		"ERR Error running script (call to f_1): @user_script:8: WRONGTYPE Operation against a key": policyredis.Shared,
		"the client: WRONGTYPE Operation against a key":                                             policyredis.Shared,
	} {
		p := policyredis.NewPerKey(answers(nil, errors.New(says)), hourly, 5, tenantOf, patient())
		for i := range 5 {
			require.NoError(t, p.Allow(t.Context(), string(rune('a'+i)), 1))
		}
		require.Equal(t, mode, p.Snapshot().Mode, says)
		require.EqualValues(t, 5, p.Snapshot().Calls, "the breaker stays closed")
	}
}

// An outage costs two bursts at most: as it begins, the shares of the processes that were idle; as it ends, what has come in
// meanwhile. This is nearly the worst case.
func TestFault213_AnOutageCostsTwoBursts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const processes, perSecond, burst, probe = 4, 100, 40, 10 * time.Millisecond
		var server downing
		client := server.client()
		var all []*policyredis.Limiter
		for range processes {
			all = append(all, policyredis.New(client, "outage", perSecond, burst, policyredis.FailLocal(processes),
				policyredis.Probe(probe)))
		}
		yes := 0
		everybody := func() {
			for _, l := range all {
				yes += admitted(l, 2*burst)
			}
		}
		began := time.Now()
		yes += admitted(all[0], 2*burst)
		server.down = true
		everybody()
		time.Sleep(burst * time.Second / perSecond)
		everybody()
		server.down = false
		time.Sleep(2 * probe)
		everybody()
		limit := burst + perSecond*time.Since(began).Seconds()
		require.LessOrEqual(t, float64(yes), limit+2*burst)
		require.Greater(t, float64(yes), limit+1.5*burst)
		require.Equal(t, policyredis.Shared, all[0].Snapshot().Mode)
	})
}
