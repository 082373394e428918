// Package bubble lets an ordinary program run code in virtual time, in a bubble of [testing/synctest].
//
// In a bubble time.Now, timers, tickers and the deadlines of contexts use a clock that stands still while any
// goroutine of the bubble can run, and jumps to the next timer when none can. An hour costs as much real time as the
// work that is done in it.
package bubble
