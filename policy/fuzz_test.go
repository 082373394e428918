package policy_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// hinting is an error that may know when to come back, and may wrap others.
type hinting struct {
	wait  time.Duration
	knows bool
	inner []error
}

func (h hinting) Error() string                     { return fmt.Sprint(h.wait, h.knows) }
func (h hinting) RetryAfter() (time.Duration, bool) { return h.wait, h.knows }
func (h hinting) Unwrap() []error                   { return h.inner }

// hollow is an error that says it wraps something, and does not.
type hollow struct{}

func (hollow) Error() string { return "hollow" }
func (hollow) Unwrap() error { return nil }

// treeOf makes a tree of errors out of bytes, and the hints in it, in the order in which a reader meets them.
func treeOf(data []byte) (hints []time.Duration, tree error) {
	type branch struct {
		err   error
		hints []time.Duration
	}
	var stack []branch
	pop := func() branch {
		if len(stack) == 0 {
			return branch{err: errors.New("leaf")}
		}
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		return top
	}
	for len(data) > 0 {
		what := data[0]
		data = data[1:]
		var number [8]byte
		wait := func() time.Duration {
			data = data[copy(number[:], data):]
			return time.Duration(binary.LittleEndian.Uint64(number[:]))
		}
		var b branch
		switch what % 7 {
		case 0:
			b.err = hollow{}
		case 1:
			d := wait()
			b = branch{hinting{wait: d, knows: true}, []time.Duration{d}}
		case 2:
			b.err = hinting{wait: wait()}
		case 3:
			inner := pop()
			b = branch{fmt.Errorf("wrapped: %w", inner.err), inner.hints}
		case 4:
			first, second := pop(), pop()
			b = branch{errors.Join(first.err, nil, second.err), append(first.hints[:len(first.hints):len(first.hints)], second.hints...)}
		case 5:
			d, inner := wait(), pop()
			b = branch{hinting{d, true, []error{nil, inner.err}}, append([]time.Duration{d}, inner.hints...)}
		case 6:
			inner := pop()
			b = branch{hinting{inner: []error{inner.err}}, inner.hints}
		}
		stack = append(stack, b)
	}
	top := pop()
	return top.hints, top.err
}

// Whatever somebody else's errors say: the first hint counts, and it is never negative. A rejection may carry any
// moment: the wait is never negative and never beyond it.
func FuzzRetryAfter(f *testing.F) {
	hour := binary.LittleEndian.AppendUint64([]byte{1}, uint64(time.Hour))
	f.Add([]byte{}, int64(0), int64(0))
	f.Add(hour, int64(1<<62), int64(999_999_999))
	f.Add(append(hour, 3, 3), int64(-1<<62), int64(-1))
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 4}, int64(-62135596800), int64(0))
	f.Add(append([]byte{0, 2, 9, 9, 9, 9, 9, 9, 9, 9, 6, 4}, append(hour, 4, 5, 0, 0, 0, 0, 0, 0, 0, 0x80)...), int64(1<<33), int64(1))
	f.Fuzz(func(t *testing.T, data []byte, seconds, nanoseconds int64) {
		hints, tree := treeOf(data)
		wait, known := policy.RetryAfter(tree)
		if known != (len(hints) > 0) {
			t.Fatalf("known: %v, of %v", known, hints)
		}
		if known && wait != max(0, hints[0]) || !known && wait != 0 {
			t.Fatalf("%v, of %v", wait, hints)
		}

		r := &policy.Rejection{Kind: "gate", Until: time.Unix(seconds, nanoseconds), Reason: tree}
		most := max(0, time.Until(r.Until))
		wait, known = r.RetryAfter()
		least := max(0, time.Until(r.Until))
		if known == r.Until.IsZero() || known && (wait < least || wait > most) {
			t.Fatalf("%v, %v, want from %v to %v", wait, known, least, most)
		}
		if known != strings.HasSuffix(r.Error(), ")") {
			t.Fatalf("%q", r.Error())
		}
	})
}
