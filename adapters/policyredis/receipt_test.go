package policyredis

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A ticket holds a receipt: exactly what is left of it in Redis, and never more than was taken of the share.
func TestReceiptInATicket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := receipt{
			amount:     amount(rapid.Int64Range(1000, int64(maxCapacity)).Draw(t, "amount")),
			takenAt:    moment(rapid.Int64Range(0, 1<<60).Draw(t, "taken at")),
			age:        amount(rapid.Int64Range(0, int64(2*time.Minute)).Draw(t, "age")),
			generation: rapid.Uint64Range(0, 1<<35-1).Draw(t, "generation"),
			fromRedis:  true,
			fromShare:  rapid.Bool().Draw(t, "from the share"),
			overflow:   rapid.Bool().Draw(t, "overflow"),
		}
		got, ok := receiptOf(r.ticket())
		require.True(t, ok)
		require.Equal(t, max(0, r.amount-r.age), got.amount-got.age)
		require.LessOrEqual(t, got.amount, r.amount)
		if r.age <= amount(time.Minute) { // as long as a lot is kept
			require.Less(t, r.amount-got.amount, amount(time.Microsecond))
		}
		got.amount, got.age = r.amount, r.age
		require.Equal(t, r, got)
	})
	_, ok := receiptOf(receipt{}.ticket())
	require.False(t, ok)
}
