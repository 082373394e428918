package fallback_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/fallback"
	"github.com/go-resilience/resilience/policy"
)

func TestFault280_SnapshotsAreReadable(t *testing.T) {
	f := fallback.Value(backend(), 1, fallback.Name("guest"))
	_, err := f.Do(t.Context(), answer(0, errBackend))
	require.NoError(t, err)
	s := f.Snapshot()
	require.Equal(t, fallback.Snapshot{Name: "guest", Answered: 1}, s)
	text, err := json.Marshal(s)
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"guest","answered":1,"failed":0,"skipped":0}`, string(text))
	live, err := json.Marshal(f)
	require.NoError(t, err)
	require.JSONEq(t, string(text), string(live))
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", s)
	require.Contains(t, log.String(), "v.name=guest v.answered=1 v.failed=0 v.skipped=0")
	require.Equal(t, "{guest 1 0 0}", fmt.Sprint(s))
}

func TestCodesAndClass(t *testing.T) {
	_, err := fallback.LastGood(backend(), time.Minute).Do(t.Context(), answer(0, errBackend))
	require.Equal(t, "fallback.no_last_good", policy.Code(err))
	failing := fallback.Func(backend(), func(context.Context, error) (int, error) { return 0, errCache })
	_, err = failing.Do(t.Context(), answer(0, errBackend))
	require.Equal(t, "fallback.failed", policy.Code(err))
	require.Equal(t, policy.Unclassified, policy.ClassOf(err))
	_, err = failing.Do(t.Context(), answer(0, &policy.Rejection{Kind: "test"}))
	require.Equal(t, policy.Ignored, policy.ClassOf(err), "as without the fallback")
}

// nilError dereferences its receiver.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

func TestFault271_OneLine(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	for _, err := range []error{
		&fallback.Error{Err: fmt.Errorf("a\nb %s", long), Fallback: errors.New("c\r\nd")},
		&fallback.Error{Err: (*nilError)(nil), Fallback: errors.New(long + "\n")},
	} {
		require.NotContains(t, err.Error(), "\n")
		require.NotContains(t, err.Error(), "\r")
		require.Less(t, len(err.Error()), 1100)
	}
}

func TestFault268_ZeroValues(t *testing.T) {
	for _, method := range []func(*fallback.Policy[int]){
		func(f *fallback.Policy[int]) { _, _ = f.Do(context.Background(), answer(0, nil)) },
		func(f *fallback.Policy[int]) { _, _, _ = f.Open(context.Background(), answer(0, nil)) },
		func(f *fallback.Policy[int]) { f.Snapshot() },
		func(f *fallback.Policy[int]) { _ = f.String() },
	} {
		require.PanicsWithValue(t, "fallback: a Policy that was not made by Value, Func or LastGood", func() { method(&fallback.Policy[int]{}) })
	}
}

func TestFault258_TheLaterOptionCounts(t *testing.T) {
	always := fallback.If(func(error) bool { return true })
	require.NoError(t, fallback.Validate(1, fallback.If(nil), always))
	require.Error(t, fallback.Validate(1, always, fallback.If(nil)))
}

func TestAnErrorAsJSON(t *testing.T) {
	for want, e := range map[string]*fallback.Error{
		`{"code":"fallback.failed","err":"backend failed; twice","fallback":"cache"}`:                {Err: errors.New("backend failed\ntwice"), Fallback: errors.New("cache")},
		`{"code":"fallback.no_last_good","err":"","fallback":"no good result that is young enough"}`: {Fallback: fallback.ErrNoLastGood},
		`{"code":"fallback.failed","err":"\u003cnil\u003e","fallback":""}`:                           {Err: (*nilError)(nil)},
	} {
		text, err := json.Marshal(e)
		require.NoError(t, err)
		require.JSONEq(t, want, string(text))
	}
}
