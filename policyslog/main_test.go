package policyslog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("down")

func ok(context.Context) error   { return nil }
func fail(context.Context) error { return errDown }

// output is the lines of a JSON handler.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// newLogger returns a logger for everything from level on, and its lines.
func newLogger(level slog.Leveler) (*slog.Logger, *output) {
	o := &output{}
	return slog.New(slog.NewJSONHandler(o, &slog.HandlerOptions{Level: level})), o
}

// line is one line of a log.
type line struct {
	Level, Msg string
	Attrs      map[string]any `json:"resilience"`
}

// lines returns the lines so far.
func (o *output) lines(t *testing.T) (lines []line) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for text := range bytes.Lines(o.text.Bytes()) {
		var l line
		require.NoError(t, json.Unmarshal(text, &l), string(text))
		lines = append(lines, l)
	}
	return lines
}

// of returns those of the lines whose event is event.
func of(lines []line, event string) (found []line) {
	for _, l := range lines {
		if l.Attrs["event"] == event {
			found = append(found, l)
		}
	}
	return found
}

// refuse is a guard that refuses everything.
type refuse struct{ name string }

var errClosed = policy.NewReason("test.closed", "closed")

func (r *refuse) Stage() policy.Stage { return policy.StageShed }

func (r *refuse) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, &policy.Rejection{Kind: "gate", Name: r.name, Reason: errClosed}
}

func (r *refuse) Settle(context.Context, policy.Ticket, policy.Outcome) {}

// named returns a pipeline with a name.
func named(name string, layers ...policy.Layer) *resilience.Pipeline {
	return resilience.Compose(append(layers, resilience.Name(name))...)
}
