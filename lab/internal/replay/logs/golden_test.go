package logs

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// appended is the log_format of nginx-appended.log, as it stood in nginx's configuration.
const appended = `nginx:'$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
    '"$http_referer" "$http_user_agent" $request_time $upstream_response_time $pipe $upstream_status $msec';`

// drain reads a source to its end.
func drain(source Source) ([]Record, error) {
	var records []Record
	for {
		record, err := source.Next()
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return records, err
		}
		records = append(records, record)
	}
}

// read reads a log from a text.
func read(text string, options Options) ([]Record, Notes, error) {
	source, err := Open(strings.NewReader(text), options)
	if err != nil {
		return nil, Notes{}, err
	}
	records, err := drain(source)
	return records, source.Notes(), err
}

// printed returns a record on a line.
func printed(r *Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %v", r.Start.Format("2006-01-02T15:04:05.000000000"), r.Latency)
	if r.Status != 0 {
		fmt.Fprintf(&b, " status=%d", r.Status)
	}
	if r.Failed {
		fmt.Fprintf(&b, " failed=%q", r.Kind)
	}
	if r.Censored {
		b.WriteString(" censored")
	}
	if r.Policy != "" {
		fmt.Fprintf(&b, " policy=%s", r.Policy)
	}
	if r.Code != "" {
		fmt.Fprintf(&b, " code=%s", r.Code)
	}
	if r.Class != "" {
		fmt.Fprintf(&b, " class=%s", r.Class)
	}
	if r.Queued != 0 {
		fmt.Fprintf(&b, " queued=%v", r.Queued)
	}
	if r.Call != "" {
		fmt.Fprintf(&b, " call=%s attempt=%d", r.Call, r.Attempt)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*")
	require.NoError(t, err)
	tried := 0
	for _, file := range files {
		if name := filepath.Base(file); name == "README.md" || name == "fuzz" || strings.HasSuffix(name, ".golden") {
			continue
		}
		tried++
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			var options Options
			if strings.HasSuffix(file, "nginx-appended.log") {
				options.Format = appended
			}
			var b bytes.Buffer
			records, notes, err := read(string(text), options)
			fmt.Fprintf(&b, "format: %s, because %s\n", notes.Format, notes.Why)
			fmt.Fprintf(&b, "lines: %d, records: %d, bad: %d, resolution: %v\n", notes.Lines, notes.Records, notes.Bad, notes.Resolution)
			for _, warning := range notes.Warnings {
				fmt.Fprintf(&b, "warning: %s\n", warning)
			}
			if err != nil {
				fmt.Fprintf(&b, "error: %v\n", err)
			}
			for i := range records {
				fmt.Fprintln(&b, printed(&records[i]))
			}
			require.Equal(t, strings.HasPrefix(filepath.Base(file), "refused-"), err != nil, "%v", err)
			golden := file + ".golden"
			if *update {
				require.NoError(t, os.WriteFile(golden, b.Bytes(), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), b.String())
		})
	}
	require.Greater(t, tried, 20)
}
