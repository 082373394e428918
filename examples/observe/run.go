package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// settings are what a run can be told.
type settings struct {
	listen   string // the address for those who look
	lasts    time.Duration
	outage   outage
	listener func(address string) (net.Listener, error)
}

// closing is how long each server may take to end.
const closing = 2 * time.Second

// run runs the service under its load, and returns when ctx or the time is over and everything is closed.
func run(ctx context.Context, out io.Writer, s settings) (err error) {
	ctx, cancel := context.WithTimeout(ctx, s.lasts)
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)

	// What is opened is closed in the opposite order: first the load, then the service, then what looks at it.
	o, err := newObservers(newLog(out))
	if err != nil {
		return err
	}
	defer within(func(ctx context.Context) { err = errors.Join(err, o.otel.close(ctx)) })
	defer o.log.Flush()
	defer o.page.Close()
	users, err := newUsers(o)
	if err != nil {
		return err
	}
	operators, err := s.serve(s.listen, forOperators(o), fail)
	if err != nil {
		return err
	}
	operators.http.RegisterOnShutdown(o.page.Close) // live streams end, so that Shutdown need not wait for them
	defer within(operators.close)
	backend, err := s.serve("127.0.0.1:0", dependency(time.Now(), s.outage), fail)
	if err != nil {
		return err
	}
	defer within(backend.close)
	base := &http.Transport{MaxIdleConnsPerHost: mostRequests, IdleConnTimeout: time.Minute}
	defer base.CloseIdleConnections()
	service, err := s.serve("127.0.0.1:0", newService(backend.url, base, users, o.otel), fail)
	if err != nil {
		return err
	}
	defer within(service.close)

	fmt.Fprintf(out, addresses, operators.url, service.url, s.lasts, s.outage.after, s.outage.after+s.outage.lasts)
	front := &http.Transport{MaxIdleConnsPerHost: mostRequests, IdleConnTimeout: time.Minute}
	defer front.CloseIdleConnections()
	l := newLoad(front)
	l.run(ctx, service.url)
	fmt.Fprintf(out, "observe: %v\n", l)
	if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

const addresses = `Open one of these; lines of the log follow.
  %[1]s/status              the live page
  %[1]s/status?format=json  the same as JSON
  %[1]s/metrics             Prometheus
  %[1]s/otel/metrics        OpenTelemetry, metrics
  %[1]s/otel/spans          OpenTelemetry, the last spans with events
  %[2]s/users/1             the service itself
It ends after %[3]v. What the service depends on is sick from %[4]v to %[5]v.
`

// within gives f a while, whatever has ended before.
func within(f func(context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	f(ctx)
}
