package truth

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-resilience/resilience/lab/internal/replay"
	"github.com/go-resilience/resilience/lab/internal/replay/logs"
	"github.com/go-resilience/resilience/policyconfig"
)

// Put replaces what stands in a page of Markdown between the marks of a name.
func Put(page []byte, name, text string) ([]byte, error) {
	begin, end := fmt.Appendf(nil, "<!-- %s: written by lab/internal/replay/truth/write -->\n", name), fmt.Appendf(nil, "<!-- end of %s -->\n", name)
	from, until := bytes.Index(page, begin), bytes.Index(page, end)
	if from < 0 || until < from {
		return nil, fmt.Errorf("the page has no marks of %q", name)
	}
	return bytes.Join([][]byte{page[:from], begin, []byte("\n" + strings.TrimSpace(text) + "\n\n"), page[until:]}, nil), nil
}

// Paragraph breaks a text between words into lines of at most 100 characters.
func Paragraph(text string) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		switch {
		case column == 0:
		case column+1+len(word) > 100:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}

// IncidentTable predicts what the candidates of the incidents would have done, from the files in a folder, and puts it beside
// the truth.
func IncidentTable(folder string, truths int) (string, error) {
	var b strings.Builder
	b.WriteString("| log | pipeline | recorded | prediction | success | truth |\n|---|---|---|---|---|---|\n")
	for _, i := range Incidents() {
		log, err := i.Read(folder)
		if err != nil {
			return "", err
		}
		file := filepath.Join(folder, i.Candidates)
		set, err := policyconfig.LoadFile(file, policyconfig.Registry{})
		if err != nil {
			return "", err
		}
		for _, name := range set.Names() {
			candidate, err := replay.LoadCandidate(file + "#" + name)
			if err != nil {
				return "", err
			}
			c, _, err := i.Candidate(log, candidate, truths)
			if err != nil {
				return "", err
			}
			success := fmt.Sprintf("%.1f %%", 100*c.Predicted)
			if c.Verdict != replay.Firm {
				success = fmt.Sprintf("%.1f to %.1f %%", 100*c.Low, 100*c.High)
			}
			truth := fmt.Sprintf("%.1f %%", 100*c.Truth)
			if problem := c.Problem(); problem != "" {
				truth += ": " + problem
			}
			fmt.Fprintf(&b, "| %s | %s | %.1f %% | %s | %s | %s |\n", i.File, name, 100*log.Recorded().Success(), c.Verdict, success, truth)
		}
	}
	return b.String(), nil
}

// Read reads the log of the incident.
func (i *Incident) Read(folder string) (*replay.Log, error) {
	file, err := os.Open(filepath.Join(folder, i.File))
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	source, err := logs.Open(file, logs.Options{})
	if err != nil {
		return nil, err
	}
	return replay.Read(source, nil)
}
