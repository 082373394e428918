package playground

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/go-resilience/resilience/lab/internal/atomicfile"
)

// Command is "lab playground": it builds the page, and serves it until it is interrupted, or writes it to a file. It returns
// the exit code.
func Command(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	return command(ctx, Page, args, stdout, stderr)
}

func command(ctx context.Context, page func(context.Context) ([]byte, error), args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("lab playground", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("out", "", "write the page to this `file`, and serve nothing")
	listen := flags.String("listen", "localhost:8377", "serve the page at this `address`")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "lab playground: unexpected argument %q; see -help\n", flags.Arg(0))
		return 2
	}
	var err error
	if *out != "" {
		err = write(ctx, page, *out, stdout)
	} else {
		err = serve(ctx, page, *listen, stdout)
	}
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil: // whatever that has broken
		fmt.Fprintln(stderr, "lab playground: interrupted: nothing was written")
		return 130
	}
	fmt.Fprintln(stderr, "lab playground:", err)
	return 1
}

func write(ctx context.Context, page func(context.Context) ([]byte, error), file string, stdout io.Writer) error {
	content, err := page(ctx)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(file, content); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: %.2f MB\n", file, float64(len(content))/1e6)
	return nil
}

func serve(ctx context.Context, page func(context.Context) ([]byte, error), address string, stdout io.Writer) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("%w; -listen chooses another address", err)
	}
	defer func() { _ = listener.Close() }()
	fmt.Fprintln(stdout, "compiling the library to WebAssembly")
	content, err := page(ctx)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler(content), ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintf(stdout, "http://%s/ until interrupted\n", listener.Addr())
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// handler serves the page at "/", and nothing else.
func handler(content []byte) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		_, _ = w.Write(content)
	})
	return mux
}
