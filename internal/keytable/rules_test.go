package keytable

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// The schedules of these tests are those in which a key would get more than one word grants it, if one of the three rules of the
// package did not hold. A reading of the clock that is older than that of somebody who was faster is an argument here.

// Rule 1: a key that comes does not take the place of one that matters, not even for a moment.
func TestRule1_OnlyWordsInThePastAreEvicted(t *testing.T) {
	table := New(1)
	victim := placed(1, 10, 20, 0)
	require.Equal(t, burst, drain(table, victim, epoch))
	for n := range uint64(200) {
		drain(table, placed(1, 10, 20, 1+n), epoch)
	}
	require.Zero(t, drain(table, victim, epoch), "its bucket is empty")
	end := epoch + burst*token // its word
	for n := range uint64(200) {
		drain(table, placed(1, 10, 20, 1000+n), end)
	}
	require.Equal(t, end, wordOf(table, victim), "at that very moment it is still there")
	crowd(table, 2, 1, 30, end+1, end+2)
	require.Nil(t, table.directory.Load().segment(victim).find(victim), "a moment later it makes room")
}

// Rule 2: a key that has used up the overflow bucket gets no second bucket when it gets an entry.
func TestRule2_AnEntryStartsWhereTheOverflowWordIs(t *testing.T) {
	table := New(1)
	crowd(table, 1, 10, 20, epoch, epoch+token)
	key := placed(1, 10, 20, 0)
	require.Equal(t, burst, drain(table, key, epoch), "from the overflow bucket")
	require.Nil(t, table.directory.Load().segment(key).find(key))
	later := epoch + token + 1 // there is room now
	require.Equal(t, 1, drain(table, key, later), "and one token has come in")
	require.NotNil(t, table.directory.Load().segment(key).find(key))
	neighbour := placed(1, 11, 21, 0)
	from, taken := take(table, neighbour, later, 1)
	require.True(t, taken)
	require.Equal(t, epoch+burst*token, from, "who shares the overflow bucket starts there too")
	stranger := placed(2, 11, 21, 0)
	require.Equal(t, burst, drain(table, stranger, later), "who does not, does not")
}

// Rule 3: a word that was evicted is remembered for those who come with an older reading of the clock.
func TestRule3_AnEvictedWordIsInTheOverflowWord(t *testing.T) {
	table := New(1)
	victim := placed(1, 10, 20, 0)
	require.Equal(t, burst, drain(table, victim, epoch))
	full := epoch + burst*token
	crowd(table, 2, 1, 30, full+1, full+2) // whose home is elsewhere
	require.Nil(t, table.directory.Load().segment(victim).find(victim))
	_, taken := take(table, victim, epoch, 1)
	require.False(t, taken, "at that time it had no token")
	from, taken := take(table, victim, epoch+token, 1)
	require.True(t, taken, "and then one")
	require.Equal(t, full, from)
}

// The second reading of the hash: between finding an entry and reading its word, it can become that of another key.
func TestTheHashIsReadAgainAfterTheWord(t *testing.T) {
	table := New(1)
	key, other := placed(1, 10, 20, 0), placed(1, 30, 40, 1)
	_, taken := take(table, key, epoch, 1)
	require.True(t, taken)
	found := table.directory.Load().segment(key).find(key)
	later := epoch + 10*token
	_, taken = take(table, other, later, 2)
	require.True(t, taken)
	require.Equal(t, other, found.hash.Load(), "it was evicted meanwhile")

	word := found.word.Load()
	_, outcome := found.take(key, later, later+burst*token, token)
	require.Equal(t, again, outcome)
	require.Equal(t, word, found.word.Load())
	table.GiveBack(key, func() int64 { return token })
	require.Equal(t, word, found.word.Load())

	found.word.Store(busy)
	for _, hash := range []uint64{key, other} {
		_, outcome = found.take(hash, later, later+burst*token, token)
		require.Equal(t, again, outcome)
	}
	require.Equal(t, busy, found.word.Load())
}

