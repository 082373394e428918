package keyed_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/keyed"
)

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func TestFault187_RandomKeysStayWithinTheCap(t *testing.T) {
	keys := testsize.Pick(60_000, 1_000_000)
	const cap = 10_000
	before := heap()
	r := keyed.New(newSlots(1), keyed.Max(cap))
	random := rand.New(rand.NewPCG(1, 2))
	most := uint64(0)
	for i := range keys {
		r.Get(fmt.Sprintf("%032x", random.Uint64()))
		if i%(keys/20) == 0 {
			require.LessOrEqual(t, r.Len(), cap)
			most = max(most, heap()-before)
		}
	}
	snapshot := r.Snapshot()
	require.Equal(t, keyed.Snapshot{Live: cap, Max: cap, Made: uint64(keys), Evicted: uint64(keys - cap)}, snapshot)
	runtime.KeepAlive(r)

	// The registry stands on a sync.Map: beyond what one with the same keys and values takes, a key may cost what the
	// registry notes about it, in one allocation: eight words, and as many for how unevenly the map branches.
	before = heap()
	var bare sync.Map
	newSlot := newSlots(1)
	for range cap {
		key := fmt.Sprintf("%032x", random.Uint64())
		bare.Store(key, newSlot(key))
	}
	needed := heap() - before
	runtime.KeepAlive(&bare)
	t.Logf("at most %d bytes of heap, %d per key; a sync.Map alone has %d per key", most, most/cap, needed/cap)
	require.Less(t, most, needed+cap*2*8*8, "bytes")
}

