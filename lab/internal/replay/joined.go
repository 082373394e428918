package replay

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/go-resilience/resilience/lab/internal/replay/logs"
)

// Joined is several logs as one. The calls of each are its own.
type Joined struct {
	parts []part
	now   int
	left  []string
}

type part struct {
	name   string
	source logs.Source
	file   io.Closer
}

// Add adds a log, whose file Close closes.
func (j *Joined) Add(name string, source logs.Source, file io.Closer) {
	j.parts = append(j.parts, part{name, source, file})
}

// LeaveOut notes why a log is no part.
func (j *Joined) LeaveOut(name, why string) {
	j.left = append(j.left, name+": "+why+" and is left out")
}

// Len returns how many logs were added.
func (j *Joined) Len() int { return len(j.parts) }

// Next implements [logs.Source].
func (j *Joined) Next() (logs.Record, error) {
	for ; j.now < len(j.parts); j.now++ {
		p := j.parts[j.now]
		record, err := p.source.Next()
		switch {
		case err == nil:
			if record.Call != "" && len(j.parts) > 1 {
				record.Call = strconv.Itoa(j.now) + "/" + record.Call
			}
			return record, nil
		case !errors.Is(err, io.EOF):
			return logs.Record{}, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return logs.Record{}, io.EOF
}

// Notes implements [logs.Source].
func (j *Joined) Notes() (all logs.Notes) {
	for i, p := range j.parts {
		n := p.source.Notes()
		if i == 0 {
			all = n
			continue
		}
		if n.Format != all.Format {
			all.Format += ", " + n.Format
		}
		all.Lines += n.Lines
		all.Records += n.Records
		all.Bad += n.Bad
		all.BadLines = append(all.BadLines, n.BadLines...)
		all.Sampled = cmp.Or(all.Sampled, n.Sampled)
		all.Resolution = max(all.Resolution, n.Resolution)
		for _, w := range n.Warnings {
			all.Warnings = append(all.Warnings, p.name+": "+w)
		}
	}
	all.Warnings = append(all.Warnings, j.left...)
	all.BadLines = slices.Clip(all.BadLines[:min(10, len(all.BadLines))])
	return all
}

// Close closes the files.
func (j *Joined) Close() {
	for _, p := range j.parts {
		_ = p.file.Close()
	}
}
