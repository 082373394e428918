package main

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// size is that of the file that the well server offers.
const size = 8 << 20

// well is a server that fails now and then, as servers do. Of every three requests the first is answered with 503.
type well struct {
	requests atomic.Int64
	mu       sync.Mutex
	orders   map[string]string // by the key
}

func (s *well) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.requests.Add(1)%3 == 1 {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	switch {
	case r.Method == http.MethodPost:
		item, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
		if err != nil {
			http.Error(w, "no order", http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		s.orders[r.Header.Get("Idempotency-Key")] = string(item) // the same order twice is one order
		s.mu.Unlock()
		w.WriteHeader(http.StatusCreated)
	case r.URL.Path == "/file":
		_, _ = io.CopyN(w, endless{}, size)
	default:
		_, _ = io.WriteString(w, "hello")
	}
}

// endless is a file that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// sick is a server that fails always.
func sick(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "broken", http.StatusInternalServerError)
}
