package keyed

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
)

// Registry keeps a value per key, normally a pipeline or a policy. It is made by [New] and safe for
// concurrent use.
//
// Looking up a key that is there takes no lock and allocates nothing.
type Registry[K comparable, V any] struct {
	makeValue   func(K) V
	config      atomic.Pointer[registryConfig[V]]
	expireAfter atomic.Int64 // a copy of that of config, which every use of a key needs
	overflow    *entry[K, V] // in no ring; its state, zero, is used and stays so: every use of it succeeds
	clock       stopwatch.Stopwatch

	entries sync.Map // from K to *entry[K, V]; read without the lock, changed under it

	mu      sync.Mutex
	hand    *entry[K, V] // where the next search begins, in the ring of all entries; nil if there are none
	length  int          // of the ring
	longest int          // that it ever was
	counts

	claims     atomic.Int64 // numbers the claims of searches, see entry
	sweepDue   atomic.Int64 // when the next part of the search for unused keys is due
	overflowed atomic.Uint64
	tooLong    atomic.Uint64
}

// Ways to an entry. A use is noted in its state, for the hand, and by noteUse as the time of its last use, which matters
// only with Idle. A new entry is made, but not used:
//
//	          makes             is a use  while it is made
//	Get       entry and value   yes       waits
//	ensure    entry and value   yes       waits, until its context ends
//	entryFor  entry             no        finds it, and its caller has to wait
//	lookup    nothing           yes       finds nothing
//	peek      nothing           no        finds nothing
//	find      nothing           no        finds it

// counts is what happened to keys since the registry was made.
type counts struct{ made, evicted, expired, deleted uint64 }

// New returns a registry that calls make for the value of a key when the key is first asked for.
//
//   - make is called once for each new key. Others who ask for the same key at the same time wait.
//     It runs under no lock.
//   - make may use the registry, but must not ask for a key that waits for it: the key being made,
//     or one whose own make asks for that key. Such calls wait for each other for ever, as two
//     mutexes locked in different orders do. The registry cannot detect this, because it does not
//     know which goroutine a request comes from. A wait inside [Guard.Admit] ends with its context.
//   - If make panics or calls [runtime.Goexit], that happens on the goroutine that asked. The key
//     is not there afterwards, and those who waited try again.
//   - make must not return nil. A nil value panics like a panic of make.
//   - The strings in the key that make gets are copies.
//
// New itself calls make once, with the zero K, for the overflow value, which is shared by the keys
// that find no place; see [Registry.Overflow]. A make that does not work therefore fails at
// construction.
//
// Only values that are idle are evicted. V must say when that is: by a method Idle() bool
// ([policy.Idler]), which pipelines and the policies of this module have, or through the option
// [IdleIf].
//
// New panics with a [*policy.ConfigError] that lists every problem: make is nil or returns nil, an
// option is out of its range, V does not say when it is idle, or K contains a floating-point number
// or an interface. Keys can be made of strings, integers, booleans, pointers, and arrays and
// structs of those.
func New[K comparable, V any](make func(K) V, opts ...Option) *Registry[K, V] {
	c, err := configure(make, nil, opts)
	if err != nil {
		panic(err)
	}
	r := &Registry[K, V]{makeValue: make, overflow: &entry[K, V]{}, clock: stopwatch.Start()}
	r.setConfig(c)
	r.overflow.value = make(r.overflow.key)
	if isNil(r.overflow.value) {
		problems := policy.ConfigError{Policy: "keyed"}
		problems.Add("make returned nil for the zero key")
		panic(problems.Err())
	}
	return r
}

// setConfig makes c the configuration.
func (r *Registry[K, V]) setConfig(c *registryConfig[V]) {
	r.config.Store(c)
	r.expireAfter.Store(int64(c.expireAfter))
}

