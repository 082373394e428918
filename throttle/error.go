package throttle

import "github.com/go-resilience/resilience/policy"

// ErrThrottled is matched by the rejections of a [Throttle]. They match [policy.ErrRejected] too,
// and their code is "throttle.throttled". They do not say when to come back: the next attempt may
// be let through.
var ErrThrottled = policy.NewReason("throttle.throttled", "throttled: too few attempts are accepted")