// Between not finding a key and having the lock of its segment, the key can have come, or its segment have been replaced.
func TestTheKeyIsLookedForAgainUnderTheLock(t *testing.T) {
	table := New(segmentEntries)
	key := placed(1, 10, 20, 0)
	s := table.directory.Load().segment(key)
	mustTake(t, table, key, 1)
	line := epoch + burst*token
	worth := func() int64 { panic("not asked before it is clear whose word it is") }
	look := func() {
		_, outcome := table.place(s, key, epoch, line, token)
		require.Equal(t, again, outcome)
		require.Equal(t, epoch+token, wordOf(table, key))
	}
	look()
	for n := range uint64(6 * ways) { // more than there is room for, so it is split
		take(table, placed(1, 10, 20, 1000+n)|n<<63, epoch, 1)
	}
	require.NotSame(t, s, table.directory.Load().segment(key))
	look()
	require.False(t, table.giveBack(s, key, worth))
	key |= 1 << 62 // which never was there
	_, outcome := table.place(s, key, epoch, line, token)
	require.Equal(t, again, outcome, "whoever asks the old segment")
	require.False(t, table.giveBack(s, key, worth))
	s = table.directory.Load().segment(key)
	table.closed.Store(true)
	_, outcome = table.place(s, key, epoch, line, token)
	require.Equal(t, again, outcome, "and a table whose words are elsewhere")
	require.True(t, table.giveBack(s, key, worth), "nothing goes back to that one")
}

// A key that has no room lets another one move, so that both have an entry, and both keep their words.
func TestAResidentMoves(t *testing.T) {
	table := New(1)
	table.mu.Lock()
	require.Zero(t, table.maxDepth)
	table.mu.Unlock()
	resident := placed(1, 30, 40, 7) // the first at home
	require.Equal(t, 3, mustTake(t, table, resident, 3))
	for n := range uint64(6*ways - 1) {
		mustTake(t, table, placed(1, 10, 20, 1000+n), 1)
	}
	stale := table.directory.Load().segment(resident).find(resident)
	key := placed(1, 10, 20, 0)
	from, outcome := table.Take(key, epoch, epoch+burst*token, token)
	require.Equal(t, Taken, outcome)
	require.Equal(t, epoch, from)
	require.Equal(t, epoch+3*token, wordOf(table, resident))
	require.Equal(t, epoch+token, wordOf(table, key))
	require.Equal(t, frozen, stale.word.Load(), "who has found the entry before looks again")
	for n := range uint64(6*ways - 1) {
		require.Equal(t, epoch+token, wordOf(table, placed(1, 10, 20, 1000+n)))
	}
	_, outcome = table.Take(placed(1, 10, 20, 1), epoch, epoch+burst*token, token)
	require.Equal(t, OverflowTaken, outcome, "nobody else can move")
	require.Equal(t, Usage{Keys: 6*ways + 1, Overflow: 1, Lines: lines, Latest: epoch + 3*token}, usage(table, epoch))
}

func mustTake(t *testing.T, table *Table, hash uint64, n int64) int {
	t.Helper()
	from, outcome := table.Take(hash, epoch, epoch+burst*token, n*token)
	require.Equal(t, Taken, outcome)
	require.Equal(t, epoch, from)
	return int(n)
}

// What goes back to a key goes to no other one that has its entry by then, although the word is the same again. (For that, more
// must go back meanwhile than the other one takes.)
func TestNothingGoesBackToTheNextOwner(t *testing.T) {
	table := New(1)
	key, stranger := placed(1, 10, 20, 0), placed(1, 10, 20, 1)
	require.Equal(t, burst, drain(table, key, epoch))
	later := epoch + (burst-1)*token
	type found struct {
		from  int64
		taken bool
	}
	meanwhile := make(chan found, 1)
	table.GiveBack(key, func() int64 {
		go func() {
			table.GiveBack(key, func() int64 { return 2 * token })
			from, taken := take(table, stranger, later, 1)
			meanwhile <- found{from, taken}
		}()
		for range 1000 {
			runtime.Gosched()
		}
		return token
	})
	require.Equal(t, found{later, true}, <-meanwhile)
	require.Equal(t, burst-1, drain(table, stranger, later))
}
