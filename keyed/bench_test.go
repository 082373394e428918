package keyed_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/keyed"
)

// mutexed is what people write first: the rival in the benchmarks. It has no cap.
type mutexed struct {
	mu     sync.Mutex
	values map[string]*slots
}

func (m *mutexed) Get(key string) *slots {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.values[key]
	if !ok {
		value = newSlots(1)(key)
		m.values[key] = value
	}
	return value
}

const benchKeys = 100_000

func benchmarkGet(b *testing.B, n int, get func(string) *slots) {
	keys := make([]string, n)
	for i, j := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		keys[i] = numbered(j)
		get(numbered(j)) // another string than the one that is looked up: in earnest it is never the same
	}
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if i++; i == n {
				i = 0
			}
			if get(keys[i]) == nil {
				b.Fatal("no value")
			}
		}
	})
	parallel := func(goroutines int) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(goroutines)
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.IntN(n); pb.Next(); i++ {
					if i == n {
						i = 0
					}
					if get(keys[i]) == nil {
						b.Error("no value")
						return
					}
				}
			})
		}
	}
	b.Run("parallel", parallel(1))
	b.Run("parallel64", parallel(64))
	b.Run("parallelOneKey", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if get(keys[0]) == nil {
					b.Error("no value")
					return
				}
			}
		})
	})
}

// Lookups of live keys, in random order.
func BenchmarkGet(b *testing.B) {
	for _, n := range []int{100, 10_000, benchKeys} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.Run("registry", func(b *testing.B) { benchmarkGet(b, n, keyed.New(newSlots(1), keyed.Max(n)).Get) })
			b.Run("registryIdle", func(b *testing.B) {
				benchmarkGet(b, n, keyed.New(newSlots(1), keyed.Max(n), keyed.Idle(time.Hour)).Get)
			})
			b.Run("mutexedMap", func(b *testing.B) { benchmarkGet(b, n, (&mutexed{values: make(map[string]*slots)}).Get) })
		})
	}
}

// Each key is new, and the registry is full.
func BenchmarkNewKeyWhenFull(b *testing.B) {
	keys := make([]string, 1<<20)
	for i := range keys {
		keys[i] = numbered(i)
	}
	for name, busy := range map[string]bool{"idle": false, "needed": true} {
		b.Run(name, func(b *testing.B) {
			r := keyed.New(newSlots(1), keyed.Max(10_000))
			for i := range 10_000 {
				r.Get(numbered(-1 - i)).down.Store(busy)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				r.Get(keys[i%len(keys)])
				i++
			}
		})
	}
}

func BenchmarkBy(b *testing.B) {
	guard, one := keyed.By(keyOf, keyed.New(newSlots(1))), newSlots(1)("a")
	ctx := withKey(b.Context(), "a")
	b.Run("keyed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = resilience.Do(ctx, guard, nil2)
		}
	})
	b.Run("single", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = resilience.Do(ctx, one, nil2)
		}
	})
}

// BenchmarkMemory reports the bytes of heap for each key, its string of 32 bytes included, its value not.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		before := heap()
		r := keyed.New(func(string) struct{} { return struct{}{} }, keyed.Max(benchKeys), always[struct{}]())
		for i := range benchKeys {
			r.Get(numbered(i) + "-----------------------------"[len(numbered(i))-3:])
		}
		b.ReportMetric(float64(heap()-before)/benchKeys, "B/key")
		b.ReportMetric(0, "ns/op")
		runtime.KeepAlive(r)
	}
}
