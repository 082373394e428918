package policyslog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyslog"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// linesOf reads a recording. It refuses fields that are not documented.
func linesOf(t *testing.T, recording []byte) (lines []policyslog.Line) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(recording))
	decoder.DisallowUnknownFields()
	for decoder.More() {
		var l policyslog.Line
		require.NoError(t, decoder.Decode(&l))
		require.Equal(t, policyslog.Version, l.Version)
		lines = append(lines, l)
	}
	return lines
}

const (
	ms  = policyslog.Seconds(time.Millisecond)
	sec = policyslog.Seconds(time.Second)
)

func TestRecord_ALineForEachAttemptAndEachCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		recorder := policyslog.Record(&out)
		began := time.Now()
		p := named("users", retry.New(retry.Attempts(3), retry.Constant(2*time.Second), retry.NoJitter()), resilience.Observe(recorder))
		time.Sleep(time.Second)
		tries := 0
		require.NoError(t, p.Run(t.Context(), func(context.Context) error {
			time.Sleep(30100 * time.Microsecond)
			if tries++; tries < 3 {
				return errDown
			}
			return nil
		}))
		require.NoError(t, p.Run(t.Context(), ok))
		require.NoError(t, recorder.Close())

		lines := linesOf(t, out.Bytes())
		first, second := lines[1].Call, lines[5].Call
		require.NotZero(t, first)
		require.NotEqual(t, first, second)
		const took = policyslog.Seconds(30100 * time.Microsecond)
		end := sec + 3*took + 4*sec
		require.Equal(t, []policyslog.Line{
			{Kind: "begin"},
			{Kind: "attempt", Call: first, Attempt: 1, Start: sec, Elapsed: took, Outcome: "failed", Class: "transient"},
			{Kind: "attempt", Call: first, Attempt: 2, Start: sec + took + 2*sec, Elapsed: took, Outcome: "failed", Class: "transient"},
			{Kind: "attempt", Call: first, Attempt: 3, Start: sec + 2*took + 4*sec, Elapsed: took, Outcome: "succeeded"},
			{Kind: "call", Call: first, Start: sec, Elapsed: end - sec, Wait: 4 * sec, Outcome: "succeeded"},
			{Kind: "attempt", Call: second, Attempt: 1, Start: end, Outcome: "succeeded"},
			{Kind: "call", Call: second, Start: end, Outcome: "succeeded"},
		}, stripped(t, lines, began))
	})
}

// stripped returns lines without what all have in common, after a look at it.
func stripped(t *testing.T, lines []policyslog.Line, began time.Time) []policyslog.Line {
	t.Helper()
	for i, l := range lines {
		require.True(t, began.Add(time.Duration(l.Start)).Equal(l.Time), "line %d", i)
		require.Equal(t, i > 0, l.Pipeline == "users", "line %d", i)
		lines[i].Version, lines[i].Time, lines[i].Pipeline = 0, time.Time{}, ""
	}
	return lines
}

func TestRecord_HowEachThingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		recorder := policyslog.Record(&out)
		observe := resilience.Observe(recorder)
		b := breaker.New()
		expected := resilience.Classify(func(error) policy.Class { return policy.Expected })
		canceled, cancel := context.WithCancel(t.Context())

		require.Error(t, named("users", expected, observe).Run(t.Context(), fail))
		require.Error(t, named("users", timeout.PerAttempt(time.Second), observe).Run(t.Context(), func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		require.Error(t, named("users", observe).Run(canceled, func(ctx context.Context) error {
			cancel()
			return ctx.Err()
		}))
		b.Trip()
		require.Error(t, named("users", b, observe).Run(t.Context(), ok))
		require.Panics(t, func() {
			_ = named("users", observe).Run(t.Context(), func(context.Context) error { panic("!") })
		})
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = named("users", observe).Run(t.Context(), func(context.Context) error { runtime.Goexit(); return nil })
		}()
		<-done
		require.NoError(t, named("users", hedge.New(hedge.Idempotent(), hedge.After(10*time.Millisecond)), observe).Run(t.Context(),
			func(ctx context.Context) error {
				if hedge.Attempt(ctx) == 1 {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}))
		synctest.Wait()
		require.NoError(t, recorder.Close())

		type ending struct {
			kind, outcome, class, code, cut string
			hedge                           int
		}
		var got []ending
		for _, l := range linesOf(t, out.Bytes())[1:] {
			got = append(got, ending{l.Kind, l.Outcome, l.Class, l.Code, l.Cut, l.Hedge})
		}
		require.ElementsMatch(t, []ending{
			{"attempt", "expected", "expected", "", "", 0},
			{"call", "expected", "expected", "", "", 0},
			{"attempt", "failed", "transient", "deadline", "timeout.attempt", 0},
			{"call", "failed", "transient", "timeout.attempt", "", 0},
			{"attempt", "canceled", "transient", "canceled", "canceled", 0},
			{"call", "canceled", "transient", "canceled", "canceled", 0},
			{"attempt", "rejected", "ignored", "breaker.open", "", 0},
			{"call", "rejected", "ignored", "breaker.open", "", 0},
			{"attempt", "panicked", "", "", "", 0},
			{"call", "panicked", "", "", "", 0},
			{"attempt", "panicked", "", "", "", 0},
			{"call", "panicked", "", "", "", 0},
			{"attempt", "succeeded", "", "", "", 2},
			{"attempt", "canceled", "transient", "canceled", "hedge.lost", 0},
			{"call", "succeeded", "", "", "", 0},
		}, got)
	})
}

