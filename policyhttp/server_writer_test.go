package policyhttp_test

import (
	"bufio"
	"bytes"

	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/bulkhead"
)

// plain is a writer that can do nothing but what it must.
type plain struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *plain) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}
func (w *plain) WriteHeader(status int)      { w.status = status }
func (w *plain) Write(p []byte) (int, error) { return w.body.Write(p) }

type plainFlusher struct {
	plain
	flushed int
}

func (w *plainFlusher) Flush() { w.flushed++ }

type plainHijacker struct{ plain }

func (w *plainHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, nil }

type plainBoth struct {
	plainFlusher
	plainHijacker
}

func (w *plainBoth) Header() http.Header         { return w.plainFlusher.Header() }
func (w *plainBoth) WriteHeader(status int)      { w.plainFlusher.WriteHeader(status) }
func (w *plainBoth) Write(p []byte) (int, error) { return w.plainFlusher.Write(p) }

// wrapping is the writer of a middleware that offers what it wraps by Unwrap alone.
type wrapping struct{ http.ResponseWriter }

func (w wrapping) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Libraries ask by type assertion: gRPC for a Flusher, WebSockets for a Hijacker. The answer must be the truth.
func TestTheWriterCanWhatTheOneInsideCan(t *testing.T) {
	for name, c := range map[string]struct {
		writer         http.ResponseWriter
		flush, hijack_ bool
	}{
		"nothing":          {&plain{}, false, false},
		"flush":            {&plainFlusher{}, true, false},
		"hijack":           {&plainHijacker{}, false, true},
		"both":             {&plainBoth{}, true, true},
		"both, wrapped":    {wrapping{wrapping{&plainBoth{}}}, true, true},
		"nothing, wrapped": {wrapping{&plain{}}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, flushes := w.(http.Flusher)
				_, hijacks := w.(http.Hijacker)
				require.Equal(t, c.flush, flushes)
				require.Equal(t, c.hijack_, hijacks)
				if err := http.NewResponseController(w).Flush(); c.flush {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, http.ErrNotSupported)
				}
				require.ErrorIs(t, w.(http.Pusher).Push("/x", nil), http.ErrNotSupported)
			})
			front(handler).ServeHTTP(c.writer, get())
			front(front(handler)).ServeHTTP(c.writer, get()) // also one in another
		})
	}
}

// A flush that was not possible has not begun the answer.
func TestAFlushThatFailsBeginsNothing(t *testing.T) {
	w, seen := &plain{}, &judge{}
	front(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		w.WriteHeader(500)
	}), seen).ServeHTTP(w, get())
	require.Equal(t, 500, w.status)
	require.Error(t, seen.only(t).Err)
}

// readerFrom is a writer with a fast path, as that of the server is for files.
type readerFrom struct {
	plain
	from io.Reader
}

func (w *readerFrom) ReadFrom(r io.Reader) (int64, error) {
	w.from = r
	return io.Copy(&w.body, r)
}

func TestTheFastPathForFilesIsKept(t *testing.T) {
	file := strings.NewReader("x")
	copies := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, err := io.Copy(w, struct{ io.Reader }{file}) // without WriterTo, as a file
		require.NoError(t, err)
	})
	w := &readerFrom{}
	front(copies).ServeHTTP(w, get())
	require.Equal(t, struct{ io.Reader }{file}, w.from)
	require.Equal(t, "x", w.body.String())

	file.Reset("y")
	slow := &plain{}
	front(copies).ServeHTTP(slow, get())
	require.Equal(t, "y", slow.body.String())
}

// The server removes the files of a form that it finds in its own request. Where the handler gets a copy of the request,
// they would stay on the disk for ever.
func TestTheFilesOfAFormAreRemoved(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	files := func() int {
		found, err := filepath.Glob(filepath.Join(dir, "multipart-*"))
		require.NoError(t, err)
		return len(found)
	}
	for name, panics := range map[string]bool{"returns": false, "panics": true} {
		during := make(chan int, 1)
		server := httptest.NewUnstartedServer(front(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if err := r.ParseMultipartForm(1); err != nil {
				panic(err)
			}
			found, _ := filepath.Glob(filepath.Join(dir, "multipart-*"))
			during <- len(found)
			if panics {
				panic(http.ErrAbortHandler)
			}
		}), bulkhead.New(1)))
		server.Start()
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		part, err := form.CreateFormFile("file", "x")
		require.NoError(t, err)
		_, err = part.Write(bytes.Repeat([]byte("x"), 1000))
		require.NoError(t, err)
		require.NoError(t, form.Close())
		response, err := server.Client().Post(server.URL, form.FormDataContentType(), &body)
		if err == nil {
			require.NoError(t, response.Body.Close())
		}
		require.Equal(t, 1, <-during, name)
		server.Close()
		if !panics { // after a panic the server itself leaves them, without us too
			require.Zero(t, files(), name)
		}
		for _, left := range must(filepath.Glob(filepath.Join(dir, "multipart-*"))) {
			require.NoError(t, os.Remove(left))
		}
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// A logger outside asks which route has matched.
func TestThePatternIsSeenOutside(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.PathValue("id")) })
	pattern := ""
	inner := front(mux, bulkhead.New(1))
	response := ask(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r)
		pattern = r.Pattern
	}), httptest.NewRequest(http.MethodGet, "/users/7", nil))
	require.Equal(t, "7", text(t, response))
	require.Equal(t, "GET /users/{id}", pattern)
}

// The error of a write is passed on.
func TestErrorsOfTheConnectionAreSeen(t *testing.T) {
	seen := &judge{}
	var err error
	front(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, err = w.Write([]byte("x")) }), seen).
		ServeHTTP(&broken{}, get())
	require.ErrorIs(t, err, errBoom)
	require.True(t, seen.only(t).Succeeded())
}

type broken struct{ plain }

func (*broken) Write([]byte) (int, error) { return 0, errBoom }
