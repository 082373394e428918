// Package keytable is a bounded table of one word for each of very many keys, for rate limiters per key.
//
// The word of a key is a moment in time: when its bucket will be full again (in the generic cell rate algorithm of ITU-T
// I.371, the theoretical arrival time). A key whose word lies in the past is the same as a key that is not there, so the
// table forgets without a goroutine, a timer or a scan: a new key takes the place of any word in the past.
//
// # Layout
//
// An entry is the hash of a key and its word, 16 bytes. Keys are not kept. Three entries make a line, which is one line of a
// processor's cache, with the overflow word of the keys that have their home there. 128 lines make a segment of 8 KiB
// without pointers, so the garbage collector has nothing to look at. Segments are found by the first bits of the hash
// (extendible hashing: a full segment is split in two). A key can be in six lines of its segment: its home and the line
// beside it, and two other pairs like that.
//
// A key that is there costs one compare-and-swap, and nothing is written when it is refused. All else happens under the lock
// of the segment.
//
// # Overflow
//
// When no more segments may be made, and every entry that a new key could have holds a word that matters, the key shares
// an overflow word with the other keys of its home line that have no entry.
//
// Whatever its moves between the overflow word and an entry, a key is never granted more than one word would grant it:
//
//  1. Only a word strictly in the past is evicted.
//  2. A new entry starts at the overflow word of its home line, if that is later than now.
//  3. The word of an evicted entry goes into the overflow word of its own home line, for those who come with an older reading
//     of the clock.
//
// So the words that decide about a key, one after the other, never go back, as if they were one. (Words also go back by
// what is returned, see [Table.GiveBack].)
package keytable
