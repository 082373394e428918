package policystatus_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policystatus"
)

// pipes is a listener of connections in memory, so that a real server runs in virtual time.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{accept: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// serve starts a server, and returns how to connect to it and how to stop it.
func serve(handler http.Handler) (dial func() net.Conn, stop func()) {
	listener := newPipes()
	server := &http.Server{Handler: handler, WriteTimeout: 3 * time.Second}
	var wait sync.WaitGroup
	wait.Go(func() { _ = server.Serve(listener) })
	dial = func() net.Conn {
		client, conn := net.Pipe()
		listener.accept <- conn
		return client
	}
	return dial, func() {
		_ = server.Close()
		wait.Wait()
	}
}

// watch asks for the stream on a connection.
func watch(conn net.Conn) (*bufio.Reader, error) {
	if _, err := io.WriteString(conn, "GET /?format=events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return nil, err
	}
	r := bufio.NewReader(conn)
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	return bufio.NewReader(response.Body), nil
}

// frame is what the stream sends.
type frame struct {
	Structure string
	Fragments map[string]string
}

// next reads a frame.
func next(r *bufio.Reader) (f frame, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return f, err
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			return f, json.Unmarshal([]byte(data), &f)
		}
	}
}

// One thousand viewers cost what one costs: one report a second, no goroutine besides those of their requests, memory
// that does not grow, and nothing when they are gone.
func TestT5_ThousandViewers(t *testing.T) {
	const viewers = 1000
	seconds := 10
	if os.Getenv("RESILIENCE_LONG") != "" {
		seconds = 600
	}
	synctest.Test(t, func(t *testing.T) {
		counted := &layer{}
		page := policystatus.New()
		page.Add(resilience.Compose(resilience.Name("users"), counted))
		dial, stop := serve(page)
		defer stop()

		var wait sync.WaitGroup
		var conns []net.Conn
		for range viewers {
			conn := dial()
			conns = append(conns, conn)
			wait.Go(func() {
				if r, err := watch(conn); err == nil {
					_, _ = io.Copy(io.Discard, r)
				}
			})
		}
		time.Sleep(3*time.Second + time.Second/2)
		synctest.Wait()
		require.EqualValues(t, 4, counted.reports.Load(), "one in each second since the first one came")
		require.Equal(t, viewers, running(), "one goroutine for each viewer, that of its request")
		heap := heapInUse()
		time.Sleep(time.Duration(seconds) * time.Second)
		synctest.Wait()
		require.EqualValues(t, 4+seconds, counted.reports.Load())
		require.Equal(t, viewers, running())
		grown := int64(heapInUse()) - int64(heap)
		t.Logf("%d viewers, %d s: heap grew by %d KiB", viewers, seconds, grown>>10)
		require.Less(t, grown, int64(1<<20), "in all, or 1 KiB for each viewer")

		conn := dial()
		_, err := watch(conn)
		require.ErrorContains(t, err, "503", "there is a bound")
		_ = conn.Close()

		for _, conn := range conns {
			_ = conn.Close()
		}
		wait.Wait()
		synctest.Wait()
		reports := counted.reports.Load()
		time.Sleep(time.Minute)
		require.Equal(t, reports, counted.reports.Load(), "nobody looks")
		require.Zero(t, running())
	})
}

// running is how many goroutines run code of the page.
func running() (n int) {
	stacks := make([]byte, 16<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range bytes.SplitSeq(stacks, []byte("\n\n")) {
		if bytes.Contains(stack, []byte("/policystatus.(*")) {
			n++
		}
	}
	return n
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A viewer that does not read is dropped; the others go on.
func TestT5_SlowReadersAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := policystatus.New(policystatus.MaxViewers(2))
		u := newUsers()
		page.Add(u.backend)
		dial, stop := serve(page)
		defer stop()
		slow, good := dial(), dial()
		defer slow.Close()
		defer good.Close()
		_, err := watch(slow)
		require.NoError(t, err)
		r, err := watch(good)
		require.NoError(t, err)
		for range 8 {
			_, err := next(r)
			require.NoError(t, err)
		}
		third := dial()
		defer third.Close()
		_, err = watch(third)
		require.NoError(t, err, "the slow one has lost its place")
	})
}

// The stream outlives the WriteTimeout of the server, and shows a change within two seconds.
func TestT5_AChangeIsSeenWithoutReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUsers()
		dial, stop := serve(u.page)
		defer stop()
		conn := dial()
		defer conn.Close()
		r, err := watch(conn)
		require.NoError(t, err)
		full, err := next(r)
		require.NoError(t, err)
		require.Contains(t, full.Fragments, "p1-4")
		for range 10 {
			f, err := next(r)
			require.NoError(t, err)
			require.Equal(t, full.Structure, f.Structure)
			require.NotContains(t, f.Fragments, "p1-4", "what has not changed is not sent again")
		}
		u.trip()
		start := time.Now()
		for {
			f, err := next(r)
			require.NoError(t, err)
			if strings.Contains(f.Fragments["now"], "Calls to “users” are refused.") {
				break
			}
		}
		require.LessOrEqual(t, time.Since(start), time.Second)

		u.page.Add(resilience.Compose(resilience.Name("orders")))
		f, err := next(r)
		require.NoError(t, err)
		require.NotEqual(t, full.Structure, f.Structure, "the page must be loaded again")
		require.Contains(t, f.Fragments, "p1-4", "and everything is there")
	})
}

func TestCloseEndsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUsers()
		dial, stop := serve(u.page)
		defer stop()
		conn := dial()
		defer conn.Close()
		r, err := watch(conn)
		require.NoError(t, err)
		_, err = next(r)
		require.NoError(t, err)
		u.page.Close()
		_, err = next(r)
		require.ErrorIs(t, err, io.EOF)
	})
}

// Shutdown of a server ends, as the documentation says.
func TestShutdownDoesNotHang(t *testing.T) {
	u := newUsers()
	server := httptest.NewServer(u.page)
	defer server.Close()
	server.Config.RegisterOnShutdown(u.page.Close)
	response, err := server.Client().Get(server.URL + "/?format=events")
	require.NoError(t, err)
	defer response.Body.Close()
	_, err = next(bufio.NewReader(response.Body))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, server.Config.Shutdown(ctx))
}

// Behind something that cannot flush, a stream is one frame: the browser asks again.
func TestAWriterThatCannotFlush(t *testing.T) {
	u := newUsers()
	w := &plain{header: make(http.Header)}
	u.page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?format=events", nil))
	require.Equal(t, 1, strings.Count(w.body.String(), "data: "))
	require.Contains(t, w.body.String(), "retry: 1000\n")
}

// plain is a ResponseWriter that can nothing else.
type plain struct {
	header http.Header
	body   strings.Builder
}

func (p *plain) Header() http.Header         { return p.header }
func (p *plain) WriteHeader(int)             {}
func (p *plain) Write(b []byte) (int, error) { return p.body.Write(b) }
