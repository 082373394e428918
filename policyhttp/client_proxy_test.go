package policyhttp_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
)

// behindProxy is the server behind the real proxies. It counts what arrives.
type behindProxy struct{ gets, posts atomic.Int64 }

func (s *behindProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if r.Method == http.MethodPost {
		s.posts.Add(1)
	} else {
		s.gets.Add(1)
	}
	switch r.URL.Path {
	case "/502":
		reset(w)
	case "/503":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "/504":
		select {
		case <-r.Context().Done():
		case <-time.After(5 * time.Second):
		}
	default:
		_, _ = io.WriteString(w, "hello")
	}
}

// keepAlive is how long the proxies keep an idle connection: short, so that a client often uses one that is about to close.
const keepAlive = 5 * time.Millisecond

const nginxConfig = `
user root; pid %[1]s/pid; error_log %[1]s/error.log; daemon off; worker_processes 1;
events { worker_connections 256; }
http {
	access_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s;
	scgi_temp_path %[1]s; keepalive_timeout %[4]dms; proxy_read_timeout %[5]dms; proxy_next_upstream off;
	server { listen %[2]s; location / { proxy_pass http://%[3]s; } }
}`

const haproxyConfig = `
global
	maxconn 256
defaults
	mode http
	retries 0
	timeout connect 10s
	timeout client 10s
	timeout server %[5]dms
	timeout http-keep-alive %[4]dms
frontend front
	bind %[2]s
	default_backend back
backend back
	server one %[3]s
# %[1]s`

// enough is how long a proxy waits for a server that answers at once, however busy the machine is.
const enough = 10 * time.Second

// startProxy starts a real proxy from a Debian package in front of backend, and returns its URL. It keeps idle connections
// for keepAlive, and answers 504 when the backend has not answered within limit.
func startProxy(t *testing.T, name, config string, backend *httptest.Server, keepAlive, limit time.Duration) string {
	t.Helper()
	path := testsize.Program(t, name, name)
	dir := t.TempDir()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())
	file := filepath.Join(dir, "config")
	text := fmt.Sprintf(config, dir, address, backend.Listener.Addr(), keepAlive.Milliseconds(), limit.Milliseconds())
	require.NoError(t, os.WriteFile(file, []byte(text+"\n"), 0o600))
	args := []string{"-f", file, "-db"}
	if name == "nginx" {
		args = []string{"-p", dir, "-c", file}
	}
	var output strings.Builder
	command := exec.Command(path, args...)
	command.Stdout, command.Stderr = &output, &output
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		_ = command.Wait()
	})
	for range 500 {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return "http://" + address
		}
		time.Sleep(10 * time.Millisecond) // another process, which says nothing when it listens
	}
	t.Fatalf("%s does not start: %s", name, output.String())
	return ""
}

var proxies = map[string]string{"nginx": nginxConfig, "haproxy": haproxyConfig}

// TestA5_ConnectionsThatAreClosedAsTheyAreUsedAgain uses idle connections at the very time at which real proxies close them.
func TestA5_ConnectionsThatAreClosedAsTheyAreUsedAgain(t *testing.T) {
	rounds := 60
	if whole {
		rounds = 3000
	}
	for name, config := range proxies {
		t.Run(name, func(t *testing.T) {
			back := &behindProxy{}
			server := httptest.NewServer(back)
			defer server.Close()
			url := startProxy(t, name, config, server, keepAlive, enough)
			base := &http.Transport{}
			defer base.CloseIdleConnections()
			tr := transport(base, atOnce(3))
			var attempts, posts, answered int64
			for range rounds {
				for _, method := range []string{"GET", "POST"} {
					var b io.Reader
					if method == "POST" {
						b = strings.NewReader("order")
					}
					response, err := tr.RoundTrip(request(t, method, url, b))
					call, ok := policyhttp.Info(response, err)
					require.True(t, ok)
					if method == "POST" {
						posts++
					} else {
						require.NoError(t, err)
						attempts += int64(call.Attempts)
					}
					if err == nil {
						require.Equal(t, "hello", read(t, response))
						if method == "POST" {
							answered++
						}
					}
					// Another process closes the connection at this very time: that is what is tested.
					time.Sleep(keepAlive - time.Millisecond + time.Duration(rand.Int64N(int64(2*time.Millisecond))))
				}
			}
			require.LessOrEqual(t, back.gets.Load(), attempts, "no GET arrives that was not counted")
			require.LessOrEqual(t, back.posts.Load(), posts, "no POST arrives twice")
			require.LessOrEqual(t, answered, back.posts.Load())
			t.Logf("%d GET in %d attempts, %d POST of which %d were answered; arrived: %d, %d",
				rounds, attempts, posts, answered, back.gets.Load(), back.posts.Load())
		})
	}
}

func TestStatusesOfRealProxies(t *testing.T) {
	for name, config := range proxies {
		t.Run(name, func(t *testing.T) {
			back := &behindProxy{}
			server := httptest.NewServer(back)
			server.Config.ErrorLog = quiet
			defer server.Close()
			patient := startProxy(t, name, config, server, 5*time.Second, enough)
			hasty := startProxy(t, name, config, server, 5*time.Second, 100*time.Millisecond)
			base := &http.Transport{DisableKeepAlives: true} // haproxy ends connections after its own answers
			defer base.CloseIdleConnections()
			var classes []policy.Class
			observer := policy.ObserverFunc(func(_ context.Context, e policy.Event) {
				if e.Kind == policy.EventAttempt {
					classes = append(classes, e.Outcome.Class)
				}
			})
			tr := transport(base, atOnce(3), resilience.Observe(observer))
			for status, url := range map[int]string{502: patient + "/502", 503: patient + "/503", 504: hasty + "/504"} {
				for method, want := range map[string]int{"GET": 3, "POST": 1} {
					classes = nil
					response, err := tr.RoundTrip(request(t, method, url, nil))
					require.NoError(t, err)
					require.Equal(t, status, response.StatusCode)
					read(t, response)
					call, _ := policyhttp.Info(response, nil)
					require.Equal(t, want, call.Attempts)
					for _, class := range classes {
						require.Equal(t, policy.Transient, class)
					}
				}
			}
		})
	}
}
