package keytable

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/internal/testsize"
)

func TestALineIsALine(t *testing.T) {
	require.EqualValues(t, 64, unsafe.Sizeof(line{}))
	require.EqualValues(t, 8192, unsafe.Sizeof(segment{}))
	require.Zero(t, uintptr(unsafe.Pointer(New(1).directory.Load().segment(0)))%64)
}

// owner is a key as it would be with a word of its own that is never forgotten.
type owner struct {
	word  int64
	taken []taking
}

type taking struct{ at, cost int64 }

// Whatever the keys, the moves and the age of the readings, a key gets what a word of its own would grant it, or less, and
// not less as long as no overflow word matters.
func TestModel(t *testing.T) {
	overflows, moves := 0, 0
	rapid.Check(t, func(r *rapid.T) {
		few := rapid.Uint64Range(1, 3).Draw(r, "lines")
		keys := rapid.Uint64Range(1, 60).Draw(r, "keys")
		table := New(rapid.SampledFrom([]int{1, 1, 2000}).Draw(r, "room"))
		owners := make(map[uint64]*owner)
		now, exact := epoch, true
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 0))
		for range rapid.IntRange(50, 400).Draw(r, "steps") {
			if random.IntN(4) == 0 {
				now += random.Int64N(2 * token)
			}
			reading := now
			if random.IntN(4) == 0 {
				reading = max(epoch, now-random.Int64N(5*token)) // an old one
			}
			n := random.Uint64N(keys)
			hash := placed(n%few, 10+n%7%few, 20+n%5%few, n) | n%2<<63
			o := owners[hash]
			if o == nil {
				o = new(owner)
				owners[hash] = o
			}
			if random.IntN(5) == 0 && len(o.taken) > 0 {
				i := random.IntN(len(o.taken))
				one := o.taken[i]
				o.taken = append(o.taken[:i], o.taken[i+1:]...)
				worth := one.cost - (now - one.at)
				table.GiveBack(hash, func() int64 { return worth })
				if worth > 0 {
					o.word -= worth
				}
				continue
			}
			cost := (1 + random.Int64N(burst)) * token
			line := reading + burst*token
			from, outcome := table.Take(hash, reading, line, cost)
			want := max(o.word, reading)
			switch {
			case from < want:
				r.Fatalf("from %d, but its own word says %d", from, want)
			case (outcome == Taken || outcome == OverflowTaken) != (from <= line-cost):
				r.Fatalf("from %d cost %d line %d: %d", from, cost, line, outcome)
			}
			if usage(table, reading).Overflow > 0 || outcome >= OverflowTaken {
				exact = false
				overflows++
			}
			if exact && from != want {
				r.Fatalf("from %d instead of %d", from, want)
			}
			if outcome == Taken || outcome == OverflowTaken {
				o.word = want + cost // from can be more, in an overflow word to which others give back what they took
				o.taken = append(o.taken, taking{reading, cost})
			}
			if random.IntN(100) == 0 { // the words move to another table
				latest := usage(table, 0).Latest
				before := table
				table = table.Move(int(1+keys), now-5*token)
				if _, outcome := before.Take(hash, now, line, 1); outcome != Closed {
					r.Fatalf("%d in a table that was closed", outcome)
				}
				if after := usage(table, 0).Latest; latest >= now && after != latest {
					r.Fatalf("the latest word was %d and is %d", latest, after)
				}
				moves++
			}
		}
	})
	require.Positive(t, overflows)
	require.Positive(t, moves)
}

// Whoever looks at the table while a segment is replaced waits, and finds each key in one place.
func TestUsageWhileASegmentIsReplaced(t *testing.T) {
	for _, closes := range []bool{false, true} {
		table := New(1000)
		const keys = 200
		for n := range uint64(keys) {
			mustTake(t, table, (n+1)*0x9e3779b97f4a7c15, 1)
		}
		s := table.directory.Load().segment(0)
		s.lock().Lock()
		halves := s.freezeAndSplit(0) // as in makeRoom; s is frozen
		type answer struct {
			usage  Usage
			closed bool
		}
		answers := make(chan answer)
		go func() {
			u, closed := table.Usage(epoch)
			answers <- answer{u, closed}
		}()
		for range 1000 {
			runtime.Gosched()
		}
		if closes { // as Move does: the frozen segment stays
			table.closed.Store(true)
		} else {
			d := table.directory.Load().doubled()
			d.split(0, halves)
			table.directory.Store(d)
		}
		s.lock().Unlock()
		got := <-answers
		require.Equal(t, closes, got.closed)
		if !closes {
			require.Equal(t, Usage{Keys: keys, Lines: 2 * lines, Latest: epoch + token}, got.usage)
		}
	}
}

