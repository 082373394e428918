package replay

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/lab/internal/replay/logs"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// made is a source of records that a test has made.
type made struct {
	records []logs.Record
	next    int
	notes   logs.Notes
}

func (m *made) Next() (logs.Record, error) {
	if m.next == len(m.records) {
		return logs.Record{}, io.EOF
	}
	m.next++
	return m.records[m.next-1], nil
}

func (m *made) Notes() logs.Notes {
	m.notes.Lines, m.notes.Records = m.next, m.next
	return m.notes
}

func (m *made) log(t testing.TB) *Log {
	t.Helper()
	l, err := Read(m, nil)
	require.NoError(t, err)
	return l
}

func candidate(t testing.TB, layers string) *Candidate {
	t.Helper()
	c, err := NewCandidate("p.json", []byte(`{"pipelines":{"users":{"layers":[`+layers+`]}}}`), "")
	require.NoError(t, err)
	return c
}
