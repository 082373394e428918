package policyredis

import (
	"context"
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
	// the key, or failed over to a replica that lagged behind. The limit has begun anew with a fuller bucket.
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

// isAnswer reports whether an error came from a server that is there and works: it is about this key or this script. All other
// errors mean that the store is not to be had: it cannot be reached, is loading, is a replica that does not write, is out of
// memory, belongs to a cluster that is down, has too many clients.
func isAnswer(err error) bool {
	if errors.Is(err, errReply) {
		return true
	}
	text := err.Error()
	for _, unwell := range []string{
		"READONLY ", "LOADING ", "OOM ", "MASTERDOWN ", "CLUSTERDOWN ", "MISCONF ", "NOREPLICAS ", "BUSY ", "max number of clients",
	} {
		if strings.Contains(text, unwell) { // also inside the error of a script, as Redis 6 words it
			return false
		}
	}
	for _, answer := range []string{
		"WRONGTYPE ", "ERR ", "NOSCRIPT ", "CROSSSLOT ", "TRYAGAIN ", "NOPERM ",
		"redis: nil", "redis nil message", "valkey nil message",
	} {
		if says(err, answer) {
			return true
		}
	}
	return strings.Contains(text, "user_script") || strings.Contains(text, keyHolds)
}

// isAboutKey reports whether an error says that something else is at the key, or that the cluster is moving it. Other keys may
// be well.
func isAboutKey(err error) bool {
	text := err.Error()
	return strings.Contains(text, "WRONGTYPE ") || strings.Contains(text, keyHolds) || says(err, "TRYAGAIN ")
}

// says reports whether an error, or one that it wraps, begins with a text.
func says(err error, text string) bool {
	if err == nil || strings.HasPrefix(err.Error(), text) {
		return err != nil
	}
	switch wraps := err.(type) { //nolint:errorlint // this is what errors.Is does
	case interface{ Unwrap() error }:
		return says(wraps.Unwrap(), text)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(wraps.Unwrap(), func(err error) bool { return says(err, text) })
	}
	return false
}

// ended returns the error of a call whose own context has ended, or nil.
func ended(ctx context.Context) error { return policy.ContextError(ctx) }
