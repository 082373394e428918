package policyhttp

import (
	"io"
	"net/http"
	"sync"
)

// recorder lets several readers read one source, each from its beginning, as long as that is not longer than limit.
type recorder struct {
	source io.Reader
	limit  int64
	turn   chan struct{} // holds one element, taken by whoever reads the source

	mu       sync.Mutex
	recorded []byte
	read     int64 // from the source
	err      error // of the source
	over     bool  // the source is longer than limit: what was recorded is gone
}

func newRecorder(source io.Reader, limit int64) *recorder {
	r := &recorder{source: source, limit: limit, turn: make(chan struct{}, 1)}
	r.turn <- struct{}{}
	return r
}

func (r *recorder) overflowed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

func (r *recorder) reader(body *requestBody) io.ReadCloser {
	return &recordReader{recorder: r, body: body}
}

// recordReader is one reader. Its Read is not safe for concurrent use, as that of any body.
type recordReader struct {
	recorder *recorder
	body     *requestBody
	at       int64
}

// Read implements [io.Reader].
func (r *recordReader) Read(p []byte) (int, error) {
	if n, ok, err := r.replay(p); ok {
		return n, err
	}
	rec := r.recorder
	<-rec.turn // a reader that is ahead reads what this one will need
	defer func() { rec.turn <- struct{}{} }()
	if r.body.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	if n, ok, err := r.replay(p); ok {
		return n, err
	}
	n, err := rec.source.Read(p)
	r.at += int64(n)
	rec.record(p[:n], err)
	return n, err
}

// replay copies what was recorded. It reports false when the source has to be read.
func (r *recordReader) replay(p []byte) (n int, ok bool, err error) {
	rec := r.recorder
	rec.mu.Lock()
	defer rec.mu.Unlock()
	switch {
	case rec.over && r.at != rec.read:
		return 0, true, ErrBodyNotReplayable
	case rec.over:
		return 0, false, nil
	case r.at < int64(len(rec.recorded)):
		n = copy(p, rec.recorded[r.at:])
		r.at += int64(n)
		return n, true, nil
	case rec.err != nil:
		return 0, true, rec.err
	}
	return 0, false, nil
}

func (r *recorder) record(p []byte, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read += int64(len(p))
	switch {
	case r.over:
	case int64(len(r.recorded)+len(p)) > r.limit:
		r.recorded, r.over = nil, true
	default:
		r.recorded = append(r.recorded, p...)
		r.err = err
	}
}

// Close implements [io.Closer]. The source is closed by [bodies].
func (r *recordReader) Close() error { return nil }
