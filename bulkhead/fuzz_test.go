package bulkhead_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
)

// What Validate accepts, New accepts, and works.
func FuzzValidate(f *testing.F) {
	f.Add(1, 1, int64(time.Second), 1, true)
	f.Add(0, 0, int64(0), 0, false)
	f.Add(bulkhead.MaxLimit, bulkhead.MaxLimit, int64(1)<<62, bulkhead.MaxLimit, true)
	f.Fuzz(func(t *testing.T, limit, length int, wait int64, weight int, queue bool) {
		options := []bulkhead.Option{bulkhead.WeightOf(func(context.Context) int { return weight })}
		if queue {
			options = append(options, bulkhead.Queue(length, time.Duration(wait)))
		}
		err := bulkhead.Validate(limit, options...)
		defer func() {
			if problem := recover(); (problem != nil) != (err != nil) {
				t.Fatalf("Validate says %v, New %v", err, problem)
			}
		}()
		b := bulkhead.New(limit, options...)
		_, err = resilience.Do(context.Background(), b, nothing)
		if fits := weight >= 1 && weight <= limit; fits != (err == nil) {
			t.Fatalf("weight %d of %d: %v", weight, limit, err)
		}
		err = nil
		if s := b.Snapshot(); s.InFlight != 0 || s.Waiting != 0 || s.Limit != limit {
			t.Fatalf("%+v", s)
		}
	})
}

// The bulkhead against its model (see TestModel). The first two bytes are the limit and the length of the queue; each two
// that follow are something that happens.
func FuzzModel(f *testing.F) {
	f.Add([]byte{1, 1, 0, 1, 0, 1, 0, 1, 3, 0, 3, 0})
	f.Add([]byte{3, 2, 0, 2, 0, 3, 0, 1, 6, 5, 5, 1, 3, 0})
	f.Add([]byte{2, 4, 0, 1, 0, 1, 0, 2, 0, 1, 6, 1, 5, 0, 3, 0, 6, 4, 3, 1})
	f.Add([]byte{1, 2, 0, 1, 0, 1, 0, 1, 255, 0, 0, 1, 3, 0, 6, 2, 3, 0, 3, 0, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 2 {
			return
		}
		var steps []step
		for rest := data[2:min(len(data), 2+2*80)]; len(rest) >= 2; rest = rest[2:] {
			if rest[0] == 255 {
				steps = append(steps, step{what: "drain"})
				continue
			}
			steps = append(steps, step{
				what:   []string{"arrive", "arrive", "arrive", "end", "end", "cancel", "resize"}[rest[0]%7],
				weight: 1 + int(rest[1]%5),
				pick:   int(rest[1]),
			})
		}
		bubble(t, func(t *testing.T) {
			for at, problem := range runModel(1+int(data[0]%4), int(data[1]%5), steps) {
				t.Errorf("step %d: %s\n%v", at, problem, steps)
			}
		})
	})
}

// Whatever is accepted keeps its limit between floor and ceiling and loses no slot, however long attempts take and
// however they end. Each two bytes are an attempt.
func FuzzAdaptive(f *testing.F) {
	f.Add(uint8(0), int64(time.Millisecond), 2, 50, []byte("a lot of attempts that take longer and longer, and then fail"))
	f.Add(uint8(1), int64(0), 1, 1, []byte{0, 0, 255, 255, 7, 3})
	f.Add(uint8(2), int64(1)<<62, 1, bulkhead.MaxLimit, []byte{200, 1, 200, 2, 200, 4, 1, 1})
	f.Add(uint8(3), int64(-1), bulkhead.MaxLimit, bulkhead.MaxLimit, []byte{1})
	for which := range uint8(3) { // long enough to grow
		f.Add(which, int64(time.Second), 1, 2, bytes.Repeat([]byte{100, 130}, 60))
	}
	f.Fuzz(func(t *testing.T, which uint8, target int64, floor, ceiling int, data []byte) {
		algorithm := []bulkhead.Algorithm{bulkhead.AIMD(time.Duration(target)), bulkhead.Gradient2(), bulkhead.Vegas(), {}}[which%4]
		if bulkhead.ValidateAdaptive(algorithm, floor, ceiling) != nil {
			return
		}
		bubble(t, func(t *testing.T) {
			b := bulkhead.Adaptive(algorithm, floor, ceiling)
			var calls sync.WaitGroup
			admitted := 0
			for data := data[:min(len(data), 500)]; len(data) >= 2; data = data[2:] {
				takes := time.Duration(data[0]) * time.Duration(data[0]) * time.Microsecond * 10
				calls.Go(func() {
					_, _ = resilience.Do(context.Background(), b, func(context.Context) (int, error) {
						admitted++ // one at a time in a bubble that waits for each
						time.Sleep(takes)
						return 0, []error{nil, nil, nil, errors.New("down"), context.DeadlineExceeded}[data[1]%5]
					})
				})
				if data[1]&0x80 != 0 {
					time.Sleep(takes)
				}
				synctest.Wait()
				if s := b.Snapshot(); s.Limit < floor || s.Limit > ceiling || s.Waiting != 0 {
					t.Fatalf("%+v", s)
				}
			}
			calls.Wait()
			if s := b.Snapshot(); s.InFlight != 0 || s.PeakInFlight > ceiling || len(data) >= 2 && admitted == 0 {
				t.Fatalf("%d admitted, %+v", admitted, s)
			}
		})
	})
}
