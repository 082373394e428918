package command

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policyslog"
)

const (
	gentle = `{"pipelines":{"users":{"layers":[{"kind":"retry"},{"kind":"timeout","perAttempt":"1s"}]}}}`
	harsh  = `{"pipelines":{"users":{"layers":[{"kind":"ratelimit","perSecond":50,"burst":5}]},"other":{"layers":[]}}}`
)

// files writes a log of 20 s with 100 calls a second, and two candidates, into a folder.
func files(t *testing.T) (log, a, b, out string) {
	t.Helper()
	dir := t.TempDir()
	var lines bytes.Buffer
	begin := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	write := func(l policyslog.Line) {
		l.Version = policyslog.Version
		text, err := json.Marshal(l)
		require.NoError(t, err)
		lines.Write(append(text, '\n'))
	}
	write(policyslog.Line{Kind: "begin", Time: begin})
	for i := range 2000 {
		at := time.Duration(i)*10*time.Millisecond + time.Duration(i*7919%9_000_000)
		write(policyslog.Line{Kind: "attempt", Time: begin.Add(at), Start: policyslog.Seconds(at), Call: uint64(i + 1), Attempt: 1, Elapsed: policyslog.Seconds(20 * time.Millisecond), Outcome: "succeeded"})
	}
	put := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return path
	}
	return put("calls.log", lines.Bytes()), put("a.json", []byte(gentle)), put("b.json", []byte(harsh)), filepath.Join(dir, "out")
}

func lab(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = Run(args, strings.NewReader(""), &out, &err)
	return code, out.String(), err.String()
}

// -pipeline a.json -pipeline b.json -fail-if 'refused > 1 %' for CI.
func TestY7_FailIf(t *testing.T) {
	log, a, b, out := files(t)
	code, stdout, stderr := lab("-out", out, "-pipeline", a, "-pipeline", b+"#users", "-fail-if", "refused > 1 %", log)
	require.Equal(t, exitMet, code, stderr)
	require.Contains(t, stdout, "2,001 lines of recorder")
	require.Contains(t, stdout, `-fail-if "refused > 1 %": a.json: no, refused 0.00 %`)
	require.Contains(t, stdout, `-fail-if "refused > 1 %": b.json#users: yes, refused 4`)
	code, stdout, stderr = lab("-out", out, "-pipeline", a, "-fail-if", "refused > 1 %", "-fail-if", "lost > 0 %", "-fail-if", "p99 > 500ms", log)
	require.Zero(t, code, stdout+stderr)
	again, same, _ := lab("-out", out, "-pipeline", a, "-fail-if", "refused > 1 %", "-fail-if", "lost > 0 %", "-fail-if", "p99 > 500ms", log)
	require.Equal(t, code, again)
	require.Equal(t, withoutTime(stdout), withoutTime(same), "a run repeats itself")
}

func withoutTime(report string) string {
	kept, _, _ := strings.Cut(report, "\nseed ")
	return kept
}

func TestUsage(t *testing.T) {
	log, a, b, out := files(t)
	dir := filepath.Dir(log)
	empty := filepath.Join(dir, "empty.log")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	broken := filepath.Join(dir, "broken.json")
	require.NoError(t, os.WriteFile(broken, []byte("{\n\"pipelines\": {\"users\": {\"layers\": [{\"kind\": \"retry\", \"atempts\": 3}]}}}"), 0o600))
	text, err := os.ReadFile(log)
	require.NoError(t, err)
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = zip.Write(text)
	require.NoError(t, zip.Close())
	cut := filepath.Join(dir, "cut.gz")
	require.NoError(t, os.WriteFile(cut, packed.Bytes()[:packed.Len()/2], 0o600))
	mixed := filepath.Join(dir, "mixed.log")
	require.NoError(t, os.WriteFile(mixed, append(text, bytes.Repeat([]byte("127.0.0.1 - - what is this\n"), 2000)...), 0o600))
	blank := filepath.Join(dir, "blank.log")
	require.NoError(t, os.WriteFile(blank, []byte("\n\n"), 0o600))
	onebad := filepath.Join(dir, "onebad.log")
	require.NoError(t, os.WriteFile(onebad, append(text, "what is this\n"...), 0o600))
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no pipeline":          {[]string{log}, "no -pipeline is given"},
		"no log":               {[]string{"-pipeline", a}, "no log is given"},
		"unknown flag":         {[]string{"-frobnicate"}, "flag provided but not defined"},
		"no such file":         {[]string{"-pipeline", "nowhere.json", log}, "nowhere.json"},
		"a folder":             {[]string{"-pipeline", dir, log}, "is not a regular file"},
		"which pipeline":       {[]string{"-pipeline", b, log}, "b.json has 2 pipelines: choose one, as in b.json#other (other, users)"},
		"no such pipeline":     {[]string{"-pipeline", a + "#orders", log}, `a.json has no pipeline "orders"; there are users`},
		"a broken file":        {[]string{"-pipeline", broken, log}, `broken.json:2:54: /pipelines/users/layers/0/atempts: "atempts" is not known here: did you mean "attempts"?`},
		"no such log":          {[]string{"-out", out, "-pipeline", a, "nowhere.log"}, "nowhere.log"},
		"an empty log":         {[]string{"-out", out, "-pipeline", a, empty}, "empty.log: "},
		"truncated gzip":       {[]string{"-out", out, "-pipeline", a, cut}, "cut.gz: "},
		"mixed formats":        {[]string{"-out", out, "-pipeline", a, mixed}, "mixed.log: "},
		"no condition":         {[]string{"-pipeline", a, "-fail-if", "loss > 1 %", log}, `there is no number "loss"; there are lost, gained`},
		"a flag too late":      {[]string{"-pipeline", a, log, "-seed", "3"}, "-seed: flags must stand before the logs"},
		"seed too large":       {[]string{"-pipeline", a, "-seed", "4294967296", log}, "must be from 0 to 4294967295"},
		"no output directory":  {[]string{"-pipeline", a, "-out", "", log}, "-out is empty"},
		"unknown format":       {[]string{"-out", out, "-format", "apache", "-pipeline", a, log}, "apache"},
		"plan and pipeline":    {[]string{"-plan", "-pipeline", a, a, a, log}, "-plan and -pipeline: choose one"},
		"plan of two":          {[]string{"-plan", a, b + "#other", log}, `the pipelines "users" and "other" are two, and not one before and after a change`},
		"a log twice":          {[]string{"-out", out, "-pipeline", a, log, filepath.Join(dir, "..", filepath.Base(dir), "calls.log")}, "is given twice"},
		"standard input twice": {[]string{"-out", out, "-pipeline", a, "-", "-"}, "the standard input (-) is given twice"},
		"empty logs":           {[]string{"-out", out, "-pipeline", a, empty, blank}, "empty.log: log: the file is empty"},
		"no bad line at all":   {[]string{"-out", out, "-max-bad", "0", "-pipeline", a, onebad}, "onebad.log: log (recorder): 1 of the first"},
		"plan without a log":   {[]string{"-plan", a, a}, "two files of policyconfig and a log"},
		"share of bad lines":   {[]string{"-max-bad", "NaN", "-pipeline", a, log}, "-max-bad NaN"},
		"a log is no pipeline": {[]string{"-pipeline", log, log}, "calls.log:"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := lab(c.args...)
			require.Equal(t, exitUsage, code, stdout+stderr)
			require.Contains(t, stderr, c.want)
			require.NotContains(t, stdout, "succeeded", "no table")
		})
	}
	code, _, stderr := lab("-help")
	require.Zero(t, code)
	require.Contains(t, stderr, "recorded successes that fail or are refused now")
}

