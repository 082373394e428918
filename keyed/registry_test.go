package keyed_test

import (
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/throttle"
)

func TestGetMakesOnce(t *testing.T) {
	var made []string
	r := keyed.New(func(key string) *slots {
		made = append(made, key)
		return newSlots(1)(key)
	})
	require.Equal(t, []string{""}, made, "the overflow value")
	a, b, zero := r.Get("a"), r.Get("b"), r.Get("")
	require.Equal(t, []string{"", "a", "b", ""}, made)
	require.Same(t, a, r.Get("a"))
	require.Same(t, b, r.Get("b"))
	require.Same(t, zero, r.Get(""))
	require.NotSame(t, a, b)
	require.NotSame(t, zero, r.Overflow(), "the zero key has a value of its own")
	require.Equal(t, 3, r.Len())
	require.Equal(t, "keyed 3/10000", r.String())
	require.Equal(t, keyed.Snapshot{Live: 3, Max: 10_000, Made: 3}, r.Snapshot())
}

func TestConcurrentGetsMakeOneValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		r := keyed.New(func(key string) *slots {
			if key != "" {
				calls.Add(1)
				time.Sleep(time.Second) // all others come meanwhile
			}
			return newSlots(1)(key)
		})
		start := time.Now()
		values := make([]*slots, 64)
		var all sync.WaitGroup
		for i := range values {
			all.Go(func() { values[i] = r.Get("a") })
		}
		all.Wait()
		for _, value := range values {
			require.Same(t, values[0], value)
		}
		require.EqualValues(t, 1, calls.Load())
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestMakingDoesNotHoldUpOtherKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := keyed.New(func(key string) *slots {
			if key == "slow" {
				time.Sleep(time.Hour)
			}
			return newSlots(1)(key)
		}, keyed.Max(64)) // one shard: the keys share their lock
		var slow sync.WaitGroup
		slow.Go(func() { r.Get("slow") })
		synctest.Wait()
		start := time.Now()
		for i := range 63 {
			r.Get(numbered(i))
		}
		require.Zero(t, time.Since(start))
		require.False(t, r.Delete("slow"), "it is not there yet")
		require.Equal(t, 63, r.Len())
		slow.Wait()
		require.Equal(t, 64, r.Len())
		require.True(t, r.Delete("slow"))
	})
}

func TestMakeMayUseTheRegistry(t *testing.T) {
	var r *keyed.Registry[string, *slots]
	r = keyed.New(func(key string) *slots {
		if key == "child" {
			r.Get("parent")
		}
		return newSlots(1)(key)
	})
	r.Get("child")
	require.Equal(t, 2, r.Len())
}

func TestFault059_AMakeThatPanicsOrExitsWedgesNothing(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("boom") }, "exit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				failing := true
				calls := 0
				r := keyed.New(func(key string) *slots {
					if key == "a" {
						calls++
						time.Sleep(time.Second)
						if failing {
							end()
						}
					}
					return newSlots(1)(key)
				}, keyed.Max(1))
				var all sync.WaitGroup
				var ended atomic.Int64
				for range 5 {
					all.Go(func() {
						defer func() {
							if got := recover(); got != "boom" && name == "panic" {
								t.Errorf("recovered %v", got)
							}
							ended.Add(1)
						}()
						r.Get("a")
						t.Error("returned")
					})
				}
				all.Wait()
				require.EqualValues(t, 5, ended.Load())
				require.Equal(t, 5, calls, "each tries once")
				require.Equal(t, keyed.Snapshot{Max: 1}, r.Snapshot())
				failing = false
				require.Equal(t, "a", r.Get("a").key, "the only place was given back")
			})
		})
	}
}

