package policyredis

import (
	"time"

	"github.com/go-resilience/resilience/policy"
)

// receipt says what an attempt has taken, and from where. It travels in the attempt's ticket.
type receipt struct {
	amount     amount
	takenAt    moment
	age        amount // for how long it was in the lot before: in Redis it is worth that much less, but not in the share
	generation uint64 // of the configuration
	fromRedis  bool   // by this attempt or before it: for a lot, or for an attempt that was not made
	fromShare  bool   // the share was charged with the whole amount as well; if with less, nothing goes back to it
	overflow   bool   // from the bucket of keys for which there was no place then
}

// A ticket's Period has, from the lowest bit on: these flags, how much the lot has lost of the amount, and the generation. A loss
// is in microseconds, rounded down, and cut off after 67 s, somewhat more than a lot is kept. So the share may get back a little
// less than it gave, while Number, what is left of the amount, is exact.
const (
	ticketFromRedis = 1 << iota
	ticketFromShare
	ticketOverflow
	ticketFlags = iota

	ticketLost    = 26
	ticketMaxLost = 1<<ticketLost - 1
)

// ticket returns the receipt as a ticket. Without a receipt, the ticket is the zero one.
func (r receipt) ticket() policy.Ticket {
	lost := min(r.age, r.amount)
	period := r.generation<<ticketLost | min(uint64(lost)/uint64(time.Microsecond), ticketMaxLost)
	period <<= ticketFlags
	if r.fromRedis {
		period |= ticketFromRedis
	}
	if r.fromShare {
		period |= ticketFromShare
	}
	if r.overflow {
		period |= ticketOverflow
	}
	return policy.Ticket{Number: int64(r.amount - lost), Start: time.Duration(r.takenAt), Period: period}
}

// receiptOf returns the receipt in a ticket, and false if the attempt has taken nothing.
func receiptOf(t policy.Ticket) (_ receipt, ok bool) {
	lost := amount(t.Period>>ticketFlags&ticketMaxLost) * amount(time.Microsecond)
	return receipt{
		amount:     amount(t.Number) + lost,
		takenAt:    moment(t.Start),
		age:        lost,
		generation: t.Period >> (ticketFlags + ticketLost),
		fromRedis:  t.Period&ticketFromRedis != 0,
		fromShare:  t.Period&ticketFromShare != 0,
		overflow:   t.Period&ticketOverflow != 0,
	}, t.Period != 0
}
