package policyredis

import "time"

// amount is tokens as time: for how many nanoseconds the shared bucket must fill until it has them. What is missing in a
// bucket, its debt, is an amount too, and falls by one nanosecond in each.
type amount int64

// horizon, 36 years, is as good as never.
const horizon amount = 1 << 60

// times returns n times the amount, or the horizon if that is more.
func (a amount) times(n int) amount {
	if n := amount(n); a <= horizon/n {
		return a * n
	}
	return horizon
}

// moment is a time by this process's own clock, since the limiter was made. The server's clock is the script's alone.
//
// A debt is kept as the moment at which it will be paid, since that does not change while the debt falls. If it is a now, it is
// paid at now.plus(a), and at another moment it is moment.until(paidAt).
type moment time.Duration

func (m moment) plus(a amount) moment { return m + moment(a) }

// until returns how long it is from m to a later moment; 0 if that is past.
func (m moment) until(later moment) amount { return max(0, amount(later-m)) }
