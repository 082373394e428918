package policyslog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
)

// RecordOption configures a [Recorder].
type RecordOption func(*recordConfig)

type recordConfig struct {
	key    func(context.Context) string
	buffer int
}

// Key records in each line what key returns for the context of the attempt or the call, such as the host that is called
// or the tenant that calls. key is called on the goroutine of the call. Keys are cut at 200 bytes. By default there are
// no keys.
func Key(key func(context.Context) string) RecordOption {
	return func(c *recordConfig) { c.key = key }
}

// Buffer sets how many bytes may wait for the writer. Lines that arrive while the buffer is full are lost and counted.
// n must be between 4096 and 1<<30. The default is 4 MiB, some 20,000 lines.
func Buffer(n int) RecordOption { return func(c *recordConfig) { c.buffer = n } }

func (c *recordConfig) check(w io.Writer, opts []RecordOption) error {
	problems := policy.ConfigError{Policy: "policyslog.Record"}
	if w == nil {
		problems.Add("the writer is nil")
	}
	for i, opt := range opts {
		if opt == nil {
			problems.Add("option %d is nil", i+1)
			continue
		}
		opt(c)
	}
	if c.buffer < 4096 || c.buffer > 1<<30 {
		problems.Add("Buffer(%d): must be between 4096 and %d", c.buffer, 1<<30)
	}
	return problems.Err()
}

// Recorder is an observer that writes a recording: one [Line] of JSON for each attempt and each call. Make it with
// [Record]. It can observe any number of pipelines and is safe for concurrent use.
type Recorder struct {
	recordConfig
	writer io.Writer
	began  time.Time

	mu      sync.Mutex
	pending []byte        // complete lines that wait for the writer
	lines   uint64        // in pending
	writing chan struct{} // closed when everything is written; nil when nothing is to be written
	closed  bool
	err     error  // of the writer; nothing is written any more
	missing uint64 // lines lost since the last line that says so
	lost    uint64
}

var _ policy.KindObserver = (*Recorder)(nil)

// Record returns a Recorder that writes to w.
//
// One goroutine at a time uses w, never the goroutine of a call: no call waits for w. The goroutine starts when there
// is something to write, and ends when all of it is written. Lines that come faster than w takes them wait in a buffer.
// When it is full, lines are lost, and a later line says how many. After an error or a panic of w, nothing more is
// written.
//
// Close the Recorder first, and then w if it needs closing. Record panics with a [*policy.ConfigError] when w is nil or
// an option is out of its range.
func Record(w io.Writer, opts ...RecordOption) *Recorder {
	r := &Recorder{recordConfig: recordConfig{buffer: 4 << 20}, writer: w, began: time.Now()}
	if err := r.check(w, opts); err != nil {
		panic(err)
	}
	r.add(Line{Kind: "begin", Time: r.began.UTC()})
	return r
}

// ObservedKinds returns attempts, refusals and calls.
func (r *Recorder) ObservedKinds() []policy.EventKind {
	return []policy.EventKind{policy.EventAttempt, policy.EventRejected, policy.EventCall}
}

// Observe records an event.
func (r *Recorder) Observe(ctx context.Context, event policy.Event) {
	line := Line{
		Kind:     "attempt",
		Pipeline: event.Pipeline,
		Call:     event.Call,
		Attempt:  event.Attempt,
		Elapsed:  Seconds(event.Elapsed),
		Queued:   Seconds(event.Queued),
		Outcome:  outcomeOf(event.Outcome),
		Code:     policy.Code(event.Outcome.Err),
	}
	switch event.Kind {
	case policy.EventAttempt, policy.EventRejected:
		if number := hedge.Attempt(ctx); number > 1 {
			line.Hedge = number
		}
	case policy.EventCall:
		line.Kind, line.Wait = "call", Seconds(event.Wait)
	default:
		return
	}
	if class := event.Outcome.Class; class != policy.Unclassified {
		line.Class = class.String()
	}
	if !event.Outcome.Succeeded() {
		line.Cut = policy.Code(policy.ContextError(ctx))
	}
	start := max(0, time.Since(r.began)-event.Elapsed)
	line.Start, line.Time = Seconds(start), r.began.Add(start).UTC()
	if r.key != nil {
		line.Key = r.keyOf(ctx)
	}
	r.add(line)
}

// keyOf asks for the key. A panic costs the key, not the line.
func (r *Recorder) keyOf(ctx context.Context) (key string) {
	defer func() { _ = recover() }()
	const most = 200
	if key = r.key(ctx); len(key) > most {
		return strings.ToValidUTF8(key[:most], "")
	}
	return key
}

// add hands a line to the writer.
func (r *Recorder) add(line Line) {
	line.Version = Version
	var buffer [512]byte
	text := append(appendLine(buffer[:0], &line), '\n')
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.err != nil || len(r.pending)+len(text) > r.buffer {
		r.lose(1)
		return
	}
	r.pending = append(r.pending, text...)
	r.lines++
	if r.writing == nil {
		r.writing = make(chan struct{})
		go r.write(r.writing)
	}
}

func (r *Recorder) lose(n uint64) {
	r.lost += n
	r.missing += n
}

// write writes until there is nothing left.
func (r *Recorder) write(done chan struct{}) {
	defer close(done)
	var lines uint64 // of the batch that is being written
	over := false
	defer func() {
		if !over {
			r.fail(errors.New("the writer has called runtime.Goexit"), lines)
		}
	}()
	for {
		var batch []byte
		if batch, lines = r.take(); batch == nil {
			over = true
			return
		}
		if err := writeAll(r.writer, batch); err != nil {
			r.fail(err, lines)
		}
	}
}

// fail ends the recording.
func (r *Recorder) fail(err error, lines uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = fmt.Errorf("policyslog: recording: %w", err)
	r.lost += lines + r.lines
	r.pending, r.lines, r.missing = nil, 0, 0
}

// take returns what is to be written next, nil if there is nothing.
func (r *Recorder) take() (batch []byte, lines uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.missing > 0 && r.err == nil {
		start := time.Since(r.began)
		line := Line{Version: Version, Kind: "lost", Time: r.began.Add(start).UTC(), Start: Seconds(start), Lost: r.missing}
		r.pending = append(appendLine(r.pending, &line), '\n')
		r.missing = 0
	}
	batch, lines = r.pending, r.lines
	r.pending, r.lines = nil, 0
	if batch == nil {
		r.writing = nil
	}
	return batch, lines
}

// writeAll writes a batch. A panic of the writer is an error.
func writeAll(w io.Writer, batch []byte) (err error) {
	defer func() {
		if recovered := recover(); recovered != nil {
			err = fmt.Errorf("the writer has panicked: %v", recovered)
		}
	}()
	n, err := w.Write(batch)
	if err == nil && n < len(batch) {
		err = io.ErrShortWrite
	}
	return err
}

// Lost returns how many lines were lost so far: because the buffer was full, because the writer had failed, or because they
// came after Close.
func (r *Recorder) Lost() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

// Close waits until everything is written, however long the writer takes, and returns the writer's error. It does not
// close the writer. Lines that come later are lost. A second Close returns the same error.
func (r *Recorder) Close() error {
	r.mu.Lock()
	r.closed = true
	writing := r.writing
	r.mu.Unlock()
	if writing != nil {
		<-writing
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}
