package policyredis_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/adapters/policyredis"
	"github.com/go-resilience/resilience/internal/testsize"
)

// bucketModel is the generic cell rate algorithm as the recommendation words it: a theoretical arrival time, in integers.
type bucketModel struct{ arrival int64 }

// ask returns the debt before it takes anything, or the wait as a negative number.
func (m *bucketModel) ask(now, capacity, least, most, unit int64) int64 {
	debt := max(0, m.arrival-now)
	if late := debt + least - capacity; least > 0 && late > 0 {
		return -late
	}
	if most != 0 {
		taken := most
		if room := (capacity - debt) / unit * unit; most > room {
			taken = max(least, room)
		}
		m.arrival = now + max(0, debt+taken)
	}
	return debt
}

// scriptInGo returns what a server does that has the script and one key, by the clock of the process: for tests in virtual
// time.
func scriptInGo() func(context.Context, []any) (any, error) {
	var mu sync.Mutex
	var m bucketModel
	began := time.Now()
	return func(_ context.Context, args []any) (any, error) {
		n := make([]int64, len(args))
		for i, arg := range args {
			n[i], _ = strconv.ParseInt(arg.(string), 10, 64)
		}
		mu.Lock()
		defer mu.Unlock()
		return m.ask(int64(time.Since(began)), n[0], n[1], n[2], n[3]), nil
	}
}

// TestScriptIsTheModel: whatever is asked and whenever, the script in Lua answers as the model does.
func TestScriptIsTheModel(t *testing.T) {
	v := newVirtual(t)
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		key := fmt.Sprintf("model:{%d}", run)
		unit := rapid.Int64Range(1000, 5_000_000_000).Draw(t, "unit")
		bursts := rapid.SliceOfN(rapid.Int64Range(1, 50), 1, 2).Draw(t, "bursts")
		var m bucketModel
		start := v.now
		for range rapid.IntRange(1, testsize.Pick(12, 50)).Draw(t, "steps") {
			burst := rapid.SampledFrom(bursts).Draw(t, "burst") // processes may disagree
			v.advance(time.Duration(rapid.Int64Range(0, max(1, unit*burst/3000)).Draw(t, "µs")) * time.Microsecond)
			least := rapid.Int64Range(-2, burst).Draw(t, "cost") * unit
			most := least
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				most = 0
			case 1:
				if least > 0 {
					most += rapid.Int64Range(0, burst).Draw(t, "lot") * unit
				}
			case 2: // a part of it was given back before
				if least > 0 {
					least -= rapid.Int64Range(0, unit-1).Draw(t, "found")
					most = least
				}
			}
			got, err := v.client.Eval(context.Background(), policyredis.Script, []string{key}, burst*unit, least, most, unit).Int64()
			if err != nil {
				t.Fatal(err)
			}
			want := m.ask(int64(v.now.Sub(start)), burst*unit, least, most, unit)
			if got != want {
				t.Fatalf("the script says %d, the model %d", got, want)
			}
		}
	})
}

// TestFault221_EverythingFitsADouble: at the bounds of what can be configured every nanosecond counts.
func TestFault221_EverythingFitsADouble(t *testing.T) {
	v := newVirtual(t)
	longest := int64(policyredis.MaxRefill)
	ask := func(least, most, unit int64) int64 {
		n, err := v.client.Eval(t.Context(), policyredis.Script, []string{"double"}, longest, least, most, unit).Int64()
		require.NoError(t, err)
		return n
	}
	require.EqualValues(t, 0, ask(longest-1, longest-1, 1))
	require.Equal(t, longest-1, ask(1, 0, 1), "a nanosecond of 50 days is free")
	require.EqualValues(t, -1, ask(2, 2, 1), "and two are not")
	require.EqualValues(t, -(longest - 1), ask(longest, longest, 1))
	v.advance(time.Microsecond)
	require.Equal(t, longest-1001, ask(1, 0, 1))
	stored, err := v.Get("double")
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("1800000000 0 %d", longest-1), stored, "integers, and no exponent")

	for _, perSecond := range []float64{1e6, 1.0 / (50 * 24 * 3600)} {
		require.NoError(t, policyredis.Validate(perSecond, 1))
	}
	for perSecond, burst := range map[float64]int{1e6 + 1: 1, 0: 1, -1: 1, 1.0 / (51 * 24 * 3600): 1, 1: 50*24*3600 + 1} {
		require.Error(t, policyredis.Validate(perSecond, burst), "%v, %d", perSecond, burst)
	}
}

