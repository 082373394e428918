// Package logs reads the logs of real traffic: one [Record] for each line, or for each attempt where a line tells of
// several, whatever program wrote it.
//
// [Open] finds out which format a file has, from its first lines, unpacks gzip, and returns a [Source] of records. Of the
// file it keeps one line. What each format means for when a request began, how long it took and whether it failed is at its
// reader; docs/replay.md has it for users.
//
// A file is outside input. A line that cannot be read is counted, never guessed at; a file of which too much is like that
// ends with a [*BadLinesError], one that is not a log of a known format with a [*FormatError], one that cannot be read to
// its end with a [*ReadError].
package logs
