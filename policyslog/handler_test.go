package policyslog

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/slogtest"
)

// The handler that contains panics is a handler by the book.
func TestP5_TheContainedHandlerIsAHandler(t *testing.T) {
	var text bytes.Buffer
	handler := contained{slog.NewJSONHandler(&text, nil)}
	results := func() (results []map[string]any) {
		for line := range bytes.Lines(text.Bytes()) {
			var result map[string]any
			if err := json.Unmarshal(line, &result); err != nil {
				t.Fatal(err)
			}
			results = append(results, result)
		}
		return results
	}
	if err := slogtest.TestHandler(handler, results); err != nil {
		t.Error(err)
	}
}