func TestConfiguration(t *testing.T) {
	cases := []struct {
		option keyed.Option
		want   string
	}{
		{nil, "keyed: option 1 is nil"},
		{keyed.Max(0), "keyed: Max(0): must be from 1 to 1073741824"},
		{keyed.Max(-1), "keyed: Max(-1): must be from 1 to 1073741824"},
		{keyed.Max(math.MaxInt), fmt.Sprintf("keyed: Max(%d): must be from 1 to 1073741824", math.MaxInt)},
		{keyed.Idle(0), "keyed: Idle(0s): must be positive; without Idle keys stay until their place is needed"},
		{keyed.Idle(-time.Second), "keyed: Idle(-1s): must be positive; without Idle keys stay until their place is needed"},
		{keyed.MaxKeyLength(0), "keyed: MaxKeyLength(0): must be at least 1"},
		{keyed.MaxKeyLength(-5), "keyed: MaxKeyLength(-5): must be at least 1"},
	}
	for _, c := range cases {
		require.EqualError(t, keyed.Validate(newSlots(1), c.option), c.want)
		require.PanicsWithError(t, c.want, func() { keyed.New(newSlots(1), c.option) })
	}
	require.PanicsWithError(t, "keyed: make is nil", func() { keyed.New[string, int](nil, always[int]()) })
	require.EqualError(t, keyed.Validate[string, int](nil, keyed.Max(0), always[int]()), "keyed: Max(0): must be from 1 to 1073741824; make is nil")
	require.PanicsWithError(t, "keyed: make returned nil for the zero key", func() { keyed.New(func(string) *slots { return nil }) })
	require.PanicsWithError(t, "keyed: make returned nil for the zero key", func() { keyed.New(func(string) fmt.Stringer { return nil }, always[fmt.Stringer]()) })
	require.PanicsWithError(t, "keyed: make returned nil for the zero key", func() { keyed.New(func(string) fmt.Stringer { return (*slots)(nil) }, always[fmt.Stringer]()) })
	for _, option := range []keyed.Option{keyed.Max(1), keyed.Max(1 << 30), keyed.Idle(1), keyed.Idle(math.MaxInt64), keyed.MaxKeyLength(1), keyed.MaxKeyLength(math.MaxInt)} {
		r := keyed.New(newSlots(1), option)
		for range 3 {
			require.Equal(t, "a", r.Get("a").key)
		}
	}
	nilForA := keyed.New(func(key string) *slots {
		if key == "a" {
			return nil
		}
		return newSlots(1)(key)
	})
	require.PanicsWithValue(t, "keyed: make returned a nil *keyed_test.slots", func() { nilForA.Get("a") })
	require.Zero(t, nilForA.Len())
}

func TestKeyTypes(t *testing.T) {
	type host string
	type point struct {
		tenant string
		shard  int
		more   [2]struct{ zone host }
	}
	require.ErrorContains(t, keyed.Validate(func(float64) int { return 0 }, always[int]()), "key type float64: contains a floating-point number: NaN is never found again")
	require.ErrorContains(t, keyed.Validate(func(complex64) int { return 0 }, always[int]()), "contains a floating-point number")
	require.ErrorContains(t, keyed.Validate(func(any) int { return 0 }, always[int]()), "key type interface {}: contains an interface: its values may not be comparable")
	require.ErrorContains(t, keyed.Validate(func([1]error) int { return 0 }, always[int]()), "key type [1]error: contains an interface")
	require.ErrorContains(t, keyed.Validate(func(struct{ x, y float32 }) int { return 0 }, always[int]()), "contains a floating-point number")

	hosts := keyed.New(func(h host) *host { return &h }, keyed.MaxKeyLength(10), always[*host]())
	require.Equal(t, host("0123456789"), *hosts.Get("0123456789"))
	require.Same(t, hosts.Overflow(), hosts.Get("0123456789a"))

	points := keyed.New(func(p point) *point { return &p }, keyed.MaxKeyLength(10), always[*point]())
	key := point{tenant: "01234", shard: 5, more: [2]struct{ zone host }{{"56"}, {"789"}}}
	require.Equal(t, key, *points.Get(key))
	require.Same(t, points.Get(key), points.Get(key))
	key.more[1].zone += "a"
	require.Same(t, points.Overflow(), points.Get(key), "the strings together are too long")

	addresses := keyed.New(func(a netip.Addr) *netip.Addr { return &a }, always[*netip.Addr]())
	a, b := netip.MustParseAddr("2001:db8::1%eth0"), netip.MustParseAddr("2001:db8::2")
	require.Equal(t, a, *addresses.Get(a))
	require.NotSame(t, addresses.Get(a), addresses.Get(b))
	require.Same(t, addresses.Get(a), addresses.Get(netip.MustParseAddr("2001:db8::1%eth0")))
}