// Several slots in a row stand for a segment. While they are changed, one after the other, it is counted once all the same.
func TestUsageWhileTheSlotsOfASegmentChange(t *testing.T) {
	table := New(1000)
	const keys = 200
	for n := range uint64(keys) {
		mustTake(t, table, (n+1)*0x9e3779b97f4a7c15, 1)
	}
	d := table.directory.Load().doubled() // four slots for one segment
	table.directory.Store(d)
	s := d.segment(0)
	s.lock().Lock()
	table.mu.Lock()
	halves := s.freezeAndSplit(0)
	d.slots[0].segment.Store(halves[0]) // as in directory.split, up to here
	got := make(chan Usage)
	go func() { got <- usage(table, epoch) }()
	for range 1000 {
		runtime.Gosched()
	}
	d.split(0, halves)
	table.mu.Unlock()
	s.lock().Unlock()
	require.Equal(t, Usage{Keys: keys, Lines: 2 * lines, Latest: epoch + token}, <-got)
}

// All keys keep their words while segments are split.
func TestSplits(t *testing.T) {
	keys := testsize.Pick(4_000, 20_000)
	table := New(keys)
	random := rand.New(rand.NewPCG(1, 2))
	hashes := make([]uint64, keys)
	for i := range hashes {
		hashes[i] = random.Uint64()
		from, outcome := table.Take(hashes[i], epoch, epoch+burst*token, int64(1+i%burst)*token)
		require.Equal(t, Taken, outcome)
		require.Equal(t, epoch, from)
	}
	for i, hash := range hashes {
		require.Equal(t, epoch+int64(1+i%burst)*token, wordOf(table, hash))
	}
	require.Equal(t, keys, usage(table, epoch).Keys)
	require.Zero(t, usage(table, epoch).Overflow)
	segments := 0
	table.directory.Load().all(func(*segment, uint64, uint64) { segments++ })
	require.LessOrEqual(t, segments, 1<<depthFor(keys))
	away := 0
	for _, hash := range hashes {
		if table.directory.Load().segment(hash).home(hash).find(hash) == nil {
			away++
		}
	}
	require.Less(t, away, keys/6, "a split lets keys come home")

	for _, room := range []int{keys, 2 * keys, keys / 4} {
		moved := table.Move(room, epoch)
		moved.Convert(plus(7))
		for i, hash := range hashes {
			want := epoch + int64(1+i%burst)*token + 7
			if got := wordOf(moved, hash); room >= keys {
				require.Equal(t, want, got)
			} else {
				require.GreaterOrEqual(t, got, want, "in a bucket that it shares")
			}
		}
		_, outcome := table.Take(hashes[0], epoch, epoch+burst*token, token)
		require.Equal(t, Closed, outcome)
		table = moved.Move(room, epoch)
		table.Convert(plus(-7))
	}
}

// Overflow words stay with the keys that they are for, when segments are split or the words move.
func TestOverflowWordsMove(t *testing.T) {
	table := New(1)
	crowd(table, 1, 10, 20, epoch, epoch+2*token)
	key := placed(1, 10, 20, 0)
	require.Equal(t, burst, drain(table, key, epoch))
	for _, room := range []int{1, 1, 5000, 5000, 1} {
		table = table.Move(room, epoch)
		require.Equal(t, epoch+burst*token, wordOf(table, key))
		require.Equal(t, epoch+burst*token, wordOf(table, key|1<<63), "in every segment")
		require.Zero(t, wordOf(table, placed(2, 10, 20, 0)))
	}
	table.Grow(5000)
	for n := range uint64(5000) {
		take(table, placed(5, 6, 7, n)*0x9e3779b97f4a7c15, epoch, 1)
	}
	require.Zero(t, drain(table, key, epoch))
	require.Zero(t, drain(table, key|1<<63, epoch))
}

// Overflow words stay with the keys that they are for when many segments become fewer, or more; not with other keys.
func TestOverflowWordsMoveWithTheirSegment(t *testing.T) {
	halves := []uint64{0, 1 << 63}
	for i, half := range halves {
		table := New(1)
		table.Grow(segmentEntries) // it may be split once
		for n := range uint64(6 * ways) {
			table.Take(placed(1, 10, 20, 1000+n)|half, epoch, epoch+2*token, 2*token)
		}
		key, other := placed(1, 10, 20, 0)|half, placed(1, 10, 20, 0)|halves[1-i]
		require.Equal(t, burst, drain(table, key, epoch))
		for n := range uint64(500) {
			take(table, (n+1)*0x9e3779b97f4a7c15, epoch, 1) // more than one segment holds
		}
		require.NotEqual(t, table.directory.Load().segment(key), table.directory.Load().segment(other))
		for _, room := range []int{segmentEntries, 5_000, segmentEntries} {
			table = table.Move(room, epoch)
			table.Grow(5_000)
			require.Less(t, wordOf(table, other), epoch+burst*token)
			require.Equal(t, epoch+burst*token, wordOf(table, key))
		}
		table = table.Move(1, epoch)
		require.Equal(t, epoch+burst*token, wordOf(table, other), "there is but one segment")
	}
}

