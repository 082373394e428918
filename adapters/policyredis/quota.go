package policyredis

import (
	"math"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// quota is a rate, a burst and a number of peers as amounts.
//
// For example, with 100 per second, a burst of 20 and 10 peers, a token is 10 ms and the capacity 200 ms. The share of a
// process holds 2 tokens, each of which comes back in 100 ms there: its capacity is 200 ms, too.
type quota struct {
	token    amount
	capacity amount // the burst: as large as a debt can be
	portion  portion

	takeOne          question // for a token, as nearly every attempt asks
	takeOneArguments []any
}

// portion is what a share holds. It fills peers times more slowly than the shared bucket, so in it each amount is peers times
// as much.
type portion struct {
	peers    int
	capacity amount // in the share
}

// inShare returns what an amount of the shared bucket is in the share.
func (p portion) inShare(a amount) amount { return a.times(p.peers) }

// amountOf returns the amount of tokens, which are not more than the burst.
func (q *quota) amountOf(tokens int) amount { return q.token * amount(tokens) }

// tokens returns how many there are beside a debt.
func (q *quota) tokens(debt amount) int { return int(max(0, (q.capacity-debt)/q.token)) }

// checkQuota makes the quota, or notes why there is none.
func (c *config) checkQuota(problems *policy.ConfigError) {
	slowest := float64(time.Second) / float64(MaxRefill)
	switch {
	case !(c.perSecond >= slowest && c.perSecond <= MaxRate): // NaN too
		problems.Add("rate %v per second: must be from %.3g to %v", c.perSecond, slowest, float64(MaxRate))
		return
	case c.burst < 1:
		problems.Add("burst %d: must be positive", c.burst)
		return
	case c.peers < 1:
		problems.Add("FailLocal(%d): must be at least 1", c.peers)
		return
	}
	// Rounded up, so that the rate is never exceeded; but not for the last bits of a rate such as 100/60.
	token := amount(math.Ceil(float64(time.Second) / c.perSecond * (1 - 1e-15)))
	burst, peers := amount(c.burst), amount(c.peers)
	burstOfShare := max(1, burst/peers)
	switch {
	case burst > maxCapacity/token:
		problems.Add("burst %d at %v per second: an empty bucket must be full again within %v", c.burst, c.perSecond, MaxRefill)
		return
	case peers > maxCapacity/token/burstOfShare:
		problems.Add("FailLocal(%d): the share must refill within %v", c.peers, MaxRefill)
		return
	}
	q := quota{
		token: token, capacity: token * burst,
		portion: portion{peers: c.peers, capacity: token * peers * burstOfShare},
	}
	q.takeOne = q.takeQuestion(token)
	q.takeOneArguments = q.takeOne.arguments()
	c.quota = q
}
