// Package keytable is a bounded table of one word for each of very many keys, for rate limiters per key.
//
// The word of a key is a number that grows with what the key takes: in the generic cell rate algorithm of ITU-T I.371, the
// theoretical arrival time, when its bucket will be full again. Whoever asks knows two bounds, which rise with time:
//
//	 floor               word               ceiling
//	---|-------------------|-------------------|----->
//	   |<---- missing ---->|<----- there ----->|
//
// A word is raised up to the ceiling at most. A key whose word is at the floor or below it has a full bucket, and is the same
// as a key that is not there. So the table forgets without a goroutine, a timer or a scan: a new key takes the place of any
// word below the floor. (A word at the floor stays, see overflow rule 1.)
//
// # Layout
//
//	hash of a key:  | first bits | ...            | 7 bits | 7 bits | 7 bits |
//	                      |                          |        |        |
//	                      v                        third    second    home: lines in which the key can be
//	directory:      slot 00 --+--> segment A, depth 1: all hashes that begin with 0
//	                slot 01 --+
//	                slot 10 -----> segment B, depth 2: all hashes that begin with 10
//	                slot 11 -----> segment C, depth 2
//
//	segment, 8 KiB: line 0    | hash, word | hash, word | hash, word | overflow word | lock of the segment |
//	                line 1    | hash, word | hash, word | hash, word | overflow word |
//	                ...
//	                line 127
//
// An entry is the hash of a key and its word, 16 bytes. Keys are not kept. Three entries and an overflow word make a line,
// which is one line of a processor's cache; 128 lines make a segment, without pointers, so the garbage collector has
// nothing to look at. A key can be in six lines of its segment: its home and the line beside it, and two other such pairs.
//
// A key that is there costs one compare-and-swap, and nothing is written when it is refused. All else happens under the lock
// of the segment.
//
// # When a segment is full
//
// For a key none of whose 18 entries is below the floor, the first of these steps is done that is possible (extendible
// hashing):
//
//  1. The segment is split in two, by the next bit of the hashes. If it has a single slot, the directory doubles first.
//  2. If it has the largest depth already, and an eighth of it is free, another key moves to another of its own six lines.
//  3. Otherwise the key gets no entry, and shares the overflow word of its home line with the other keys at home there that
//     have none.
//
// A segment is never changed by step 1 or 2, but replaced by copies. Before it is copied, all its words are frozen: whoever
// has found an entry in it fails to swap its word, waits for the lock, and looks again.
//
// # Overflow
//
// Whatever its moves between the overflow word and an entry, a key is never granted more than one word would grant it. The
// overflow rules:
//
//  1. Only a word strictly below the floor is evicted. A new owner that has got back all that it took is at the floor again:
//     so it never has the word that the old one had.
//  2. A new entry starts at the overflow word of its home line, if that is above the floor.
//  3. The word of an evicted entry goes into the overflow word of its own home line, for those who come with a lower floor,
//     from an older reading of the clock.
//
// So the words that decide about a key, one after the other, never go back, as if they were one. (Words also go back by
// what is returned, see [Table.GiveBack].)
//
// # What can go wrong
//
// [Table.Take] swaps the word of an entry without the lock. Should the entry have another owner by then, it has another word
// too, and the swap fails: the last word of the old owner was below the floor at which it was evicted, and the words of the
// new one are not. That holds but for [Table.GiveBack], which can lower the word of the old owner in between:
//
//	a take of key A    loads its word w, and finds that the hash is that of A
//	others             give back to A, whose word falls below the floor; evict it for B, which takes until its word is w
//	the take of A      swaps w, which is now that of B: the cost counts for B, and A is granted that much more
//
// For that, A must get back more than B takes, all between two neighbouring steps of one take. To read the hash once more
// after the swap would tell, at the price of each admission.
//
// # When the words move
//
// [Table.Move] closes the table, and moves its words to another one while it freezes one segment after the other. What is
// decided before a segment is frozen moves along. After that, each method says that the table is closed, and its caller asks
// the other one.
package keytable
