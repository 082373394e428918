// Package refusals says what a server makes of a refusal by its pipeline, for HTTP and for gRPC.
package refusals

import (
	"errors"
	"strings"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

// IsQuota reports whether a rate limit has refused: this client asks too often. Every other refusal is about the server.
func IsQuota(err error) bool { return strings.HasPrefix(policy.Code(err), "ratelimit.") }

// IsLasting reports whether no waiting ends the refusal: the cost is above the burst, no more tokens will come, or a breaker
// was opened by hand. A client must not be told when to come back.
func IsLasting(err error) bool {
	switch policy.Code(err) {
	case "ratelimit.cost", "ratelimit.exhausted":
		return true
	}
	return errors.Is(err, breaker.ErrForced)
}