// A bucket whose word is now is full.
func TestUsageCountsWhatIsLaterThanNow(t *testing.T) {
	table := New(1)
	crowd(table, 1, 10, 20, epoch, epoch+2*token)
	require.Equal(t, burst, drain(table, placed(1, 10, 20, 0), epoch))
	end := epoch + burst*token // of the overflow word
	require.Equal(t, Usage{Keys: 6 * ways, Overflow: 1, Lines: lines, Latest: end}, usage(table, epoch+2*token-1))
	require.Equal(t, Usage{Overflow: 1, Lines: lines, Latest: end}, usage(table, epoch+2*token))
	require.Equal(t, Usage{Overflow: 1, Lines: lines, Latest: end}, usage(table, end-1))
	require.Equal(t, Usage{Lines: lines, Latest: end}, usage(table, end))
}

// Each segment is counted once, however differently they were split.
func TestUsageOfUnequalSegments(t *testing.T) {
	table := New(5_000)
	for n := range uint64(1_000) {
		mustTake(t, table, (n+1)*0x9e3779b97f4a7c15>>2, 1) // all in the first quarter
	}
	d := table.directory.Load()
	segments := 0
	d.all(func(*segment, uint64, uint64) { segments++ })
	require.Less(t, segments, len(d.slots))
	require.Equal(t, Usage{Keys: 1_000, Lines: segments * lines, Latest: epoch + token}, usage(table, epoch))
}

// At the very moment that it says, a word still matters.
func TestAWordThatIsNowMoves(t *testing.T) {
	table := New(1)
	crowd(table, 1, 10, 20, epoch, epoch+10*token)
	shared, own := placed(1, 10, 20, 0), placed(2, 11, 21, 0)
	require.Equal(t, burst, drain(table, shared, epoch))
	require.Equal(t, burst, drain(table, own, epoch))
	for _, test := range []struct{ now, want int64 }{{epoch + burst*token, epoch + burst*token}, {epoch + burst*token + 1, 0}} {
		table = table.Move(1, test.now)
		require.Equal(t, test.want, wordOf(table, shared))
		require.Equal(t, test.want, wordOf(table, own))
	}
}

func TestAKeyWithTheHash0(t *testing.T) {
	table := New(1)
	require.Equal(t, burst, drain(table, 0, epoch))
	require.Equal(t, epoch+burst*token, wordOf(table, 0))
	table.GiveBack(0, func() int64 { return token })
	require.Equal(t, 1, drain(table, 0, epoch))
	table = table.Move(5_000, epoch)
	for n := range uint64(2_000) {
		take(table, (n+1)*0x9e3779b97f4a7c15, epoch, 1)
	}
	require.Equal(t, epoch+burst*token, wordOf(table, 0), "also when its segment is split")
}

// Whoever finds that the words have gone to another table while it looks for room looks again.
func TestThereIsNoRoomInAClosedTable(t *testing.T) {
	table := New(1)
	crowd(table, 1, 10, 20, epoch, epoch+10*token)
	s := table.directory.Load().segment(0)
	require.False(t, table.makeRoom(s, placed(1, 10, 20, 0), epoch))
	table.closed.Store(true)
	require.True(t, table.makeRoom(s, placed(1, 10, 20, 0), epoch))
}

func TestTokensOfAnOverflowBucketComeBack(t *testing.T) {
	table := New(1)
	crowd(table, 1, 10, 20, epoch, epoch+token)
	key := placed(1, 10, 20, 0)
	require.Equal(t, burst, drain(table, key, epoch))
	table.GiveBack(key, func() int64 { return 2 * token })
	require.Equal(t, 2, drain(table, key, epoch))
	table.GiveBack(key, func() int64 { return -token })
	require.Zero(t, drain(table, key, epoch))
	closed := table
	table = table.Move(1, epoch)
	closed.GiveBack(key, func() int64 { return token })
	closed.GiveBack(placed(1, 10, 20, 1000), func() int64 { return token })
	_, isClosed := closed.Word(placed(1, 10, 20, 1000))
	require.True(t, isClosed)
	_, isClosed = closed.Word(key)
	require.True(t, isClosed, "also of a key that has no entry")
	require.Zero(t, drain(table, key, epoch))
}