// Bad lines are counted and named, and a log from the standard input is read.
func TestY6_BadLinesAreCounted(t *testing.T) {
	log, a, _, out := files(t)
	text, err := os.ReadFile(log)
	require.NoError(t, err)
	text = append(text, "{\"version\":1,\"kind\":\n"...)
	var stdout, stderr bytes.Buffer
	require.Zero(t, Run([]string{"-out", out, "-pipeline", a, "-"}, bytes.NewReader(text), &stdout, &stderr), stderr.String())
	require.Contains(t, stdout.String(), "bad line 2002: ")
	require.Contains(t, stdout.String(), fmt.Sprintf("warning: %s", "1 line is bad and left out"))
}

// Of logs that were rotated one may have nothing yet: it is left out, and named. Their order is not that of time.
func TestRotatedLogs(t *testing.T) {
	log, a, _, out := files(t)
	text, err := os.ReadFile(log)
	require.NoError(t, err)
	half := bytes.IndexByte(text[len(text)/2:], '\n') + len(text)/2 + 1
	dir := filepath.Dir(log)
	for name, part := range map[string][]byte{"old.log": text[:half], "new.log": text[half:], "now.log": nil} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), part, 0o600))
	}
	code, whole, stderr := lab("-out", out, "-pipeline", a, log)
	require.Zero(t, code, stderr)
	code, parts, stderr := lab("-out", out, "-pipeline", a, filepath.Join(dir, "now.log"), filepath.Join(dir, "new.log"), filepath.Join(dir, "old.log"))
	require.Zero(t, code, stderr)
	require.Contains(t, parts, "now.log: the file is empty and is left out\n")
	table := func(report string) string {
		return report[strings.Index(report, "\ncalls "):strings.Index(report, "\nseed ")]
	}
	require.Equal(t, table(whole), table(parts))
}

func TestPlan(t *testing.T) {
	log, a, b, out := files(t)
	next := filepath.Join(filepath.Dir(b), "next.json")
	require.NoError(t, os.WriteFile(next, []byte(strings.Replace(gentle, `"1s"`, `"10ms"`, 1)), 0o600))
	code, stdout, stderr := lab("-out", out, "-plan", a, next, log)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "what changes:\n  users: ")
	require.Contains(t, stdout, "1s to 10ms")
	require.Regexp(t, `lost +0 +2,000 \(100.0 %\)`, stdout)

	code2 := filepath.Join(filepath.Dir(b), "code.json")
	require.NoError(t, os.WriteFile(code2, []byte(strings.Replace(gentle, `"kind":"retry"`, `"kind":"retry","if":"idempotent"`, 1)), 0o600))
	code, stdout, stderr = lab("-out", out, "-plan", a, code2, log)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "what changes:\n  users: if none to \"idempotent\" (code, which is not replayed)\n\n")
}

// interrupted is a log whose reader is interrupted, and that never comes before release.
type interrupted struct {
	interrupt func()
	release   chan struct{}
}

func (r interrupted) Read([]byte) (int, error) {
	r.interrupt()
	<-r.release
	return 0, io.EOF
}

// Whoever is interrupted says so at once, and leaves nothing behind.
func TestInterrupted(t *testing.T) {
	_, candidate, _, out := files(t)
	ctx, interrupt := context.WithCancel(t.Context())
	stdin := interrupted{interrupt, make(chan struct{})}
	defer close(stdin.release)
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitInterrupted, runUntil(ctx, []string{"-out", out, "-pipeline", candidate, "-"}, stdin, &stdout, &stderr))
	require.Equal(t, "lab replay: interrupted: nothing was written\n", stderr.String())
	require.Empty(t, stdout.String())
	require.NoDirExists(t, out)
}