// current returns the configuration in force. It panics for the zero value.
func (r *Registry[K, V]) current() *registryConfig[V] {
	c := r.config.Load()
	if c == nil {
		panic("keyed: a Registry must be made with keyed.New")
	}
	return c
}

// Get returns the value of key, and makes it if the key is new. When there is no place for a new
// key, or the new key is too long, it returns the overflow value.
//
// Use the value at once, and ask again for the next call: a value that is kept still works after
// its key was evicted, but it is no longer the one that others get. Where not a single admission
// may be lost to an eviction between Get and the call, use [By].
func (r *Registry[K, V]) Get(key K) V {
	if found, ok := r.entries.Load(key); ok { // what lookup does, without its call: 28 ns instead of 32 (BenchmarkGet)
		if e := found.(*entry[K, V]); e.state.Load() == used && r.expireAfter.Load() == 0 {
			return e.value
		}
	}
	e := r.lookup(key)
	if e == nil {
		e, _ = r.ensure(context.Background(), key)
	}
	return e.value
}

// lookup uses the entry that key has, if any; otherwise it returns nil.
func (r *Registry[K, V]) lookup(key K) *entry[K, V] {
	e := r.find(key)
	if e == nil || !e.use() {
		return nil
	}
	r.noteUse(e)
	return e
}

// noteUse notes when e was used, if there is a time after which keys expire.
func (r *Registry[K, V]) noteUse(e *entry[K, V]) {
	if expireAfter := r.expireAfter.Load(); expireAfter > 0 {
		r.touch(e, time.Duration(expireAfter))
	}
}

// find returns the entry that key has now, in whatever state, or nil.
func (r *Registry[K, V]) find(key K) *entry[K, V] {
	if found, ok := r.entries.Load(key); ok {
		return found.(*entry[K, V])
	}
	return nil
}

// peek returns the entry of key if it is there and its value is made. It counts as no use.
func (r *Registry[K, V]) peek(key K) *entry[K, V] {
	if e := r.find(key); e != nil && e.there() {
		return e
	}
	return nil
}

// ensure returns the entry of key, which it makes if need be, or the overflow entry. It returns an
// error only when ctx ends while another goroutine makes the entry.
func (r *Registry[K, V]) ensure(ctx context.Context, key K) (*entry[K, V], error) {
	for {
		e, isNew := r.entryFor(key)
		if e == nil {
			return r.overflow, nil
		}
		if isNew {
			r.fill(e)
		}
		if isNew || e.use() {
			r.noteUse(e)
			return e, nil
		}
		if err := r.awaitMaking(ctx, e); err != nil {
			return nil, err
		}
	}
}

// awaitMaking waits until the making of e has ended, or ctx ends.
func (r *Registry[K, V]) awaitMaking(ctx context.Context, e *entry[K, V]) error {
	r.mu.Lock()
	ended := e.makingEnded
	r.mu.Unlock()
	if ended == nil {
		return nil
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return policy.ContextError(ctx)
	}
}

// entryFor returns the entry of key, a new one if need be, whose value the caller must make. It
// returns nil when key must use the overflow value.
func (r *Registry[K, V]) entryFor(key K) (e *entry[K, V], isNew bool) {
	if r.find(key) == nil && keyLength(key) > r.current().maxLength {
		r.tooLong.Add(1)
		return nil, false
	}
	if e, isNew = r.insert(key); e != nil {
		return e, isNew
	}
	r.evict(func() { e, isNew = r.insertLocked(key) })
	if e == nil {
		e = r.find(key) // another goroutine may have found a place for it
	}
	if e == nil {
		r.overflowed.Add(1)
	}
	return e, isNew
}

// insert returns the entry of key, a new one if there is none and there is a place for it;
// otherwise nil.
func (r *Registry[K, V]) insert(key K) (e *entry[K, V], isNew bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.insertLocked(key)
}

