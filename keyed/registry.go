package keyed

import (
	"context"
	"fmt"
	"hash/maphash"
	"iter"
	"math/bits"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
)

// Registry keeps a value per key, normally a pipeline or a policy. It is made by [New] and safe for concurrent use.
//
// Looking up a key that is there takes no lock and allocates nothing.
type Registry[K comparable, V any] struct {
	make      func(K) V
	keys      keyType[K]
	max       int64
	maxLength int
	idle      time.Duration // 0: never
	overflow  *entry[K, V]

	seed   maphash.Seed
	shift  int // how far the number of the shard stands up in a hash
	shards []shard[K, V]
	clock  stopwatch.Stopwatch

	places  atomic.Int64 // taken, up to max: one for each entry in a table, and for each that is about to be
	buckets atomic.Int64 // in all tables together
	walker  atomic.Uint64
	due     atomic.Int64 // when the next part of the search for unused keys is due
	tooLong atomic.Uint64
}

// New returns a registry that makes the value of a key with make when it is asked for it the first time.
//
//   - make is called once for each new key, whoever asks at the same time: the others wait. It runs under no lock and may
//     use the registry, except for the key that is being made, for which it would wait for itself.
//   - If make panics, or calls [runtime.Goexit], that happens to the goroutine that asked; the key is not there
//     afterwards, and whoever waited tries again.
//   - make must not return nil. A nil value panics like a panic of make.
//   - The string in a key that make gets is a copy.
//
// New itself calls make once, with the zero K, for the overflow value, which keys share that are refused; see
// [Registry.Overflow]. So what does not work fails at construction, not when it is needed most.
//
// New panics with a [*policy.ConfigError] when make is nil or returns nil, when an option makes no sense, and when K contains a
// floating-point number or an interface: use strings, integers, booleans, pointers, and arrays and structs of those.
func New[K comparable, V any](make func(K) V, opts ...Option) *Registry[K, V] {
	r, c := prepare(make, opts)
	if err := c.problems.Err(); err != nil {
		panic(err)
	}
	r.overflow.value = make(r.overflow.key)
	if isNil(r.overflow.value) {
		c.problems.Add("make returned nil for the zero key")
		panic(c.problems.Err())
	}
	r.overflow.state.Store(live)
	for i := range r.shards {
		r.shards[i].init()
	}
	return r
}

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil. It does not call make.
func Validate[K comparable, V any](make func(K) V, opts ...Option) error {
	_, c := prepare(make, opts)
	return c.problems.Err()
}

func prepare[K comparable, V any](construct func(K) V, opts []Option) (*Registry[K, V], *config) {
	c := configure(opts)
	if construct == nil {
		c.problems.Add("make is nil")
	}
	r := &Registry[K, V]{
		make:      construct,
		keys:      newKeyType[K](&c.problems),
		max:       int64(c.max),
		maxLength: c.maxLength,
		idle:      c.idle,
		overflow:  &entry[K, V]{},
		seed:      maphash.MakeSeed(),
		clock:     stopwatch.Start(),
	}
	shards := shardsFor(c.max)
	r.shards = make([]shard[K, V], shards)
	r.shift = 64 - bits.TrailingZeros(uint(shards))
	r.buckets.Store(int64(shards * initialBuckets))
	return r, c
}

// shardsFor returns a power of two: enough shards for many cores, each of them with enough keys to choose from.
func shardsFor(max int) int {
	shards := 1
	for shards < 256 && shards*2*64 <= max {
		shards *= 2
	}
	return shards
}

// Get returns the value of key, and makes it if the key is new. When there is no place for a new key, or key is too
// long, it returns the overflow value.
//
// Use the value at once, and ask again for the next call: a value that is kept goes on working after its key was evicted, but
// is no longer the one that others get. Where not a single admission may be lost to an eviction between Get and the
// call, use [By].
func (r *Registry[K, V]) Get(key K) V {
	e, _ := r.entry(context.Background(), key)
	return e.value
}

// entry returns the entry of key, which it makes if need be, or the overflow entry. The error is that of ctx, when it
// ended while somebody else was making the entry.
func (r *Registry[K, V]) entry(ctx context.Context, key K) (*entry[K, V], error) {
	if r.keys.length(key) > r.maxLength {
		r.tooLong.Add(1)
		return r.overflow, nil
	}
	hash := maphash.Comparable(r.seed, key)
	s := r.shard(hash)
	e := s.find(hash, key)
	if e != nil && e.state.Load() == live {
		if !e.recent.Load() {
			e.recent.Store(true)
		}
	} else {
		var err error
		if e, err = r.ensure(ctx, s, hash, key); err != nil {
			return nil, err
		}
	}
	if r.idle > 0 {
		r.touch(e, r.clock.Elapsed())
	}
	return e, nil
}

func (r *Registry[K, V]) shard(hash uint64) *shard[K, V] {
	return &r.shards[hash>>r.shift]
}

// touch notes that e was asked for at now. It writes as seldom as possible, so that a key that is asked for on every core
// does not make them wait for each other.
func (r *Registry[K, V]) touch(e *entry[K, V], now time.Duration) {
	if now-time.Duration(e.touched.Load()) > r.slack() {
		e.touched.Store(int64(now))
	}
	r.sweep(now)
}

