package logs

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

// packed returns a text as a gzip file.
func packed(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.Bytes()
}

// lineAt returns a line of nginx that ended so long after an hour, and took 10 ms.
func lineAt(after time.Duration) string {
	return fmt.Sprintf("%.3f 0.010 200\n", 1795687200+after.Seconds())
}

// traffic returns n lines of nginx, one each 10 ms.
func traffic(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(lineAt(time.Duration(i) * 10 * time.Millisecond))
	}
	return b.String()
}

func TestY6_WhatIsNoLog(t *testing.T) {
	for name, c := range map[string]struct{ text, reason string }{
		"nothing":                           {"", "the file is empty"},
		"nothing, packed":                   {string(packed("")), "the file is empty"},
		"a mark only":                       {"\xef\xbb\xbf", "no line with text"},
		"blank lines":                       {"\n \r\n\t\n", "no line with text"},
		"prose":                             {"Dear all,\nthe server is down.\n", `line 1: the format is not known: Dear all, (read are: recorder, envoy, `},
		"escape sequences":                  {"\x1b[2Jhello\n", `\x1b[2Jhello`},
		"zstd":                              {"\x28\xb5\x2f\xfd....", "zstd"},
		"bzip2":                             {"BZh91AY", "bzip2"},
		"xz":                                {"\xfd7zXZ\x00", "xz"},
		"zip":                               {"PK\x03\x04....", "zip"},
		"gzip twice":                        {string(packed(string(packed(traffic(1))))), "twice"},
		"UTF-16":                            {"\xff\xfe1\x007\x00", "UTF-16"},
		"bytes":                             {"\x01\x02\x00\x00\n\x00", "not text"},
		"a list":                            {`[{"start_time":"2026-11-26T10:00:00Z"}]`, "one object on each line"},
		"JSON over lines":                   {"{\n  \"msec\": 1795687200.123\n}\n", "one object on each line"},
		"JSON of something":                 {`{"level":"info","msg":"hello"}`, "the format is not known"},
		"the combined format":               {`192.0.2.1 - - [26/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "curl"` + "\n", "whole seconds: log $msec and $request_time"},
		"the common format":                 {`192.0.2.1 - ann [26/Nov/2026:10:00:00 +0000] "GET / HTTP/1.0" 200 5` + "\n", "whole seconds"},
		"a format of nginx with too little": {"1795687200.123 0.010\n", "the format is not known"},
		"JMeter without a header":           {"1795687200000,12,a,200,OK,t,text,true,,1,1,1,1,http://a/,10,0,1\n", "put the header above the lines"},
		"whole seconds of nginx":            {"1795687200 0.010 200\n", "the format is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(strings.NewReader(c.text), Options{})
			var format *FormatError
			require.ErrorAs(t, err, &format)
			require.ErrorContains(t, err, c.reason)
			require.NotContains(t, err.Error(), "\x1b")
		})
	}
}

func TestY6_Options(t *testing.T) {
	for name, c := range map[string]struct {
		options Options
		reason  string
	}{
		"a format nobody knows":  {Options{Format: "apache"}, `"apache" is not known: recorder, envoy, nginx`},
		"a share below nothing":  {Options{MaxBad: -1}, "MaxBad -1: must not be negative"},
		"another format":         {Options{Format: "haproxy"}, "the first lines are not of that format: 1795687200.000 0.010 200"},
		"a log_format without":   {Options{Format: "nginx:$msec $status"}, "no $request_time"},
		"nothing between":        {Options{Format: "nginx:$msec$request_time $status"}, "nothing between $msec and $request_time"},
		"a $ without a name":     {Options{Format: "nginx:$msec $ $request_time $status"}, "a $ without a name"},
		"something out of place": {Options{Format: "nginx:'$msec ' x '$request_time $status'"}, "between its quotes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(strings.NewReader(traffic(3)), c.options)
			var format *FormatError
			require.ErrorAs(t, err, &format)
			require.ErrorContains(t, err, c.reason)
		})
	}
	_, _, err := read(traffic(3), Options{Format: "auto"})
	require.NoError(t, err)
}