func TestRecord_KeysAreBoundedAndAPanicCostsOnlyTheKey(t *testing.T) {
	type hostKey struct{}
	var out bytes.Buffer
	recorder := policyslog.Record(&out, policyslog.Key(func(ctx context.Context) string {
		return ctx.Value(hostKey{}).(string)
	}))
	p := named("users", resilience.Observe(recorder))
	require.NoError(t, p.Run(context.WithValue(t.Context(), hostKey{}, "a\"\n\xff"), ok))
	require.NoError(t, p.Run(context.WithValue(t.Context(), hostKey{}, strings.Repeat("é", 1000)), ok))
	require.NoError(t, p.Run(t.Context(), ok))
	require.NoError(t, recorder.Close())
	require.Equal(t, 7, bytes.Count(out.Bytes(), []byte("\n")))
	lines := linesOf(t, out.Bytes())
	require.Equal(t, "a\"\n\ufffd", lines[1].Key)
	require.Equal(t, "a\"\n\ufffd", lines[2].Key)
	require.Equal(t, strings.Repeat("é", 100), lines[3].Key)
	require.Empty(t, lines[5].Key)
}

func TestRecord_AppendedRecordingsCanBeToldApart(t *testing.T) {
	var out bytes.Buffer
	for range 2 {
		recorder := policyslog.Record(&out)
		require.NoError(t, named("users", resilience.Observe(recorder)).Run(t.Context(), ok))
		require.NoError(t, recorder.Close())
	}
	var kinds []string
	for _, l := range linesOf(t, out.Bytes()) {
		kinds = append(kinds, l.Kind)
	}
	require.Equal(t, []string{"begin", "attempt", "call", "begin", "attempt", "call"}, kinds)
}

func TestRecord_UnderLoadEveryLineIsWholeAndNoneIsLost(t *testing.T) {
	var out bytes.Buffer
	recorder := policyslog.Record(&out)
	p := named("users", resilience.Observe(recorder))
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 200 {
				_ = p.Run(context.Background(), ok)
			}
		})
	}
	callers.Wait()
	require.NoError(t, recorder.Close())
	require.Zero(t, recorder.Lost())
	lines := linesOf(t, out.Bytes())
	require.Len(t, lines, 1+2*1600)
	calls := map[uint64]int{}
	for _, l := range lines[1:] {
		calls[l.Call]++
	}
	require.Len(t, calls, 1600)
	require.NotContains(t, calls, uint64(0))
}

func TestRecord_AfterCloseLinesAreCountedAsLost(t *testing.T) {
	var out bytes.Buffer
	recorder := policyslog.Record(&out)
	p := named("users", resilience.Observe(recorder))
	require.NoError(t, recorder.Close())
	require.NoError(t, p.Run(t.Context(), ok))
	require.NoError(t, recorder.Close())
	require.EqualValues(t, 2, recorder.Lost())
	require.Len(t, linesOf(t, out.Bytes()), 1)
}

func TestRecord_BadConfigurationIsRefused(t *testing.T) {
	refused := func(problem string, w io.Writer, opts ...policyslog.RecordOption) {
		t.Helper()
		defer func() {
			err, isConfig := recover().(*policy.ConfigError)
			require.True(t, isConfig)
			require.ErrorContains(t, err, problem)
		}()
		policyslog.Record(w, opts...)
	}
	refused("the writer is nil", nil)
	refused("option 1 is nil", io.Discard, nil)
	refused("Buffer(1): must be between 4096 and 1073741824", io.Discard, policyslog.Buffer(1))
}

