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

// isNoScript reports whether the server does not have the script.
func isNoScript(err error) bool { return says(err, "NOSCRIPT ") }

// A server that does not write may still be read; one that is unwell does neither. Their texts may also be inside the error of
// a script, as Redis 6 words it.
var (
	noWrites = []string{"READONLY ", "OOM ", "MISCONF ", "NOREPLICAS "}
	unwell   = []string{"LOADING ", "MASTERDOWN ", "CLUSTERDOWN ", "BUSY ", "max number of clients"}
)

// isAnswer reports whether an error came from a server that is there and works: it is about this key or this script. All other
// errors mean that the store is not to be had: it cannot be reached, is loading, is a replica that does not write, is out of
// memory, belongs to a cluster that is down, has too many clients.
func isAnswer(err error) bool {
	if errors.Is(err, errReply) {
		return true
	}
	if contains(err, noWrites) || contains(err, unwell) {
		return false
	}
	for _, answer := range []string{
		"WRONGTYPE ", "ERR ", "NOSCRIPT ", "CROSSSLOT ", "TRYAGAIN ", "NOPERM ",
		"redis: nil", "redis nil message", "valkey nil message",
	} {
		if says(err, answer) {
			return true
		}
	}
	return contains(err, []string{"user_script", keyHolds})
}

// doesNotWrite reports whether a call that was to write has failed because the server does not let it write, as far as can be
// seen. One that only reads may succeed then.
func doesNotWrite(err error) bool {
	return contains(err, noWrites) || isAnswer(err) && !isAboutKey(err)
}

func contains(err error, texts []string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(err.Error(), text) })
}

// isAboutKey reports whether an error says that something else is at the key, or that the cluster is moving it. Other keys may
// be well.
func isAboutKey(err error) bool {
	text := err.Error()
	return strings.Contains(text, "WRONGTYPE ") || strings.Contains(text, keyHolds) || says(err, "TRYAGAIN ")
}

// says reports whether an error, or one that it wraps, begins with a text.
func says(err error, text string) bool {
	switch {
	case err == nil:
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