func TestY6_Ends(t *testing.T) {
	whole := traffic(3)
	for name, text := range map[string]string{
		"lines":             whole,
		"no last end":       strings.TrimSuffix(whole, "\n"),
		"CRLF":              strings.ReplaceAll(whole, "\n", "\r\n"),
		"a mark":            "\xef\xbb\xbf" + whole,
		"blank lines":       "\n\n" + strings.ReplaceAll(whole, "\n", "\n \n"),
		"gzip":              string(packed(whole)),
		"gzip, two files":   string(packed(traffic(2))) + string(packed(lineAt(20*time.Millisecond))),
		"gzip and a mark":   string(packed("\xef\xbb\xbf" + whole)),
		"gzip, CRLF, a cut": string(packed(strings.ReplaceAll(strings.TrimSuffix(whole, "\n"), "\n", "\r\n"))),
	} {
		t.Run(name, func(t *testing.T) {
			for _, reader := range []io.Reader{
				strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text)), iotest.DataErrReader(strings.NewReader(text)),
			} {
				source, err := Open(reader, Options{})
				require.NoError(t, err)
				records, err := drain(source)
				require.NoError(t, err)
				require.Len(t, records, 3)
				require.Zero(t, source.Notes().Bad)
				_, err = source.Next()
				require.ErrorIs(t, err, io.EOF)
			}
		})
	}
	records, notes, err := read(traffic(1), Options{})
	require.NoError(t, err)
	require.Len(t, records, 1)
	require.Empty(t, notes.Warnings)
}

func TestY6_CutGzip(t *testing.T) {
	var text strings.Builder
	for i := range 20_000 { // that do not pack well, so that a half has some
		fmt.Fprintf(&text, "%d.%03d 0.%03d 200\n", 1795687200+i, i*7919%1000, i*104729%1000)
	}
	whole := packed(text.String())
	for name, file := range map[string][]byte{"half": whole[:len(whole)/2], "no checksum": whole[:len(whole)-8], "a bit less": whole[:len(whole)-1]} {
		t.Run(name, func(t *testing.T) {
			records, _, err := read(string(file), Options{})
			var cut *ReadError
			require.ErrorAs(t, err, &cut)
			require.ErrorContains(t, err, "the gzip file is cut short")
			require.Greater(t, len(records), 1000)
			require.InDelta(t, len(records)+1, cut.Line, 1)
		})
	}
	t.Run("before the first line", func(t *testing.T) {
		_, _, err := read(string(whole[:8]), Options{})
		var cut *ReadError
		require.ErrorAs(t, err, &cut)
		_, _, err = read(string(packed(traffic(1))[:24]), Options{})
		require.ErrorAs(t, err, &cut)
	})
	t.Run("damaged", func(t *testing.T) {
		wrong := bytes.Clone(whole)
		wrong[len(wrong)-5] ^= 1 // of the checksum
		_, _, err := read(string(wrong), Options{})
		var cut *ReadError
		require.ErrorAs(t, err, &cut)
		require.ErrorContains(t, err, "damaged")
	})
	t.Run("a reader that fails", func(t *testing.T) {
		broken := errors.New("disk on fire")
		source, err := Open(io.MultiReader(strings.NewReader(traffic(300)), iotest.ErrReader(broken)), Options{})
		require.NoError(t, err)
		records, err := drain(source)
		require.ErrorIs(t, err, broken)
		require.Len(t, records, 300)
		_, again := source.Next()
		require.Equal(t, err, again)
	})
	t.Run("a reader without progress", func(t *testing.T) {
		_, err := Open(stuck{}, Options{})
		require.ErrorIs(t, err, io.ErrNoProgress)
	})
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestY6_LongLines(t *testing.T) {
	begin := strings.TrimSuffix(lineAt(0), "\n") + " "
	for size, bad := range map[int]int{100_000: 0, maxLine: 0, maxLine + 1: 1, 3*maxLine + 5: 1} {
		for _, end := range []string{"\n", "\r\n"} {
			long := begin + strings.Repeat("x", size-len(begin)) + end
			records, notes, err := read(traffic(2)+long+traffic(2), Options{})
			require.NoError(t, err)
			require.Equal(t, bad, notes.Bad, "size %d", size)
			require.Len(t, records, 5-bad)
			if bad > 0 {
				require.Equal(t, 3, notes.BadLines[0].Line)
				require.Contains(t, notes.BadLines[0].Reason, "longer than 1 MiB")
				require.Less(t, len(notes.BadLines[0].Text), 200)
			}
		}
	}
}

// A line of OTLP has a batch of spans, of which the collector makes up to 8192 by default.
func TestLongBatches(t *testing.T) {
	span := `{"traceId":"a","spanId":"b","kind":3,"startTimeUnixNano":"1795687201500000000","endTimeUnixNano":"1795687201520000000","name":"` + strings.Repeat("x", 500) + `"}`
	doc := func(n int) string {
		return `{"resourceSpans":[{"scopeSpans":[{"spans":[` + strings.TrimSuffix(strings.Repeat(span+",", n), ",") + "]}]}]}\n"
	}
	records, notes, err := read(doc(2500)+doc(1), Options{})
	require.NoError(t, err)
	require.Len(t, records, 2501)
	require.Zero(t, notes.Bad)
	_, notes, err = read(doc(1)+strings.Replace(doc(1), "xxx", strings.Repeat("x", maxBatch), 1)+doc(1), Options{})
	require.NoError(t, err)
	require.Equal(t, 1, notes.Bad)
}

// endless is a line without an end.
type endless struct{ left int }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	e.left -= len(p)
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestY6_MemoryIsBounded(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	source, err := Open(io.MultiReader(strings.NewReader(traffic(2)), &endless{left: 32 << 20}), Options{})
	require.NoError(t, err)
	_, err = drain(source)
	require.NoError(t, err)
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20))
	require.Equal(t, 1, source.Notes().Bad)
}

