// Observe is a small service that you can watch in four ways: log lines of log/slog, a page for Prometheus, metrics and
// spans of OpenTelemetry, and the live page. Its dependency fails for a while, so that there is something to see. It
// brings its own load, uses only loopback, and ends by itself.
//
//	go run ./examples/observe
//	go run ./examples/observe -for 5m -listen 127.0.0.1:9464
//
// Where to read: log.go, prometheus.go, opentelemetry.go and page.go are one way to look each; pipeline.go attaches them;
// service.go is the service; dependency.go is what it calls; load.go calls it; run.go starts and closes everything.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

func main() {
	lasts := flag.Duration("for", 20*time.Second, "how long to run, from 2s to 1h; the dependency is sick for two fifths of it")
	listen := flag.String("listen", "127.0.0.1:0", "the address for those who look, on loopback; port 0 is a free one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := start(ctx, *listen, *lasts)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "observe:", err)
		os.Exit(1)
	}
}

func start(ctx context.Context, listen string, lasts time.Duration) error {
	if lasts < 2*time.Second || lasts > time.Hour {
		return fmt.Errorf("-for %v: it must be from 2s to 1h", lasts)
	}
	return run(ctx, os.Stdout, settings{
		listen: listen, lasts: lasts, outage: outage{after: lasts / 4, lasts: lasts * 2 / 5}, listener: listenTCP,
	})
}
