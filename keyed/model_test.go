package keyed_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/keyed"
)

// bubble keeps rapid from asking for t.Deadline, which a bubble does not have.
type bubble struct{ rapid.TB }

// known is what the model knows of a key.
type known struct {
	value *slots
	used  time.Time
}

// The registry against a map that says what may and what must not go: a key goes only when its value is idle, and either its place
// is needed or it was not used for long enough; a new key is refused only when no value is idle.
func TestRegistryAgainstAMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { rapid.Check(bubble{t}, registryIsAMap) })
}

func FuzzRegistry(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) { rapid.MakeFuzz(registryIsAMap)(t, data) })
	})
}

func registryIsAMap(t *rapid.T) {
	max := rapid.IntRange(1, 64).Draw(t, "max") // so many are searched completely
	opts := []keyed.Option{keyed.Max(max), keyed.MaxKeyLength(10)}
	idle := time.Duration(rapid.SampledFrom([]int{0, 1, 1000}).Draw(t, "idle")) * time.Millisecond
	if idle > 0 {
		opts = append(opts, keyed.Idle(idle))
	}
	r := keyed.New(newSlots(1), opts...)
	model := make(map[string]*known)
	var want keyed.Snapshot
	want.Max = max
	gone := uint64(0) // evicted or expired

	idleNow := func(k *known) bool { return !k.value.down.Load() }
	// reconcile takes from the model what is gone from the registry, if it may.
	reconcile := func(t *rapid.T, placesNeeded int) {
		there := make(map[string]*slots)
		for key, value := range r.All() {
			there[key] = value
		}
		for key, k := range model {
			value, ok := there[key]
			switch {
			case ok && value != k.value:
				t.Fatalf("%q has another value", key)
			case ok:
				continue
			case !idleNow(k):
				t.Fatalf("%q is gone but not idle", key)
			case idle == 0 || time.Since(k.used) < idle:
				if placesNeeded--; placesNeeded < 0 {
					t.Fatalf("%q is gone, but was used %v ago and no place was needed", key, time.Since(k.used))
				}
			}
			gone++
			delete(model, key)
		}
		if len(there) != len(model) || len(model) > max {
			t.Fatalf("%d keys in the registry, %d in the model, at most %d", len(there), len(model), max)
		}
	}
	check := func(t *rapid.T) {
		got := r.Snapshot()
		if got.Evicted+got.Expired != gone || idle == 0 && got.Expired > 0 {
			t.Fatalf("%d gone, but %+v", gone, got)
		}
		want.Live, want.Evicted, want.Expired = len(model), got.Evicted, got.Expired
		if got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
	}
	key := rapid.Custom(func(t *rapid.T) string {
		if rapid.IntRange(0, 20).Draw(t, "long") == 0 {
			return strings.Repeat("x", 11)
		}
		return fmt.Sprintf("k%d", rapid.IntRange(0, max*2).Draw(t, "number"))
	})
	t.Repeat(map[string]func(*rapid.T){
		"get": func(t *rapid.T) {
			key := key.Draw(t, "key")
			k, anyIdle := model[key], false
			for _, other := range model {
				anyIdle = anyIdle || idleNow(other)
			}
			value := r.Get(key)
			switch {
			case len(key) > 10:
				want.TooLong++
				if value != r.Overflow() {
					t.Fatalf("%q has a place", key)
				}
				return
			case k != nil:
				if value != k.value {
					t.Fatalf("%q has another value", key)
				}
				k.used = time.Now()
				reconcile(t, 0)
				return
			case len(model) == max && !anyIdle:
				want.Overflowed++
				if value != r.Overflow() {
					t.Fatalf("%q has a place where there was none", key)
				}
				return
			}
			if value.key != key {
				t.Fatalf("%q was refused although there was a place", key)
			}
			want.Made++
			needed := atLeastZero(len(model) + 1 - max)
			model[key] = &known{value, time.Now()}
			reconcile(t, needed)
		},
		"delete": func(t *rapid.T) {
			key := key.Draw(t, "key")
			if r.Delete(key) != (model[key] != nil) {
				t.Fatalf("delete %q", key)
			}
			if model[key] != nil {
				want.Deleted++
				delete(model, key)
			}
		},
		"change": func(t *rapid.T) {
			if k := model[key.Draw(t, "key")]; k != nil {
				k.value.down.Store(!k.value.down.Load())
			}
		},
		"wait": func(t *rapid.T) { time.Sleep(time.Duration(rapid.IntRange(1, 900).Draw(t, "ms")) * time.Millisecond) },
		"":     check,
	})
}

func atLeastZero(n int) int { return max(0, n) }

// Readers without a lock, while the tables grow and keys come and go: a key that stays is always found with its value.
func TestReadersNeverMissAKeyThatStays(t *testing.T) {
	const stay = 200
	r := keyed.New(newSlots(1), keyed.Max(100_000))
	values := make([]*slots, stay)
	for i := range values {
		values[i] = r.Get(numbered(i))
	}
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	for g := range 3 {
		writers.Go(func() {
			for i := range 10_000 {
				key := fmt.Sprintf("%d-%d", g, i)
				r.Get(key)
				if i%3 != 0 {
					r.Delete(key)
				}
			}
		})
	}
	for g := range 3 {
		readers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 1))
			for {
				i := random.IntN(stay)
				if r.Get(numbered(i)) != values[i] {
					t.Errorf("%d has another value", i)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	require.EqualValues(t, stay+30_000, r.Snapshot().Made)
}