func TestDelete(t *testing.T) {
	r := keyed.New(newSlots(1), keyed.Max(2))
	a := r.Get("a")
	a.down.Store(true)
	require.False(t, r.Delete("b"))
	require.False(t, r.Delete(strings.Repeat("x", 1000)))
	require.True(t, r.Delete("a"), "whatever state it is in")
	require.False(t, r.Delete("a"))
	require.NotSame(t, a, r.Get("a"))
	r.Get("b")
	require.Equal(t, keyed.Snapshot{Live: 2, Max: 2, Made: 3, Deleted: 1}, r.Snapshot())
}

func TestAll(t *testing.T) {
	r := keyed.New(newSlots(1))
	want := make(map[string]*slots)
	for i := range 1000 {
		want[numbered(i)] = r.Get(numbered(i))
	}
	got := make(map[string]*slots)
	for key, value := range r.All() {
		require.NotContains(t, got, key)
		got[key] = value
		r.Get(key + "!") // the loop may use the registry
		r.Delete(key)
	}
	for key, value := range want {
		require.Same(t, value, got[key])
	}
	for range r.All() {
		break
	}
	require.NotZero(t, r.Len())
}

func TestFault046_OptionsAreReadOnce(t *testing.T) {
	opts := []keyed.Option{keyed.Max(5)}
	first := keyed.New(newSlots(1), opts...)
	opts[0] = keyed.Max(7)
	second := keyed.New(newSlots(1), opts...)
	require.Equal(t, 5, first.Snapshot().Max)
	require.Equal(t, 7, second.Snapshot().Max)
	first.Get("a")
	require.Zero(t, second.Len())
}

func TestFault051_NoGoroutinePerInstance(t *testing.T) {
	instances := testsize.Pick(20_000, 100_000)
	before := runtime.NumGoroutine()
	var collected sync.WaitGroup
	func() {
		r := keyed.New(func(string) *throttle.Throttle { return throttle.New(throttle.Window(time.Second, 2)) }, keyed.Max(instances), keyed.Idle(time.Hour))
		for i := range instances {
			guard := r.Get(numbered(i))
			if i%1000 == 0 {
				collected.Add(1)
				runtime.AddCleanup(guard, func(struct{}) { collected.Done() }, struct{}{})
			}
		}
		require.Equal(t, instances, r.Len())
		require.LessOrEqual(t, runtime.NumGoroutine(), before)
	}()
	runtime.GC()
	runtime.GC()
	collected.Wait() // those of a dropped registry are collected

	r := keyed.New(func(string) *throttle.Throttle { return throttle.New(throttle.Window(time.Second, 2)) }, keyed.Max(1))
	for i := range 1000 { // those that were evicted are collected, though the registry stays
		collected.Add(1)
		runtime.AddCleanup(r.Get(numbered(i)), func(struct{}) { collected.Done() }, struct{}{})
	}
	r.Get("last")
	runtime.GC()
	runtime.GC()
	collected.Wait()
	require.Equal(t, 1, r.Len())
}

func TestAllocations(t *testing.T) {
	type point struct {
		tenant string
		shard  int
	}
	names := keyed.New(newSlots(1), keyed.Idle(time.Hour))
	numbers := keyed.New(func(int) *slots { return newSlots(1)("") })
	addresses := keyed.New(func(netip.Addr) *slots { return newSlots(1)("") })
	points := keyed.New(func(point) *slots { return newSlots(1)("") })
	address := netip.MustParseAddr("2001:db8::1%eth0")
	long := strings.Repeat("x", 1<<20)
	for name, get := range map[string]func(){
		"string":   func() { names.Get("users.example.com") },
		"int":      func() { numbers.Get(math.MaxInt) },
		"address":  func() { addresses.Get(address) },
		"struct":   func() { points.Get(point{"a", 1}) },
		"too long": func() { names.Get(long) },
	} {
		require.Zero(t, testing.AllocsPerRun(1000, get), name)
	}
}
