package keytable

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// place returns the hash of key number n of those that have these lines, in the first segment until it is split 30 times.
func placed(home, second, third, n uint64) uint64 {
	return n<<(3*lineBits) | third<<(2*lineBits) | second<<lineBits | home
}

// The words of these tests: buckets of burst tokens that cost a second each.
const (
	token = int64(1000)
	burst = 4
	epoch = int64(1_000_000)
)

// take takes n tokens at a moment.
func take(t *Table, hash uint64, now, n int64) (from int64, taken bool) {
	from, outcome := t.Take(hash, now, now+burst*token, n*token)
	return from, outcome == Taken || outcome == OverflowTaken
}

// drain takes tokens until there are none, or very many were taken.
func drain(t *Table, hash uint64, now int64) (n int) {
	for n < 1000 {
		if _, ok := take(t, hash, now, 1); !ok {
			break
		}
		n++
	}
	return n
}

// crowd fills all entries that a key of three lines can have, with words until the given moment. Neither they nor the
// key can move: all their lines are the same.
func crowd(t *Table, home, second, third uint64, now, until int64) {
	for n := range uint64(6 * ways) {
		if from, outcome := t.Take(placed(home, second, third, 1000+n), now, until, until-now); outcome != Taken || from != now {
			panic("no room")
		}
	}
}

// usage returns what is in a table whose words are there.
func usage(t *Table, now int64) Usage {
	u, closed := t.Usage(now)
	if closed {
		panic("the words are in another table")
	}
	return u
}
