package policystatus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	interval     = time.Second     // between two frames of the live stream
	writeTimeout = 5 * time.Second // after which a viewer that does not read is dropped
)

// hub serves one report a second to all viewers, however many there are. It has no goroutine of its own: each viewer waits
// for the next second on the goroutine of its request, the first to wake up makes the frame, and the others share it.
type hub struct {
	page    *Page
	closing chan struct{}
	once    sync.Once

	mu      sync.Mutex
	viewers int
	closed  bool

	making sync.Mutex // held while a frame is made
	last   *frame     // guarded by making
}

// frame is the page at one moment, as the stream sends it.
type frame struct {
	number uint64
	at     time.Time
	full   []byte // everything
	delta  []byte // what has changed since the frame before; the same as full if the layers are others

	fragments map[string]string
	structure string
}

func (h *hub) init(p *Page) { h.page, h.closing = p, make(chan struct{}) }

func (h *hub) close() {
	h.once.Do(func() {
		h.mu.Lock()
		h.closed = true
		h.mu.Unlock()
		close(h.closing)
	})
}

// enter counts a viewer in, and reports false when there is no place.
func (h *hub) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.viewers >= h.page.config.maxViewers {
		return false
	}
	h.viewers++
	return true
}

// leave counts a viewer out. The last one takes the frame along.
func (h *hub) leave() {
	h.mu.Lock()
	h.viewers--
	last := h.viewers == 0
	h.mu.Unlock()
	if last {
		h.making.Lock()
		defer h.making.Unlock()
		h.last = nil
	}
}

// frame returns the frame of this second. It makes one when there is none.
func (h *hub) frame() (*frame, error) {
	h.making.Lock()
	defer h.making.Unlock()
	if h.last != nil && time.Since(h.last.at) < interval {
		return h.last, nil
	}
	at := time.Now()
	fragments, structure, err := h.page.fragments()
	if err != nil {
		return nil, err
	}
	next := &frame{number: 1, at: at, fragments: fragments, structure: structure}
	next.full = next.encode(fragments)
	next.delta = next.full
	if last := h.last; last != nil {
		next.number = last.number + 1
		next.full = next.encode(fragments)
		next.delta = next.full
		if last.structure == structure {
			changed := make(map[string]string)
			for id, html := range fragments {
				if last.fragments[id] != html {
					changed[id] = html
				}
			}
			next.delta = next.encode(changed)
		}
	}
	h.last = next
	return next, nil
}

// encode returns fragments as one server-sent event.
func (f *frame) encode(fragments map[string]string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "id: %d\ndata: ", f.number)
	data, _ := json.Marshal(struct { // strings only: there is no error, and no line break
		Structure string            `json:"structure"`
		Fragments map[string]string `json:"fragments"`
	}{f.structure, fragments})
	b.Write(data)
	b.WriteString("\n\n")
	return b.Bytes()
}

// stream serves the live stream to one viewer until it leaves, does not read, or the page is closed.
func (h *hub) stream(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "text/event-stream")
		return
	}
	if !h.enter() {
		w.Header().Set("Retry-After", "5")
		h.page.fail(w, r, http.StatusServiceUnavailable, "There are too many live viewers, or the page is closed.")
		return
	}
	defer h.leave()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // some proxies keep answers back otherwise
	v := viewer{w: w, control: http.NewResponseController(w)}
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		f, err := h.frame()
		if err != nil || !v.send(f) {
			return
		}
		timer.Reset(time.Until(f.at.Add(interval)))
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		case <-h.closing:
			return
		}
	}
}

// viewer is where the frames of one request go.
type viewer struct {
	w       http.ResponseWriter
	control *http.ResponseController
	number  uint64 // of the last frame
}

// send sends a frame, and reports whether there can be another one.
func (v *viewer) send(f *frame) bool {
	bounded := v.control.SetWriteDeadline(time.Now().Add(writeTimeout)) == nil
	data := f.full
	if v.number != 0 {
		data = f.delta
		if f.number != v.number+1 {
			data = f.full
		}
	} else if _, err := v.w.Write([]byte("retry: 1000\n\n")); err != nil {
		return false
	}
	v.number = f.number
	if _, err := v.w.Write(data); err != nil {
		return false
	}
	err := v.control.Flush()
	// What wraps the answer cannot flush, or cannot bound a write: the stream ends after one frame, and the browser asks
	// for the next.
	return err == nil && bounded && !errors.Is(err, http.ErrNotSupported)
}