// The cap holds at every moment, whatever happens at once.
func TestFault187_TheCapHoldsUnderConcurrency(t *testing.T) {
	for _, cap := range []int{1, 50, 300} {
		r := keyed.New(newSlots(1), keyed.Max(cap), keyed.Idle(time.Microsecond))
		var all sync.WaitGroup
		stop := make(chan struct{})
		var observer sync.WaitGroup
		observer.Go(func() {
			for {
				if s := r.Snapshot(); s.Live > cap || s.Live < 0 || uint64(s.Live) != s.Made-s.Evicted-s.Expired-s.Deleted {
					t.Errorf("%+v", s)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
		for g := range 8 {
			all.Go(func() {
				random := rand.New(rand.NewPCG(1, uint64(g)))
				for range testsize.Pick(1500, 5000) {
					key := numbered(random.IntN(cap * 2))
					switch random.IntN(20) {
					case 0:
						r.Delete(key)
					case 1:
						for range r.All() {
							break
						}
					default:
						value := r.Get(key)
						if value.key != key && value != r.Overflow() {
							t.Errorf("asked for %q, got %q", key, value.key)
						}
					}
				}
			})
		}
		all.Wait()
		close(stop)
		observer.Wait()
		// Every place that was taken was given back: a full registry can be filled again.
		for key := range r.All() {
			r.Delete(key)
		}
		require.Zero(t, r.Len())
		busy := make(map[*slots]bool)
		for i := range cap {
			value := r.Get(numbered(i))
			value.down.Store(true)
			busy[value] = true
		}
		require.Len(t, busy, cap)
		require.NotContains(t, busy, r.Overflow())
		require.Same(t, r.Overflow(), r.Get("one more"))
	}
}

func TestFault188_AFloodOfNewKeysEvictsNothingThatIsNeeded(t *testing.T) {
	for _, cap := range []int{64, 1000} {
		t.Run(fmt.Sprint(cap), func(t *testing.T) {
			r := keyed.New(newSlots(1), keyed.Max(cap))
			needed := make(map[string]*slots)
			for i := range cap / 2 {
				value := r.Get(numbered(i))
				if i%2 == 0 {
					value.down.Store(true)
				} else {
					_, _, err := value.Admit(t.Context())
					require.NoError(t, err)
				}
				needed[numbered(i)] = value
			}
			for i := range 50 * cap {
				r.Get(fmt.Sprintf("attack-%d", i))
			}
			for key, value := range needed {
				require.Same(t, value, r.Get(key))
			}
			require.LessOrEqual(t, r.Len(), cap)
			require.NotZero(t, r.Snapshot().Evicted)
		})
	}
}

// When no value is idle, new keys share the overflow value, those that are there do not notice, and new keys get places
// as soon as there are any.
func TestFault188_WhenAllAreNeededNewKeysAreRefused(t *testing.T) {
	const cap = 500
	r := keyed.New(newSlots(1), keyed.Max(cap))
	values := make([]*slots, cap)
	for i := range values {
		values[i] = r.Get(numbered(i))
		values[i].down.Store(true)
	}
	for i := range 1000 {
		require.Same(t, r.Overflow(), r.Get(fmt.Sprintf("new-%d", i)))
	}
	for i := range values {
		require.Same(t, values[i], r.Get(numbered(i)))
	}
	require.Equal(t, keyed.Snapshot{Live: cap, Max: cap, Made: cap, Overflowed: 1000}, r.Snapshot())

	for _, value := range values {
		value.down.Store(false)
	}
	require.NotSame(t, r.Overflow(), r.Get("new"))
	require.EqualValues(t, 1, r.Snapshot().Evicted)
}

// A key that is in use is not evicted as long as there is one that is not.
func TestTheLeastUsedGoFirst(t *testing.T) {
	const cap, hot = 1000, 200
	r := keyed.New(newSlots(1), keyed.Max(cap))
	first := make([]*slots, hot)
	for i := range first {
		first[i] = r.Get(numbered(i))
	}
	lost := 0
	for i := range 20 * cap {
		r.Get(fmt.Sprintf("once-%d", i))
		if now := r.Get(numbered(i % hot)); now != first[i%hot] {
			lost++
			first[i%hot] = now
		}
	}
	require.Less(t, lost, 20*cap/200)
	require.EqualValues(t, cap, r.Len())
}

// A new key looks at a bounded number of others, however many there are.
func TestFault189_TheSearchForAPlaceIsBounded(t *testing.T) {
	most := make(map[int]int64)
	for _, cap := range []int{100, 1000, testsize.Pick(4000, 20_000)} {
		r := keyed.New(newSlots(1), keyed.Max(cap))
		for i := range cap {
			r.Get(numbered(i)).down.Store(true)
		}
		asked := func() (sum int64) {
			for _, value := range r.All() {
				sum += value.asked.Load()
			}
			return sum
		}
		for i := range 20 {
			before := asked()
			r.Get(fmt.Sprintf("new-%d", i))
			most[cap] = max(most[cap], asked()-before)
		}
	}
	for cap, looks := range most {
		require.LessOrEqual(t, looks, int64(128), "cap %d", cap)
		require.NotZero(t, looks)
	}
}

func TestFault189_SweepingIsBoundedAndFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys = 20_000
		r := keyed.New(newSlots(1), keyed.Max(keys), keyed.Idle(time.Hour))
		for i := range keys {
			r.Get(numbered(i))
		}
		time.Sleep(24 * time.Hour)
		before := r.Snapshot()
		r.Get(numbered(0))
		after := r.Snapshot()
		require.LessOrEqual(t, after.Expired-before.Expired, uint64(32), "one use does a part of the work")
		for range 100 {
			r.Get(numbered(0))
		}
		require.Equal(t, after, r.Snapshot(), "not all uses do")
	})
}

func TestUnusedKeysExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys = 5000
		const idle = time.Hour
		r := keyed.New(newSlots(1), keyed.Idle(idle))
		values := make([]*slots, keys)
		for i := range values {
			values[i] = r.Get(numbered(i))
		}
		values[1].down.Store(true)
		use := func(d time.Duration) {
			for range d / time.Second {
				time.Sleep(time.Second)
				require.Same(t, values[0], r.Get(numbered(0)))
			}
		}
		use(idle - time.Second)
		require.Zero(t, r.Snapshot().Expired, "not before its time")
		use(idle)
		require.Equal(t, keyed.Snapshot{Live: 2, Max: 10_000, Made: keys, Expired: keys - 2}, r.Snapshot(), "all but the used and the needed one")
		values[1].down.Store(false)
		use(idle)
		require.Equal(t, 1, r.Len())
		for i := range values[:1000] {
			r.Get(numbered(i)) // there is room again
		}
		require.Equal(t, 1000, r.Len())
	})
}

