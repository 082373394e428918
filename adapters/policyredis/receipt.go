package policyredis

import (
	"time"

	"github.com/go-resilience/resilience/policy"
)

// receipt says what an attempt has taken, and from where. It travels in the attempt's ticket.
type receipt struct {
	amount     amount
	takenAt    moment
	generation uint64 // of the configuration
	fromRedis  bool   // by this attempt or before it: for a lot, or for an attempt that was not made
	fromShare  bool   // the share was charged with the whole amount as well; if with less, nothing goes back to it
	overflow   bool   // from the bucket of keys for which there was no place then
}

// A ticket's Period has the generation above these bits.
const (
	ticketFromRedis = 1 << iota
	ticketFromShare
	ticketOverflow
	ticketBits = iota
)

// ticket returns the receipt as a ticket. Without a receipt, the ticket is the zero one.
func (r receipt) ticket() policy.Ticket {
	period := r.generation << ticketBits
	if r.fromRedis {
		period |= ticketFromRedis
	}
	if r.fromShare {
		period |= ticketFromShare
	}
	if r.overflow {
		period |= ticketOverflow
	}
	return policy.Ticket{Number: int64(r.amount), Start: time.Duration(r.takenAt), Period: period}
}

// receiptOf returns the receipt in a ticket, and false if the attempt has taken nothing.
func receiptOf(t policy.Ticket) (_ receipt, ok bool) {
	return receipt{
		amount:     amount(t.Number),
		takenAt:    moment(t.Start),
		generation: t.Period >> ticketBits,
		fromRedis:  t.Period&ticketFromRedis != 0,
		fromShare:  t.Period&ticketFromShare != 0,
		overflow:   t.Period&ticketOverflow != 0,
	}, t.Period != 0
}