// TestFault216_ClocksOfProcessesDoNotMatter: only the server's clock does. One that goes back, as on the replica that becomes
// the master, neither mints tokens nor stops the limit for as long as it went back; one that goes ahead fills the bucket once.
func TestFault216_ClocksOfProcessesDoNotMatter(t *testing.T) {
	v := newVirtual(t) // whose clock is years ahead of this process's
	l := policyredis.New(v.client, "skew", 10, 5, patient())
	require.Equal(t, 5, admitted(l, 9))
	v.advance(-time.Hour)
	require.Zero(t, admitted(l, 9), "an hour back: nothing is minted")
	v.advance(100 * time.Millisecond)
	require.Equal(t, 1, admitted(l, 9), "and the bucket fills from then on")
	v.advance(time.Hour)
	require.Equal(t, 5, admitted(l, 9), "an hour ahead: a full bucket, and no more")
}

func TestFault217_EachKeyExpiresWithItsDebt(t *testing.T) {
	t.Parallel()
	client := newClient(t, startServer(t).addr())
	for _, perSecond := range []float64{0.5, 30, 1000} {
		l := drained(t, policyredis.New(client, fmt.Sprint(perSecond), perSecond, 4, patient(), costing()))
		key := fmt.Sprintf("ratelimit:{%v}", perSecond)
		for _, cost := range []int{1, 3} {
			asked := time.Now()
			require.NoError(t, attemptIn(withCost(cost), l))
			ttl := client.PTTL(t.Context(), key).Val()
			period := time.Duration(float64(time.Second) / perSecond)
			require.LessOrEqual(t, ttl, 4*period+2*time.Millisecond, "set with the value")
			if perSecond == 0.5 {
				require.Greater(t, ttl+time.Since(asked), time.Duration(cost)*period-time.Millisecond, "and not before the debt is paid")
			}
		}
		eventually(t, "the key of a full bucket goes", func() bool {
			return perSecond == 0.5 || client.Exists(t.Context(), key).Val() == 0
		})
	}
	// The expiry of a key is counted in milliseconds; it never comes before the debt is paid.
	v := newVirtual(t)
	l := policyredis.New(v.client, "middle", 1000, 5, patient())
	for i := range 50 {
		v.advance(time.Duration(i) * 37 * time.Microsecond)
		_ = attempt(l)
		level, err := l.Peek(t.Context())
		require.NoError(t, err)
		if level.Full > 0 {
			require.Greater(t, v.TTL("ratelimit:{middle}"), level.Full)
		}
	}
}

// TestFault221_TheServersNumbersAreExact: a real server reckons in its own Lua, to the nanosecond, also with the longest
// bucket.
func TestFault221_TheServersNumbersAreExact(t *testing.T) {
	t.Parallel()
	client := newClient(t, startServer(t).addr())
	for _, unit := range []int64{1000, 1_000_001, int64(policyredis.MaxRefill) / 7} {
		key := fmt.Sprint(unit)
		var second, micro, debt int64 // as they were written last
		for i := range int64(60) {
			amount := unit/9*i%(2*unit) + 1
			answer, err := client.Eval(t.Context(), policyredis.Script, []string{key}, 7*unit, amount, amount, unit).Int64()
			require.NoError(t, err)
			stored, err := client.Get(t.Context(), key).Result()
			if err != nil { // it is full again
				require.ErrorIs(t, err, redis.Nil)
				debt = 0
				continue
			}
			if answer < 0 {
				continue
			}
			var s, u, d int64
			_, err = fmt.Sscanf(stored, "%d %d %d", &s, &u, &d)
			require.NoError(t, err, stored)
			require.Equal(t, max(0, debt-(s-second)*1_000_000_000-(u-micro)*1000), answer)
			require.Equal(t, answer+amount, d)
			second, micro, debt = s, u, d
		}
	}
}
