package hedge_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
)

// gaveUp is what a retry makes of a refusal that has stopped it after failed attempts.
func gaveUp(last error) error {
	return fmt.Errorf("gave up: %w", errors.Join(&policy.Rejection{Kind: "test"}, last))
}

func TestFault244_TheErrorsOfAllAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, errs := range [][2]error{{gaveUp(errBackend), errOther}, {errOther, gaveUp(errBackend)}, {gaveUp(errBackend), gaveUp(errOther)}} {
			op, _ := script(step{takes: 30 * ms, err: errs[0]}, step{takes: ms, err: errs[1]})
			_, err := resilience.Do(t.Context(), after(10*ms), op)
			require.ErrorIs(t, err, errBackend)
			require.ErrorIs(t, err, errOther)
		}
	})
}

// sameKind matches every other one, whatever it wraps.
type sameKind struct{ error }

func (sameKind) Is(target error) bool { _, ok := target.(sameKind); return ok }
func (s sameKind) Unwrap() error      { return s.error }

// The sibling: an error that matches another one by a method Is does not say what that wraps.
func TestFault244_AnErrorThatOnlyMatchesIsNotTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op, _ := script(step{takes: 30 * ms, err: sameKind{errBackend}}, step{takes: ms, err: sameKind{errOther}})
		_, err := resilience.Do(t.Context(), after(10*ms), op)
		require.ErrorIs(t, err, errBackend)
		require.ErrorIs(t, err, errOther)
	})
}

// nilError dereferences its receiver.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }
func (e *nilError) Is(error) bool { return e.text != "" }

// hostile dereferences it in every method that others may ask for.
type hostile struct{ nilError }

func (e *hostile) Unwrap() error       { return errors.New(e.text) }
func (e *hostile) Class() policy.Class { return policy.Class(len(e.text)) }
func (e *hostile) Code() string        { return e.text }

func TestFault269_ErrorsWhoseMethodsPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, err := range []error{(*nilError)(nil), fmt.Errorf("wrapped: %w", (*nilError)(nil))} {
			op, _ := script(step{takes: 30 * ms, err: err}, step{takes: ms, err: errOther})
			_, got := resilience.Do(t.Context(), after(10*ms, hedge.AfterFailure()), op)
			require.IsType(t, &hedge.Error{}, got)
			require.Contains(t, got.Error(), "hedged attempts failed: other backend failed; ")
		}
	})
	for _, inner := range []error{(*nilError)(nil), (*hostile)(nil), fmt.Errorf("wrapped: %w", (*hostile)(nil))} {
		err := &hedge.Error{Errs: []error{errOther, inner}}
		require.Contains(t, err.Error(), "hedged attempts failed: other backend failed; ")
		require.Equal(t, policy.Transient, err.Class())
		require.Empty(t, err.Code())
	}
}

func TestFault271_OneLine(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	errs := make([]error, 11)
	for i := range errs {
		errs[i] = fmt.Errorf("a\nb\r\nc%d %s", i, long)
	}
	text := (&hedge.Error{Errs: errs}).Error()
	require.NotContains(t, text, "\n")
	require.NotContains(t, text, "\r")
	require.Less(t, len(text), 6000)
	require.Contains(t, text, "a; b; c10 xxx")
}

func TestAnErrorAsJSON(t *testing.T) {
	for want, e := range map[string]*hedge.Error{
		`{"errs":["backend failed","other; backend"]}`:                      {Errs: []error{errBackend, errors.New("other\nbackend")}},
		`{"code":"hedge.lost","errs":["another attempt decided the call"]}`: {Errs: []error{hedge.ErrLost}},
		`{"errs":["\u003cnil\u003e"]}`:                                      {Errs: []error{(*nilError)(nil)}},
		`{"errs":[]}`:                                                       {},
	} {
		text, err := json.Marshal(e)
		require.NoError(t, err)
		require.JSONEq(t, want, string(text))
	}
}
