package minheap_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/lab/internal/minheap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHeapIsASortedList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var heap minheap.Heap[int]
		var sorted []int
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			x := rapid.IntRange(0, 50).Draw(t, "x")
			switch step := rapid.IntRange(0, 2).Draw(t, "step"); {
			case step == 0 && len(sorted) > 0:
				heap.Replace(x)
				sorted[0] = x
			case step == 1:
				heap.Drop(x)
				sorted = slices.DeleteFunc(sorted, func(y int) bool { return y <= x })
			default:
				heap.Push(x)
				sorted = append(sorted, x)
			}
			slices.Sort(sorted)
			require.Len(t, heap, len(sorted))
			if len(sorted) > 0 {
				require.Equal(t, sorted[0], heap[0])
			}
		}
	})
}
