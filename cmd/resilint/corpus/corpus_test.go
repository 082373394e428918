package corpus

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rows reads a table: a header, and rows of as many columns, separated by tabs.
func rows(t *testing.T, name, header string) [][]string {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	require.Equal(t, header, strings.ReplaceAll(lines[0], "\t", " "))
	var table [][]string
	for i, line := range lines[1:] {
		columns := strings.Split(line, "\t")
		require.Len(t, columns, len(strings.Fields(header)), "%s:%d", name, i+2)
		for _, column := range columns {
			require.NotEmpty(t, strings.TrimSpace(column), "%s:%d", name, i+2)
		}
		table = append(table, columns)
	}
	return table
}

var (
	version  = regexp.MustCompile(`^v\d+\.\d+\.\d+[-+.0-9a-z]*$`)
	position = regexp.MustCompile(`^[-./\w]+\.go:\d+$`)
	check    = regexp.MustCompile(`^RL\d+[a-f]?$`)
)

// modules returns the modules of the corpus.
func modules(t *testing.T) map[string]bool {
	known := map[string]bool{}
	for _, row := range rows(t, "modules.tsv", "module version packages findings") {
		require.False(t, known[row[0]], "%s stands there twice", row[0])
		require.Regexp(t, version, row[1])
		known[row[0]] = true
	}
	require.GreaterOrEqual(t, len(known), 20)
	return known
}

// Of a random sample of the findings at least nine in ten are true.
func TestPrecision(t *testing.T) {
	known, seen := modules(t), map[string]bool{}
	verdicts := map[string]int{}
	for _, row := range rows(t, "precision.tsv", "check module position verdict reason") {
		require.Regexp(t, check, row[0])
		require.True(t, known[row[1]], row[1])
		require.Regexp(t, position, row[2])
		finding := strings.Join(row[:3], " ")
		require.False(t, seen[finding], finding)
		seen[finding] = true
		verdicts[row[3]]++
	}
	all := verdicts["true"] + verdicts["false"]
	require.Equal(t, len(seen), all, "a verdict is true or false")
	require.GreaterOrEqual(t, all, 60)
	require.GreaterOrEqual(t, verdicts["true"]*10, all*9, "%v", verdicts)
	t.Logf("%d of %d findings are true", verdicts["true"], all)
}

// Of the loops that were found by hand, in modules by which no check was tuned, at least eight in ten are found.
func TestRecall(t *testing.T) {
	known, seen, in := modules(t), map[string]bool{}, map[string]bool{}
	found := 0
	for _, row := range rows(t, "recall.tsv", "module position found what") {
		require.True(t, known[row[0]], row[0])
		require.Regexp(t, position, row[1])
		require.False(t, seen[row[0]+row[1]], row[1])
		seen[row[0]+row[1]], in[row[0]] = true, true
		if row[2] == "no" {
			continue
		}
		for id := range strings.SplitSeq(row[2], ",") {
			require.Regexp(t, check, id)
		}
		found++
	}
	require.GreaterOrEqual(t, len(in), 4)
	require.GreaterOrEqual(t, len(seen), 40)
	require.GreaterOrEqual(t, found*10, len(seen)*8)
	t.Logf("%d of %d loops are found", found, len(seen))
}