func TestY6_BadLines(t *testing.T) {
	t.Run("are counted, and the first named", func(t *testing.T) {
		lines := strings.SplitAfter(traffic(5000), "\n")
		for i := 500; i < 3500; i += 100 {
			lines[i] = "\x1b[31mrubbish\t\"" + strings.Repeat("é", 500) + "\n"
		}
		records, notes, err := read(strings.Join(lines, ""), Options{})
		require.NoError(t, err)
		require.Equal(t, 30, notes.Bad)
		require.Len(t, records, 4970)
		require.Equal(t, 5000, notes.Lines)
		require.Len(t, notes.BadLines, 10)
		require.Equal(t, 501, notes.BadLines[0].Line)
		require.Equal(t, 1401, notes.BadLines[9].Line)
		require.True(t, strings.HasPrefix(notes.BadLines[0].Text, `\x1b[31mrubbish\t"\u00e9`), notes.BadLines[0].Text)
		require.Contains(t, notes.Warnings[0], "30 lines are bad and left out, the first is line 501")
	})
	t.Run("end the run when there are too many", func(t *testing.T) {
		lines := strings.SplitAfter(traffic(5000), "\n")
		for i := 10; i < 5000; i += 50 {
			lines[i] = "rubbish\n"
		}
		records, _, err := read(strings.Join(lines, ""), Options{})
		var bad *BadLinesError
		require.ErrorAs(t, err, &bad)
		require.Equal(t, 1011, bad.Notes.Lines) // the first bad one after a thousand
		require.Len(t, records, 1011-21)
		require.ErrorContains(t, err, "21 of the first 1011 lines are bad; line 11:")
		_, _, err = read(strings.Join(lines, ""), Options{MaxBad: .03})
		require.NoError(t, err)
	})
	t.Run("early ones count at the end", func(t *testing.T) {
		_, _, err := read(lineAt(0)+strings.Repeat("rubbish\n", 100)+traffic(2000), Options{})
		var bad *BadLinesError
		require.ErrorAs(t, err, &bad)
	})
	t.Run("none is none, also in a short file", func(t *testing.T) {
		_, _, err := read(traffic(20)+"rubbish\n"+traffic(20), Options{MaxBad: math.SmallestNonzeroFloat64})
		var bad *BadLinesError
		require.ErrorAs(t, err, &bad)
		require.Equal(t, 21, bad.Notes.Lines)
	})
	t.Run("half of a short file", func(t *testing.T) {
		_, _, err := read(lineAt(0)+strings.Repeat("rubbish\n", 3), Options{})
		var bad *BadLinesError
		require.ErrorAs(t, err, &bad)
		_, _, err = read(lineAt(0)+strings.Repeat("rubbish\n", 3), Options{MaxBad: 1})
		require.NoError(t, err)
	})
}

func TestY6_MixedFormats(t *testing.T) {
	other, err := os.ReadFile("testdata/haproxy.log")
	require.NoError(t, err)
	_, _, err = read(traffic(20)+string(other), Options{})
	var bad *BadLinesError
	require.ErrorAs(t, err, &bad)
	require.ErrorContains(t, err, "it looks like haproxy")
	// A few strangers at the beginning do not make the format.
	records, notes, err := read("Starting nginx …\n"+traffic(20), Options{})
	require.NoError(t, err)
	require.Len(t, records, 20)
	require.Equal(t, 1, notes.Bad)
	require.Equal(t, "line 2 begins with $msec, $request_time and $status", notes.Why)
}