// insertLocked is insert when r.mu is held.
func (r *Registry[K, V]) insertLocked(key K) (e *entry[K, V], isNew bool) {
	if e = r.find(key); e != nil {
		return e, false
	}
	if r.length >= r.current().max {
		return nil, false
	}
	e = &entry[K, V]{key: cloneKey(key), makingEnded: make(chan struct{})}
	e.state.Store(making)
	r.link(e)
	r.entries.Store(e.key, e)
	return e, true
}

// fill makes the value of e. However that ends, no other goroutine is left waiting.
func (r *Registry[K, V]) fill(e *entry[K, V]) {
	filled := false
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if filled {
			r.made++
			e.touched.Store(int64(r.clock.Elapsed()))
			e.state.Store(unused)
		} else {
			r.remove(e)
		}
		close(e.makingEnded)
		e.makingEnded = nil
	}()
	e.value = r.makeValue(e.key)
	if isNil(e.value) {
		panic(fmt.Sprintf("keyed: make returned a nil %v", reflect.TypeFor[V]()))
	}
	filled = true
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

// link puts e into the ring, where the hand comes to it last. r.mu must be held.
func (r *Registry[K, V]) link(e *entry[K, V]) {
	r.length++
	r.longest = max(r.longest, r.length)
	if r.hand == nil {
		e.previous, e.next, r.hand = e, e, e
		return
	}
	e.previous, e.next = r.hand.previous, r.hand
	e.previous.next, e.next.previous = e, e
}

// remove takes e out of the registry, whatever its state is. r.mu must be held.
func (r *Registry[K, V]) remove(e *entry[K, V]) {
	r.length--
	e.state.Store(gone)
	r.entries.Delete(e.key)
	if e.next == e {
		r.hand = nil
	} else {
		e.previous.next, e.next.previous = e.next, e.previous
		if r.hand == e {
			r.hand = e.next
		}
	}
	e.previous, e.next = nil, nil // a value that is still in use must not keep others
}

// Delete takes key out of the registry, whatever state its value is in, and reports whether it was
// there. Calls in flight end on the value that they have; the next Get makes a new one. A key whose
// value is still being made is not there yet.
func (r *Registry[K, V]) Delete(key K) bool {
	r.current()
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.peek(key)
	if e == nil {
		return false
	}
	r.remove(e)
	r.deleted++
	return true
}

// All returns an iterator over the keys and values that are there, in no particular order. It does
// not count as using them. The loop may use the registry. A key that comes or goes meanwhile may or
// may not be seen; none is seen twice.
func (r *Registry[K, V]) All() iter.Seq2[K, V] {
	r.current()
	return func(yield func(K, V) bool) {
		r.entries.Range(func(_, found any) bool {
			e := found.(*entry[K, V])
			return !e.there() || yield(e.key, e.value)
		})
	}
}

// Overflow returns the value that is shared by the keys for which there is no place. It is made by
// [New], from the zero key, and is not among the keys of the registry: the zero key has a value of
// its own.
func (r *Registry[K, V]) Overflow() V {
	r.current()
	return r.overflow.value
}

// Reconfigure changes the configuration to opts, while the registry is in use. What is not given
// gets its default, except [IdleIf], which stays. When opts are not valid, Reconfigure returns a
// [*policy.ConfigError] and changes nothing.
//
// No value that is needed is lost: if there are more keys than the new [Max], those whose values
// are idle go, some at once and some as new keys come. Until then new keys get the overflow value.
// Keys longer than a new [MaxKeyLength] keep their places. The time of [Idle] begins anew when it
// is changed.
func (r *Registry[K, V]) Reconfigure(opts ...Option) error {
	r.current()
	if err := r.change(opts); err != nil {
		return err
	}
	r.shrink()
	return nil
}

func (r *Registry[K, V]) change(opts []Option) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.current()
	c, err := configure(r.makeValue, before, opts)
	if err != nil {
		return err
	}
	if c.expireAfter != before.expireAfter {
		r.restart()
	}
	r.setConfig(c)
	return nil
}