// hanging is a writer that hangs until it is let go.
type hanging struct {
	bytes.Buffer
	hang chan struct{}
}

func (w *hanging) Write(p []byte) (int, error) {
	<-w.hang
	return w.Buffer.Write(p)
}

func TestFault231_NoCallWaitsForAWriterThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &hanging{hang: make(chan struct{})}
		recorder := policyslog.Record(out, policyslog.Buffer(4096))
		p := named("users", resilience.Observe(recorder))
		before := time.Now()
		for range 1000 {
			require.NoError(t, p.Run(t.Context(), ok))
		}
		require.Zero(t, time.Since(before))
		lost := recorder.Lost()
		require.NotZero(t, lost, "memory is bounded")
		time.Sleep(time.Minute)
		close(out.hang)
		synctest.Wait()
		require.NoError(t, p.Run(t.Context(), ok), "the recording goes on")
		require.NoError(t, recorder.Close())
		lines := linesOf(t, out.Bytes())
		kinds := map[string]int{}
		var said uint64
		for _, l := range lines {
			kinds[l.Kind]++
			said += l.Lost
		}
		require.Equal(t, lost, said, "the recording says what is missing")
		require.EqualValues(t, 2002, uint64(kinds["attempt"]+kinds["call"])+lost)
	})
}

// dying is a writer that does what it is told at the second write.
type dying struct {
	writes int
	die    func() (int, error)
}

func (w *dying) Write(p []byte) (int, error) {
	if w.writes++; w.writes > 1 {
		return w.die()
	}
	return len(p), nil
}

func TestFault231_AWriterThatDiesChangesNoCall(t *testing.T) {
	for name, c := range map[string]struct {
		die  func() (int, error)
		want string
	}{
		"error":  {func() (int, error) { return 0, errors.New("disk full") }, "disk full"},
		"short":  {func() (int, error) { return 1, nil }, io.ErrShortWrite.Error()},
		"panic":  {func() (int, error) { panic("nil map") }, "the writer has panicked: nil map"},
		"goexit": {func() (int, error) { runtime.Goexit(); return 0, nil }, "the writer has called runtime.Goexit"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				writer := &dying{die: c.die}
				recorder := policyslog.Record(writer)
				p := named("users", resilience.Observe(recorder))
				synctest.Wait()
				for range 10 {
					require.NoError(t, p.Run(t.Context(), ok))
					synctest.Wait()
				}
				require.ErrorContains(t, recorder.Close(), "policyslog: recording: "+c.want)
				require.Equal(t, 2, writer.writes, "nothing is written any more")
				require.EqualValues(t, 20, recorder.Lost())
			})
		})
	}
}

func FuzzSeconds(f *testing.F) {
	for _, d := range []int64{0, 1, -1, 1e9, -1e9, 1500000000, -1, 30100000, 1 << 62, -1 << 63} {
		f.Add(d)
	}
	f.Fuzz(func(t *testing.T, d int64) {
		text, err := json.Marshal(policyslog.Seconds(d))
		require.NoError(t, err)
		require.True(t, json.Valid(text))
		var back policyslog.Seconds
		err = json.Unmarshal(text, &back)
		if d <= -1<<63+1e9 || d >= 1<<63-1e9 {
			return // within a second of the end: the number cannot be told from one beyond
		}
		require.NoError(t, err)
		if d > -9e15 && d < 9e15 { // 104 days: what a float64 holds to the nanosecond
			require.Equal(t, d, int64(back), string(text))
		}
	})
}

func FuzzLine(f *testing.F) {
	f.Add([]byte(`{"version":1,"kind":"call","time":"2026-11-27T16:00:00Z","start":0.25,"elapsed":1e3}`))
	f.Add([]byte(`{"start":1e300}`))
	f.Add([]byte(`{"start":"1"}`))
	f.Add([]byte(`{"start":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var l policyslog.Line
		if json.Unmarshal(text, &l) != nil {
			return
		}
		_, err := json.Marshal(l)
		if err != nil { // of a time that RFC 3339 cannot hold
			require.ErrorContains(t, err, "Time")
		}
	})
}