// ensure is entry for a key that was not found without the lock.
func (r *Registry[K, V]) ensure(ctx context.Context, s *shard[K, V], hash uint64, key K) (*entry[K, V], error) {
	placed := false
	defer func() {
		if placed {
			r.places.Add(-1)
		}
	}()
	for {
		s.mu.Lock()
		e := s.find(hash, key)
		switch {
		case e == nil && (placed || r.free()): // under the lock: who looks for the same key meanwhile finds the entry
			e = &entry[K, V]{hash: hash, key: r.keys.clone(key)}
			done := make(chan struct{})
			r.buckets.Add(int64(s.insert(e)))
			s.makers[e] = done
			s.mu.Unlock()
			placed = false // it is the entry's now
			r.construct(s, e, done)
			return e, nil
		case e == nil:
			s.mu.Unlock()
			if placed = r.evict(); !placed {
				s.mu.Lock()
				if s.find(hash, key) != nil { // somebody else has found a place for it
					s.mu.Unlock()
					continue
				}
				s.refused++
				s.mu.Unlock()
				return r.overflow, nil
			}
		case e.state.Load() == making:
			done := s.makers[e]
			s.mu.Unlock()
			if placed {
				placed = false // no need to hold it while waiting
				r.places.Add(-1)
			}
			select {
			case <-done:
			case <-ctx.Done():
				return nil, policy.ContextError(ctx)
			}
		default:
			e.keep() // nobody can evict it now: that takes the lock
			e.recent.Store(true)
			s.mu.Unlock()
			return e, nil
		}
	}
}

// peek returns the value that key has now, if any, and changes nothing.
func (r *Registry[K, V]) peek(key K) (value V, ok bool) {
	if r.keys.length(key) > r.maxLength {
		return r.overflow.value, true
	}
	hash := maphash.Comparable(r.seed, key)
	s := r.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(hash, key); e != nil && e.state.Load() != making {
		return e.value, true
	}
	return value, false
}

// construct lets make make the value of e. However that ends, nobody is left waiting.
func (r *Registry[K, V]) construct(s *shard[K, V], e *entry[K, V], done chan struct{}) {
	made := false
	defer func() {
		s.mu.Lock()
		delete(s.makers, e)
		if made {
			s.made++
			e.state.Store(live)
		} else {
			s.unlink(e)
			r.places.Add(-1)
		}
		s.mu.Unlock()
		close(done)
	}()
	e.value = r.make(e.key)
	if isNil(e.value) {
		panic(fmt.Sprintf("keyed: make returned a nil %v", reflect.TypeFor[V]()))
	}
	made = true
}

// isNil reports whether value is nil, in whatever way its type can be.
func isNil[V any](value V) bool {
	v := reflect.ValueOf(&value).Elem()
	if v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Chan, reflect.Slice:
		return v.IsNil()
	}
	return false
}

// Delete takes key out of the registry, whatever state its value is in, and reports whether it was there. Calls in
// flight end on the value that they have; the next Get makes a new one. A key that is only just being made is not there
// yet.
func (r *Registry[K, V]) Delete(key K) bool {
	if r.keys.length(key) > r.maxLength {
		return false
	}
	hash := maphash.Comparable(r.seed, key)
	s := r.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(hash, key)
	if e == nil || e.state.Load() == making {
		return false
	}
	e.state.Store(deleted) // whoever wants to evict it finds it gone
	s.unlink(e)
	s.deleted++
	r.places.Add(-1)
	return true
}

// All returns an iterator over the keys and values that are there, in no particular order. It does not count as using them.
// The loop may use the registry; a key that comes or goes meanwhile may or may not be seen, and none is seen twice unless it
// came back.
func (r *Registry[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for i := range r.shards {
			for _, e := range r.shards[i].entries() {
				if !yield(e.key, e.value) {
					return
				}
			}
		}
	}
}

// Overflow returns the value that keys share for which there is no place. It is made by [New], from the zero key, and is not
// among the keys of the registry: the zero key has a value of its own.
func (r *Registry[K, V]) Overflow() V { return r.overflow.value }

// Len returns the number of keys that are there, at most [Max].
func (r *Registry[K, V]) Len() int { return r.Snapshot().Live }

// Snapshot is the state of a [Registry] at one moment, and what happened since it was made. It contains no keys.
// Live is always Made - Evicted - Expired - Deleted.
type Snapshot struct {
	Live    int    // keys that are there
	Max     int    // the most that there can be
	Made    uint64 // keys whose value was made
	Evicted uint64 // keys that lost their place to a new one
	Expired uint64 // keys that were not used for the time of [Idle]
	Deleted uint64 // keys that [Registry.Delete] took out
	Refused uint64 // uses that got the overflow value because no place was to be had
	TooLong uint64 // uses that got the overflow value because the key was too long
}

// Snapshot returns one consistent value. It changes nothing.
func (r *Registry[K, V]) Snapshot() Snapshot {
	for i := range r.shards {
		r.shards[i].mu.Lock()
		defer r.shards[i].mu.Unlock()
	}
	snapshot := Snapshot{Max: int(r.max), TooLong: r.tooLong.Load()}
	for i := range r.shards {
		s := &r.shards[i]
		snapshot.Live += s.size - len(s.makers)
		snapshot.Made += s.made
		snapshot.Evicted += s.evicted
		snapshot.Expired += s.expired
		snapshot.Deleted += s.deleted
		snapshot.Refused += s.refused
	}
	return snapshot
}

// String returns how many keys are there and how many can be, as in `keyed 12/1000`.
func (r *Registry[K, V]) String() string {
	return fmt.Sprintf("keyed %d/%d", r.Len(), r.max)
}