func TestY6_Clock(t *testing.T) {
	warnings := func(moments ...time.Duration) []string {
		var b strings.Builder
		for _, moment := range moments {
			b.WriteString(lineAt(moment))
		}
		records, notes, err := read(b.String(), Options{})
		require.NoError(t, err)
		require.Len(t, records, len(moments))
		return notes.Warnings
	}
	ms := time.Millisecond
	require.Empty(t, warnings(0, 10*ms, 5*ms, 300*ms, 20*ms, 1000*ms))
	require.Equal(t, []string{"the clock steps back 2 times, first at line 3 and at most by 1h0m0s: it was set, or the file is not in order"},
		warnings(0, 10*time.Second+ms, 7*time.Second, 2*time.Hour, time.Hour))
	decade := 3653 * 24 * time.Hour
	require.Equal(t, []string{"1 gap of more than a day without a line, first before line 3 and at most of 3652 days"}, warnings(0, 10*ms, decade, decade+10*ms))
	require.Equal(t, []string{"times are whole seconds: what happens within a second cannot be told apart"}, warnings(0, time.Second, 9*time.Second))
	// A slow client takes its time for an answer that was there at once.
	_, notes, err := read("1795687205.000 5.000 200 \"0.003\" \"200\"\n1795687205.010 0.020 200 \"0.020\" \"200\"\n1795687211.000 5.000 200 \"0.003\" \"200\"\n1795687211.000 10.900 200 \"0.003\" \"200\"\n", Options{})
	require.NoError(t, err)
	require.Empty(t, notes.Warnings)
	// What takes long ends late: that is no step of the clock.
	records, notes, err := read("1795687200.100 0.010 200\n1795687205.000 5.000 200\n1795687205.010 0.020 200\n", Options{})
	require.NoError(t, err)
	require.Len(t, records, 3)
	require.Empty(t, notes.Warnings)
}

func TestY6_Resolution(t *testing.T) {
	for want, lines := range map[time.Duration]string{
		time.Second:            "1795687200.000 1.000 200\n1795687203.000 2.000 200\n",
		10 * time.Millisecond:  "1795687200.010 0.020 200\n1795687203.120 0.100 200\n",
		time.Millisecond:       "1795687200.011 0.021 200\n",
		100 * time.Millisecond: "1795687200.123 0.100 200\n1795687203.120 0.200 200\n", // a coarse latency spoils a fine clock
	} {
		_, notes, err := read(lines, Options{})
		require.NoError(t, err)
		require.Equal(t, want, notes.Resolution, lines)
	}
	_, notes, err := read(`{"version":1,"kind":"attempt","time":"2026-11-26T10:00:00Z","start":0,"outcome":"succeeded","elapsed":1}`, Options{})
	require.NoError(t, err)
	require.Equal(t, time.Nanosecond, notes.Resolution, "the recorder's clock is exact however round its times are")
}

func TestY6_TimesThatAreNone(t *testing.T) {
	for name, line := range map[string]string{
		"1970":              "100.000 0.010 200",
		"far":               "7258118400.000 0.010 200",
		"too many digits":   "99999999999999999999.000 0.010 200",
		"not a number":      "NaN.000 0.010 200",
		"minus":             "1795687200.000 -0.010 200",
		"two points":        "1795687200.000 0.0.1 200",
		"a comma":           "1795687200,000 0.010 200",
		"too long":          "1795687200.000 99999999.000 200",
		"began before 1971": "31536001.000 10.000 200",
		"no status":         "1795687200.000 0.010 ",
		"no such status":    "1795687200.000 0.010 1000",
		"status in words":   "1795687200.000 0.010 OK",
	} {
		t.Run(name, func(t *testing.T) {
			records, notes, err := read(traffic(3)+line+"\n", Options{})
			require.NoError(t, err)
			require.Len(t, records, 3)
			require.Equal(t, 1, notes.Bad)
			require.Equal(t, 4, notes.BadLines[0].Line)
		})
	}
}

// A quote that is never closed costs a part of the file, and says so; it takes no longer than reading it.
func TestY6_OpenQuote(t *testing.T) {
	var b strings.Builder
	b.WriteString("timeStamp,elapsed,label,responseCode,success\n")
	for i := range 50_000 {
		fmt.Fprintf(&b, "%d,12,a,200,true\n", 1795687200000+int64(i))
		if i == 10_000 {
			b.WriteString("1795687210000,12,\"a,200,true\n")
		}
	}
	records, notes, err := read(b.String(), Options{})
	require.NoError(t, err)
	require.Equal(t, 1, notes.Bad)
	require.Equal(t, "a quote is not closed within 256 KiB", notes.BadLines[0].Reason)
	require.Equal(t, 10_003, notes.BadLines[0].Line)
	require.InDelta(t, 50_000, len(records), 15_000)
	_, notes, err = read("timeStamp,elapsed,label\n1795687200000,1,a\n1795687200000,1,b\n1795687200000,1,\"c\n\n\n", Options{})
	require.NoError(t, err)
	require.Contains(t, notes.BadLines[0].Reason, "up to the end of the file")
}

// Notes can be read at any time, and what they return is the reader's.
func TestNotesAreCopies(t *testing.T) {
	source, err := Open(strings.NewReader(traffic(2)+"rubbish\n"+traffic(2)), Options{})
	require.NoError(t, err)
	require.Zero(t, source.Notes().Lines)
	_, err = drain(source)
	require.NoError(t, err)
	n := source.Notes()
	n.BadLines[0].Line = 99
	require.Equal(t, 3, source.Notes().BadLines[0].Line)
	require.Equal(t, source.Notes(), source.Notes())
}
