package setting_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestList(t *testing.T) {
	var list setting.List
	require.False(t, list.Given("Extra"))
	list.Data("Extra", setting.Arg("n", 1))
	list.Code("OnPanic")
	list.Data("Extra", setting.Arg("n", 2))
	list.Code("OnPanic")
	require.True(t, list.Given("Extra"))
	require.False(t, list.Given("Name"))
	require.Equal(t, setting.List{
		{Name: "Extra", Args: []policy.Argument{{Name: "n", Value: 2}}}, {Name: "OnPanic", Code: true},
	}, list)
}
