package match

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

type detailed struct {
	code    int
	details any
}

func (d detailed) Error() string { return fmt.Sprint(d.code) }

type hostile struct{ error }

func (hostile) Is(error) bool { panic("Is") }

func TestIs(t *testing.T) {
	sentinel := errors.New("sentinel")
	mapped := detailed{1, map[string]int{}}
	require.True(t, Is(fmt.Errorf("a: %w", sentinel), sentinel))
	require.False(t, Is(sentinel, errors.New("sentinel")))
	require.False(t, Is(mapped, mapped), "cannot be compared")
	require.True(t, Is(detailed{1, 2}, detailed{1, 2}))
	require.False(t, Is(hostile{sentinel}, errors.New("another")))
}
