// Package minheap is a heap of numbers, such as the moments at which something ends. container/heap would allocate for each
// of them.
package minheap

import "cmp"

// Heap has the smallest number first.
type Heap[T cmp.Ordered] []T

// Push puts x in.
func (h *Heap[T]) Push(x T) {
	*h = append(*h, x)
	all := *h
	i := len(all) - 1
	for i > 0 && all[(i-1)/2] > x {
		all[i] = all[(i-1)/2]
		i = (i - 1) / 2
	}
	all[i] = x
}

// Replace puts x in the place of the smallest.
func (h Heap[T]) Replace(x T) {
	i := 0
	for child := 1; child < len(h); child = 2*i + 1 {
		if child+1 < len(h) && h[child+1] < h[child] {
			child++
		}
		if h[child] >= x {
			break
		}
		h[i] = h[child]
		i = child
	}
	h[i] = x
}

// Drop takes out what is at most x.
func (h *Heap[T]) Drop(x T) {
	for len(*h) > 0 && (*h)[0] <= x {
		last := len(*h) - 1
		moved := (*h)[last]
		if *h = (*h)[:last]; last > 0 {
			h.Replace(moved)
		}
	}
}
