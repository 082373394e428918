package policyredis

import "slices"

// refunds are what was taken from Redis for attempts that were not made. They pay for other attempts of this process.
//
// A refund is worth the amount less the time since it was taken. So it is kept as the moment from which on it is worth nothing,
// and they are in order. Say an attempt takes 100 ms at t = 0 and is not made, and at t = 30 ms another one costs 100 ms: the
// refund pays 70 ms of it, and 30 ms are taken in Redis. Then is owed there:
//
//	owed by others at t = 0             0 ms    20 ms    50 ms
//	owed after the second attempt     100 ms   120 ms   150 ms
//	had the first one never been      100 ms   100 ms   120 ms
//
// It is never less than in the last line. The two debts differ by 100 ms at first, and come closer only while the smaller one
// is 0, by a nanosecond in each: by t = 30 ms they differ by 70 ms at least, which is what the refund pays. That holds for each
// refund, whatever else was taken by whomever and was not used. So processes need not know of each other's refunds, and no
// window holds more than the limit.
type refunds []moment

// maxRefunds bounds their number. Of more, those that are worth the most are kept.
const maxRefunds = 32

// expire drops those that are worth nothing any more.
func (r *refunds) expire(now moment) {
	n := 0
	for n < len(*r) && (*r)[n] <= now {
		n++
	}
	*r = slices.Delete(*r, 0, n)
}

// spend takes up to an amount out of them, out of those first that are worth the least.
func (r *refunds) spend(now moment, most amount) (spent amount) {
	r.expire(now)
	for spent < most && len(*r) > 0 {
		first := &(*r)[0]
		worth, rest := now.until(*first), most-spent
		if worth > rest {
			*first -= moment(rest)
			return most
		}
		spent += worth
		*r = slices.Delete(*r, 0, 1)
	}
	return spent
}

// add adds one that is worth something until a later moment.
func (r *refunds) add(now, until moment) {
	r.expire(now)
	if len(*r) == maxRefunds {
		if until <= (*r)[0] {
			return
		}
		*r = slices.Delete(*r, 0, 1)
	}
	i, _ := slices.BinarySearch(*r, until)
	*r = slices.Insert(*r, i, until)
}