// Reading time is what Idle costs; without it no clock is asked, so nothing can depend on time.
func TestWithoutIdleNothingExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := keyed.New(newSlots(1))
		a := r.Get("a")
		time.Sleep(1000 * time.Hour)
		for i := range 1000 {
			r.Get(numbered(i))
		}
		require.Same(t, a, r.Get("a"))
	})
}

// moody panics when it is asked whether it is idle.
type moody struct{ angry *bool }

func (m moody) Idle() bool {
	if *m.angry {
		panic(errors.New("angry"))
	}
	return true
}

func TestAnIdleThatPanicsWedgesNothing(t *testing.T) {
	angry := true
	r := keyed.New(func(string) moody { return moody{&angry} }, keyed.Max(1))
	r.Get("a")
	for range 3 {
		require.PanicsWithError(t, "angry", func() { r.Get("b") })
		r.Get("a")
	}
	angry = false
	r.Get("b")
	require.Equal(t, keyed.Snapshot{Live: 1, Max: 1, Made: 2, Evicted: 1}, r.Snapshot())
}

func TestFault191_HostileKeys(t *testing.T) {
	r := keyed.New(newSlots(1))
	huge := strings.Repeat("A", 1<<20)
	hostile := []string{"", "\x00", "a\x00b", "\r\nX-Evil: 1", "{}", "%s%n%d", "\xff\xfe\xfd", "\xc3\x28", "\u202e", "../../etc/passwd", "'; DROP TABLE", strings.Repeat("\x00", 256)}
	for _, key := range hostile {
		require.Equal(t, key, r.Get(key).key)
	}
	require.Equal(t, len(hostile), r.Len(), "all are different keys")
	require.Same(t, r.Overflow(), r.Get(huge))
	require.Same(t, r.Overflow(), r.Get(strings.Repeat("A", 257)))
	require.EqualValues(t, 2, r.Snapshot().TooLong)
	require.Equal(t, len(hostile), r.Len())
	require.Equal(t, "keyed 12/10000", r.String())
}

// A short key that was cut out of something long does not keep it.
func TestFault191_KeysHoldNoMoreThanTheirBytes(t *testing.T) {
	type tenant struct {
		name  string
		shard int
	}
	const keys = 500
	before := heap()
	names := keyed.New(func(string) int { return 0 }, always[int]())
	tenants := keyed.New(func(tenant) int { return 0 }, always[int]())
	for i := range keys {
		request := fmt.Sprintf("%08d", i) + strings.Repeat("x", 1<<18)
		names.Get(request[:8])
		tenants.Get(tenant{request[:8], 1})
	}
	require.Less(t, int64(heap())-int64(before), int64(2<<20))
	require.Equal(t, keys, names.Len())
	require.Equal(t, keys, tenants.Len())
	runtime.KeepAlive(names)
	runtime.KeepAlive(tenants)
}

func FuzzKeys(f *testing.F) {
	for _, key := range []string{"", "a", "\x00", "\r\n", "\xff", "{}", strings.Repeat("x", 256), strings.Repeat("x", 257)} {
		f.Add(key, "b")
	}
	r := keyed.New(newSlots(1), keyed.Max(100))
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, key := range []string{a, b, a + b} {
			value := r.Get(key)
			switch {
			case len(key) > 256:
				require.Same(t, r.Overflow(), value)
			default:
				require.Equal(t, key, value.key)
				require.Same(t, value, r.Get(key))
			}
		}
		require.LessOrEqual(t, r.Len(), 100)
		r.Get(a) // it may have lost its place to b, or to both together
		require.Equal(t, len(a) <= 256, r.Delete(a))
		require.False(t, r.Delete(a))
	})
}