// flood makes decisions about very many new keys from several goroutines, and about a few that all ask for again and
// again, by a clock of its own. It returns how many calls each of the few was granted, and when it was over.
func flood(table *Table, goroutines, keys, few int) (granted []atomic.Int64, end int64) {
	granted = make([]atomic.Int64, few)
	var clock, next atomic.Int64
	clock.Store(epoch)
	var running sync.WaitGroup
	for g := range goroutines {
		running.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 3))
			for i := next.Add(1); i <= int64(keys); i = next.Add(1) {
				if i%8 == 0 {
					clock.Add(1)
				}
				now := clock.Load()
				if i%64 == 0 {
					runtime.Gosched() // so that the reading gets old
				}
				take(table, uint64(i)*0x9e3779b97f4a7c15, now, 1)
				which := random.IntN(few)
				now = clock.Load()
				if i%3 == 0 {
					runtime.Gosched()
				}
				if _, ok := take(table, uint64(which+1)*0xd1b54a32d192ed03, now, 1); ok {
					granted[which].Add(1)
				}
			}
		})
	}
	running.Wait()
	return granted, clock.Load()
}

// A flood of new keys grants nobody more than its bucket, and takes no more memory than there is room for.
func TestFlood(t *testing.T) {
	for _, goroutines := range []int{1, 64} {
		const room = 10_000
		table := New(room)
		begin := time.Now()
		keys := testsize.Pick(30_000, 1_000_000)
		granted, end := flood(table, goroutines, keys, 50)
		for i := range granted {
			require.LessOrEqual(t, granted[i].Load(), burst+(end-epoch)/token)
			require.GreaterOrEqual(t, granted[i].Load(), int64(burst))
		}
		segments := 0
		table.directory.Load().all(func(*segment, uint64, uint64) { segments++ })
		require.LessOrEqual(t, segments, 1<<depthFor(room))
		t.Logf("%d goroutines, %d keys: %v", goroutines, keys, time.Since(begin))
	}
}

// A flood that nearly finds room, or just none, copies few segments; as many keys as a table is made for all find room.
func TestAFloodMovesFewKeys(t *testing.T) {
	const room = 1_000
	capacity := int64(segmentEntries) << depthFor(room)
	for _, crowding := range []float64{0.75, 0.85, 1} {
		table := New(room)
		random := rand.New(rand.NewPCG(4, 5))
		life := int64(crowding * float64(capacity)) // how long each key that comes takes room; one comes each nanosecond
		count, replaced, overflowed := 5_000, 0, 0
		for now := epoch; now < epoch+2*life+int64(count); now++ {
			hash := random.Uint64()
			before := table.directory.Load().segment(hash)
			_, outcome := table.Take(hash, now, now+4*life, life)
			if now < epoch+2*life { // it is not yet as full as it gets
				continue
			}
			if table.directory.Load().segment(hash) != before {
				replaced++
			}
			if outcome != Taken {
				overflowed++
			}
		}
		t.Logf("%.2f of the room: of %d keys, %d had a segment copied, %d found no room", crowding, count, replaced, overflowed)
		require.Less(t, replaced, count/10)
		require.True(t, crowding > 0.75 || overflowed < count/1000)
	}
}

func TestRoom(t *testing.T) {
	for keys, depth := range map[int]uint8{1: 0, 288: 0, 289: 1, 576: 1, 577: 2, 1_000_000: 12, MaxKeys: 22} {
		require.Equal(t, depth, depthFor(keys), "%d", keys)
		bytes := float64(int(8192) << depth)
		require.True(t, keys < 289 || bytes/float64(keys) < 57, "%v bytes for each of %d", bytes/float64(keys), keys)
	}
	table := New(1)
	table.Grow(577)
	table.Grow(1)
	require.EqualValues(t, 2, table.maxDepth)
}

// When Move returns, nobody can change a word of the table from which they were moved.
func TestMoveClosesTheTable(t *testing.T) {
	table := New(1000)
	const keys = 1000
	hash := func(n uint64) uint64 { return (n + 1) * 0x9e3779b97f4a7c15 }
	for n := range uint64(keys) {
		mustTake(t, table, hash(n), 1)
	}
	moved := table.Move(keys, epoch)
	for n := range uint64(keys) {
		_, outcome := table.Take(hash(n), epoch, epoch+burst*token, token)
		require.Equal(t, Closed, outcome)
		table.GiveBack(hash(n), func() int64 { return token })
		_, closed := table.Word(hash(n))
		require.True(t, closed)
	}
	moved.Convert(plus(7))
	for n := range uint64(keys) {
		require.Equal(t, epoch+token+7, wordOf(moved, hash(n)))
	}
	require.Equal(t, Usage{Keys: keys, Lines: usage(moved, epoch).Lines, Latest: epoch + token + 7}, usage(moved, epoch))
}

// plus returns a conversion.
func plus(n int64) func(int64) int64 { return func(word int64) int64 { return word + n } }

// wordOf returns the word of a key in a table that is not closed.
func wordOf(table *Table, hash uint64) int64 {
	word, closed := table.Word(hash)
	if closed {
		panic("the table is closed")
	}
	return word
}
