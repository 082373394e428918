package keytype_test

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience/internal/keytype"
	"github.com/go-resilience/resilience/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheck(t *testing.T) {
	for _, good := range []any{"", 1, true, [3]string{}, struct{ a *int }{}, netip.Addr{}, netip.Prefix{}} {
		var problems policy.ConfigError
		keytype.Check(reflect.TypeOf(good), &problems)
		require.NoError(t, problems.Err(), "%T", good)
	}
	for _, bad := range []any{1.5, 1i, [2]float32{}, struct{ a any }{}, struct{ a struct{ b [1]error } }{}} {
		var problems policy.ConfigError
		keytype.Check(reflect.TypeOf(bad), &problems)
		require.ErrorContains(t, problems.Err(), "contains a", "%T", bad)
	}
}
