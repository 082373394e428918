// Httpclient calls two servers on loopback, one that fails now and then and one that is broken, through a client with
// retries and a breaker for each host. It prints what it logs and, at the end, the results. It takes about 3 seconds.
//
//	go run ./examples/httpclient
//
// Where to read: client.go is all that an application needs; server.go is what it calls.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policyhttp"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	if err := run(context.Background(), os.Stdout, log); err != nil {
		fmt.Fprintln(os.Stderr, "httpclient:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, log *slog.Logger) error {
	shop := &well{orders: map[string]string{}}
	wellServer, sickServer := httptest.NewServer(shop), httptest.NewServer(http.HandlerFunc(sick))
	defer wellServer.Close()
	defer sickServer.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	client := newClient(base, log)

	for i := range 5 {
		response, err := order(ctx, client, wellServer.URL+"/orders", fmt.Sprintf("order-%d", i), "tea")
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		call, _ := policyhttp.Info(response, nil)
		fmt.Fprintf(out, "order %d: %s, attempts %d\n", i, response.Status, call.Attempts)
	}

	response, err := download(ctx, client, wellServer.URL+"/file")
	if err != nil {
		return err
	}
	received, err := io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "download: %d bytes\n", received)

	failed, refused := 0, 0
	for range 30 {
		response, err := download(ctx, client, sickServer.URL)
		switch {
		case errors.Is(err, breaker.ErrOpen):
			refused++
		case err != nil:
			return err
		default:
			_ = response.Body.Close()
			failed++
		}
	}
	fmt.Fprintf(out, "sick server: %d calls failed, %d were refused\n", failed, refused)

	response, err = download(ctx, client, wellServer.URL)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	fmt.Fprintf(out, "the other server: %s; it has %d orders\n", response.Status, len(shop.orders))
	return nil
}
