package policyredis

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-resilience/resilience/policy"
)

// ErrStore is the reason of a rejection when the store does not answer and the limiter has [FailClosed], and what Peek
// returns then. It does not match ratelimit.ErrLimited: nobody knows whether the limit is reached. Its [policy.Code] is
// "policyredis.store".
//
// All other rejections are those of package ratelimit: ratelimit.ErrLimited and, for a cost that can never be admitted,
// ratelimit.ErrCost.
var ErrStore = policy.NewReason("policyredis.store", "the store does not answer")

// These errors are reported to [OnError], as are those of the client.
var (
	// ErrDeadline: the store has not answered within the [Deadline].
	ErrDeadline = errors.New("policyredis: no answer within the deadline")
	// ErrForgotten: the store has answered, but it holds less debt than this process knows of: it was flushed, evicted
	// the key, or failed over to a replica that lagged behind; its clock jumped ahead; or somebody deleted the key. The
	// limit has begun anew with a fuller bucket.
	ErrForgotten = errors.New("policyredis: the store has forgotten what was taken")
	// ErrBusy: 10,000 calls to the store are running, and no other was made.
	ErrBusy = errors.New("policyredis: too many calls to the store are running")
)

// keyHolds is in the script's own error.
const keyHolds = "policyredis: the key holds"

var errReply = errors.New("policyredis: a reply that the script never gives")

// panicError is a panic of a client, which happened on a goroutine where nobody else would catch it.
func panicError(value any) error { return fmt.Errorf("policyredis: the client panicked: %v", value) }

var errExited = errors.New("policyredis: the client ended its goroutine")

// isNoScript reports whether the server does not have the script. Then the call goes on with the text of the script; only what
// comes of that has an errorKind.
func isNoScript(err error) bool { return says(err, "NOSCRIPT ") }

// errorKind is what the error of a call says about the store. It has three consequences, each with its own question. For the
// breaker: is the store to be called? For the mode: does the store decide? For store.refusesWrites: does a call that only reads
// say that the store is well?
//
//	               the breaker      store.refusesWrites, by        the mode counts
//	               is told of       a call that was to write
//	noError        a success (*)    false                          an answer (*)
//	unavailable    a failure        stays                          a failure
//	late           a failure        stays                          a failure
//	writesNothing  a failure        true                           a failure
//	otherAnswer    a success        true                           a failure
//	aboutKey       a success        stays                          a failure; a PerKey: nothing
//	busy           no call          stays                          a failure
//
// (*) nothing, while the server refuses writes: that it can be read does not say then that it is well
type errorKind uint8

const (
	noError       errorKind = iota
	unavailable             // no server is reached, or it does nothing now; also what nobody knows
	late                    // no answer within the deadline
	writesNothing           // the server can be read
	otherAnswer             // by a server that works, for every key: NOPERM, an unknown command, a bad reply
	aboutKey                // something else is there, or the cluster is moving it; other keys may be well
	busy                    // the call was not made
)

// The beginnings of what a server says. Where it may be inside the error of a script, as Redis 6 words it, that is enough.
var (
	inWritesNothing   = []string{"READONLY ", "OOM ", "MISCONF ", "NOREPLICAS "}
	inUnavailable     = []string{"LOADING ", "MASTERDOWN ", "CLUSTERDOWN ", "BUSY ", "max number of clients"}
	inAboutKey        = []string{"WRONGTYPE ", keyHolds}
	inOtherAnswer     = []string{"user_script"}
	beginsAboutKey    = []string{"TRYAGAIN "}
	beginsOtherAnswer = []string{
		"ERR ", "NOSCRIPT ", "CROSSSLOT ", "NOPERM ", "redis: nil", "redis nil message", "valkey nil message",
	}
)

// kindOf returns the kind of a call's error.
func kindOf(err error) errorKind {
	switch {
	case err == nil:
		return noError
	case err == ErrDeadline: //nolint:errorlint // the very value
		return late
	case err == ErrBusy: //nolint:errorlint // the very value
		return busy
	case errors.Is(err, errReply):
		return otherAnswer
	case contains(err, inWritesNothing):
		return writesNothing
	case contains(err, inUnavailable):
		return unavailable
	case contains(err, inAboutKey) || begins(err, beginsAboutKey):
		return aboutKey
	case contains(err, inOtherAnswer) || begins(err, beginsOtherAnswer):
		return otherAnswer
	}
	return unavailable
}

// isAnswer reports whether the server is there and works.
func (k errorKind) isAnswer() bool { return k == otherAnswer || k == aboutKey }

func contains(err error, texts []string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(err.Error(), text) })
}

func begins(err error, texts []string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return says(err, text) })
}

// says reports whether an error, or one that it wraps, begins with a text.
func says(err error, text string) bool {
	switch {
	case err == nil: // it wraps nothing
		return false
	case strings.HasPrefix(err.Error(), text):
		return true
	}
	switch wraps := err.(type) { //nolint:errorlint // this is what errors.Is does
	case interface{ Unwrap() error }:
		return says(wraps.Unwrap(), text)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(wraps.Unwrap(), func(err error) bool { return says(err, text) })
	}
	return false
}
