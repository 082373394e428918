package policyhttp

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// responseWriter notes how an answer begins and passes everything on. What the writer inside can do beside
// [http.ResponseWriter] is reached through [http.ResponseController], by Unwrap; and by type assertion on what face
// returns.
type responseWriter struct {
	http.ResponseWriter
	status        int   // of the final answer; 0 before it has begun
	defaultStatus int   // of an answer that names none; 0: the writer inside knows
	hijacked      bool  // the handler has taken the connection over
	refusal       error // of a Handler inside, whose answer this is
}

// begun reports whether the answer has begun, or will not be ours.
func (w *responseWriter) begun() bool { return w.status != 0 || w.hijacked }

// begin notes the status of the answer, if it is the first.
func (w *responseWriter) begin(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// writeDefaultStatus names the status that the handler has not named.
func (w *responseWriter) writeDefaultStatus() {
	if w.defaultStatus != 0 && !w.begun() {
		w.WriteHeader(w.defaultStatus)
	}
}

// Unwrap is for [http.ResponseController].
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader notes the status, unless it is informational: the answer is yet to come.
func (w *responseWriter) WriteHeader(status int) {
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		w.begin(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseWriter) Write(p []byte) (int, error) {
	w.writeDefaultStatus()
	w.begin(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// WriteString implements [io.StringWriter].
func (w *responseWriter) WriteString(s string) (int, error) {
	w.writeDefaultStatus()
	w.begin(http.StatusOK)
	return io.WriteString(w.ResponseWriter, s)
}

// ReadFrom implements [io.ReaderFrom]: a file is sent by the kernel where the writer inside can let it.
func (w *responseWriter) ReadFrom(r io.Reader) (n int64, err error) {
	w.writeDefaultStatus()
	defer func() {
		if n > 0 { // an empty source begins nothing
			w.begin(http.StatusOK)
		}
	}()
	if inner, ok := w.ResponseWriter.(io.ReaderFrom); ok {
		return inner.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{w.ResponseWriter}, r)
}

// FlushError is for [http.ResponseController]. A flush begins the answer.
func (w *responseWriter) FlushError() error {
	w.writeDefaultStatus()
	err := http.NewResponseController(w.ResponseWriter).Flush()
	if err == nil {
		w.begin(http.StatusOK)
	}
	return err
}

// Push implements [http.Pusher], whose error for a connection that cannot is [http.ErrNotSupported].
func (w *responseWriter) Push(target string, options *http.PushOptions) error {
	if pusher, ok := w.ResponseWriter.(http.Pusher); ok {
		return pusher.Push(target, options)
	}
	return http.ErrNotSupported
}

func (w *responseWriter) hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffer, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.hijacked = true
	}
	return conn, buffer, err
}

// noteRefusal is called by a Handler inside that refuses the request.
func (w *responseWriter) noteRefusal(err error) { w.refusal = err }

// The faces of a responseWriter: handlers ask by type assertion whether they can flush and hijack. These are single
// pointers, so that making an interface of them allocates nothing.
type (
	flushWriter       struct{ *responseWriter }
	hijackWriter      struct{ *responseWriter }
	flushHijackWriter struct{ *responseWriter }
)

func (w flushWriter) Flush()       { _ = w.FlushError() }
func (w flushHijackWriter) Flush() { _ = w.FlushError() }

func (w hijackWriter) Hijack() (net.Conn, *bufio.ReadWriter, error)      { return w.hijack() }
func (w flushHijackWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.hijack() }

// face returns w as what the handler gets: a writer that can flush and hijack exactly if the one inside can.
func (w *responseWriter) face() http.ResponseWriter {
	canFlush, canHijack := abilities(w.ResponseWriter)
	switch {
	case canFlush && canHijack:
		return flushHijackWriter{w}
	case canFlush:
		return flushWriter{w}
	case canHijack:
		return hijackWriter{w}
	}
	return w
}

// abilities returns what w, or a writer that it wraps, can do.
func abilities(w http.ResponseWriter) (flush, hijack bool) {
	for w != nil && !(flush && hijack) {
		_, flushes := w.(http.Flusher)
		_, hijacks := w.(http.Hijacker)
		flush, hijack = flush || flushes, hijack || hijacks
		unwrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = unwrapper.Unwrap()
	}
	return flush, hijack
}
