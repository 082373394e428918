package policyredis

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The numbers in the comments of quota and amount.
func TestQuotaByExample(t *testing.T) {
	cfg, problems := configure(100, 20, []Option{FailLocal(10)})
	require.NoError(t, problems.Err())
	ms := func(n time.Duration) amount { return amount(n * time.Millisecond) }
	require.Equal(t, ms(10), cfg.quota.token)
	require.Equal(t, ms(200), cfg.quota.capacity)
	require.Equal(t, ms(30), cfg.quota.amountOf(3))
	require.Equal(t, ms(100), cfg.quota.portion.inShare(cfg.quota.token))
	require.Equal(t, ms(200), cfg.quota.portion.capacity)

	slow, _ := configure(1e-3, 3, nil) // and its bucket was emptied, before the rate was changed
	fast, _ := configure(MaxRate, 1, nil)
	require.Zero(t, fast.quota.tokens(slow.quota.capacity), "so many are missing that an int of 32 bits does not hold it")

	require.Equal(t, 17, cfg.quota.tokens(cfg.quota.amountOf(3)))
	require.Equal(t, 16, cfg.quota.tokens(cfg.quota.amountOf(3)+1), "a token is there or not")
	require.Zero(t, cfg.quota.tokens(2*cfg.quota.capacity), "the burst was larger before")
	require.Equal(t, horizon, maxCapacity.times(1000))
}

// A debt is kept as the moment at which it is paid.
func TestMoment(t *testing.T) {
	paidAt := moment(10).plus(30)
	require.EqualValues(t, 40, paidAt)
	require.EqualValues(t, 30, moment(10).until(paidAt))
	require.EqualValues(t, 5, moment(35).until(paidAt))
	require.Zero(t, moment(41).until(paidAt))
}
