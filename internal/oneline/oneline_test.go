package oneline_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience/internal/oneline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nilError dereferences its receiver.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

type panics struct{}

func (panics) Error() string { panic("in Error") }

func TestOf(t *testing.T) {
	for want, err := range map[string]error{
		"failed":    errors.New("failed"),
		"a; b":      errors.Join(errors.New("a"), errors.New("b")),
		"a; b; c":   errors.New("a\r\nb\n\n\u2028c\n"),
		"<nil>":     (*nilError)(nil),
		"caf\u00e9": errors.New("caf\u00e9"),
	} {
		require.Equal(t, want, oneline.Of(err))
	}
	require.Contains(t, oneline.Of(panics{}), "PANIC=Error method: in Error")
	require.Equal(t, "<nil>", oneline.Of(nil))
}

func FuzzOf(f *testing.F) {
	f.Add("failed\nagain")
	f.Add(strings.Repeat("é", 300))
	f.Add(strings.Repeat("\xbf", 600))
	f.Fuzz(func(t *testing.T, text string) {
		got := oneline.Of(errors.New(text))
		if len(got) > 500 || strings.ContainsAny(got, "\n\r\v\f\u0085\u2028\u2029") || utf8.ValidString(text) && !utf8.ValidString(got) {
			t.Fatalf("%q", got)
		}
		if wrapped := oneline.Of(fmt.Errorf("%s", got)); wrapped != got {
			t.Fatalf("%q is not %q", wrapped, got)
		}
	})
}
