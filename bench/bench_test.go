package bench

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkWork is every piece of work by everybody who does it.
func BenchmarkWork(b *testing.B) {
	for _, s := range subjects() {
		b.Run(s.work+"/"+s.name, func(b *testing.B) {
			runModes(b, s.make())
		})
	}
}

// The modes: one goroutine; one on each core; 64 on each core.
func runModes(b *testing.B, worker func() call) {
	b.Run("serial", func(b *testing.B) { runSerial(b, worker()) })
	b.Run("parallel", func(b *testing.B) { runParallel(b, worker, 1) })
	b.Run("contended", func(b *testing.B) { runParallel(b, worker, 64) })
}

func runSerial(b *testing.B, use call) {
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if !use(ctx) {
			b.Fatal("wrong result")
		}
	}
}

func runParallel(b *testing.B, worker func() call, perCore int) {
	b.ReportAllocs()
	b.SetParallelism(perCore)
	b.RunParallel(func(pb *testing.PB) {
		ctx, use := context.Background(), worker()
		for pb.Next() {
			if !use(ctx) {
				b.Error("wrong result")
				return
			}
		}
	})
}

// TestSubjects lets everybody do their work, and checks that no name is there twice.
func TestSubjects(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range append(subjects(), floors()...) {
		name := s.work + "/" + s.name
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
		t.Run(name, func(t *testing.T) {
			worker := s.make()
			var group sync.WaitGroup
			for range 4 {
				group.Go(func() {
					use := worker()
					for i := range 300 {
						if !use(t.Context()) {
							t.Errorf("wrong result of call %d", i+1)
							return
						}
					}
				})
			}
			group.Wait()
		})
	}
}

// BenchmarkFloor is what the machine charges for what the work is made of.
func BenchmarkFloor(b *testing.B) {
	for _, s := range floors() {
		b.Run(s.name, func(b *testing.B) { runModes(b, s.make()) })
	}
}

func floors() []subject {
	floor := func(name string, make func() call) subject { return subject{"floor", name, shared(make)} }
	return []subject{
		floor("operation", func() call { // what every other benchmark contains
			return func(ctx context.Context) bool { return fetched(fetch(ctx)) }
		}),
		floor("atomic-add", func() call {
			var n atomic.Int64
			return func(context.Context) bool { return n.Add(1) > 0 }
		}),
		floor("mutex", func() call {
			var mu sync.Mutex
			n := 0
			return func(context.Context) bool {
				mu.Lock()
				n++
				mu.Unlock()
				return true
			}
		}),
		floor("time-now", func() call {
			return func(context.Context) bool { return !time.Now().IsZero() }
		}),
		floor("time-since", func() call {
			start := time.Now()
			return func(context.Context) bool { return time.Since(start) >= 0 }
		}),
		floor("context-with-timeout", func() call {
			return func(ctx context.Context) bool {
				ctx, cancel := context.WithTimeout(ctx, time.Hour)
				cancel()
				return ctx.Err() != nil
			}
		}),
	}
}

// BenchmarkInstances is the memory that one instance holds when it was made and not used.
func BenchmarkInstances(b *testing.B) {
	for _, i := range instances() {
		b.Run(i.name, func(b *testing.B) {
			var bytes float64
			for b.Loop() {
				bytes = i.measure()
			}
			if bytes <= 0 {
				b.Fatalf("an instance takes %v B", bytes)
			}
			b.ReportMetric(bytes, "B/instance")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// instance is something whose memory is measured.
type instance struct {
	name  string
	count int // of instances, so that what is not theirs vanishes among them
	// make makes count instances and returns what keeps them alive.
	make func(count int) any
}

func (i instance) measure() float64 {
	before := heap()
	alive := i.make(i.count)
	after := heap()
	runtime.KeepAlive(alive)
	return (float64(after) - float64(before)) / float64(i.count)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what has finalizers or was pooled is gone only now
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func TestInstances(t *testing.T) {
	kilobyte := instance{"kilobyte", 1000, many(func() *[1024]byte { return new([1024]byte) })}
	if bytes := kilobyte.measure(); bytes < 1024 || bytes > 1024+16+64 { // a pointer each, and noise
		t.Errorf("a kilobyte takes %v B", bytes)
	}
	for _, i := range instances() {
		i.count = min(i.count, 100)
		if i.make(i.count) == nil {
			t.Errorf("%s: nothing was made", i.name)
		}
	}
}

// many makes instances one by one. Each costs 8 B more, for the pointer to it.
func many[T any](make1 func() T) func(count int) any {
	return func(count int) any {
		all := make([]T, count)
		for i := range all {
			all[i] = make1()
		}
		return all
	}
}

func label(n int) string { return fmt.Sprint(n) }
