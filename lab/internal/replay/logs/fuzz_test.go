package logs

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FuzzReaders reads anything, as a log of each format and as one whose format is found out.
func FuzzReaders(f *testing.F) {
	choices := []string{"", appended}
	for _, format := range Formats() {
		choices = append(choices, format.Name)
	}
	files, err := filepath.Glob("testdata/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || strings.HasSuffix(file, ".golden") || strings.HasSuffix(file, ".md") {
			continue
		}
		lines := bytes.SplitAfter(text, []byte("\n"))
		some := lines[0]
		for i := range min(6, len(lines)-1) {
			some = append(some[:len(some):len(some)], lines[1+i*(len(lines)-1)/6]...)
		}
		if f.Add(byte(0), some); strings.Contains(file, "appended") {
			f.Add(byte(1), some)
		}
	}
	f.Add(byte(0), packed(traffic(5)))
	f.Add(byte(0), packed(traffic(5))[:40])
	kinds := map[string]bool{"": true, kindTimeout: true, kindServer: true, kindThrottled: true, kindConnection: true, kindCanceled: true, kindRejected: true}
	f.Fuzz(func(t *testing.T, choice byte, text []byte) {
		source, err := Open(bytes.NewReader(text), Options{Format: choices[int(choice)%len(choices)], MaxBad: 1})
		if err != nil {
			if !typed(err) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		records := 0
		for {
			r, err := source.Next()
			if err != nil {
				if !errors.Is(err, io.EOF) && !typed(err) {
					t.Fatalf("%T %v", err, err)
				}
				break
			}
			records++
			switch {
			case r.Latency < 0 || r.Latency > longest || r.Queued < 0:
				t.Fatalf("latency %v, queued %v", r.Latency, r.Queued)
			case r.Start.Year() < 1970 || r.Start.Year() > 2200:
				t.Fatalf("start %v", r.Start)
			case !kinds[r.Kind] || r.Kind != "" && !r.Failed || r.Censored && !r.Failed:
				t.Fatalf("%+v", r)
			case r.Attempt < 0 || (r.Call == "") != (r.Attempt == 0) && !strings.HasPrefix(source.Notes().Format, "recorder"):
				t.Fatalf("call %q, attempt %d", r.Call, r.Attempt)
			case r.Status < 0 || r.Status > 999:
				t.Fatalf("status %d", r.Status)
			}
		}
		n := source.Notes()
		if n.Records != records || n.Bad > n.Lines+1 || len(n.BadLines) > kept || n.Lines > len(text)*1100+1 || n.Format == "" || n.Why == "" {
			t.Fatalf("%d records and %+v", records, n)
		}
		if n.Resolution < 0 || n.Resolution > time.Second || records > 0 && n.Resolution == 0 {
			t.Fatalf("resolution %v", n.Resolution)
		}
		for _, bad := range n.BadLines {
			if strings.ContainsFunc(bad.Text, func(c rune) bool { return c < ' ' || c == 0x7f }) || len(bad.Text) > 5*keptText {
				t.Fatalf("text of a bad line: %q", bad.Text)
			}
		}
	})
}

// typed reports whether an error is one of those that Open and Next return.
func typed(err error) bool {
	var format *FormatError
	var bad *BadLinesError
	var cut *ReadError
	return errors.As(err, &format) || errors.As(err, &bad) || errors.As(err, &cut)
}

// FuzzSyntax reads objects and CSV as the standard library does.
func FuzzSyntax(f *testing.F) {
	for _, text := range []string{
		`{}`, `{"a":1,"b":"x","c":null,"d":{"e":[1,"}"]},"f":-1.5e3,"g":true}`, ` { "a" : 0.5 , "b" : 01 } `, `{"a":"\u00e9\"","a":2}`, `{"a":1,}`,
		`{"a"}`, `{"a":}`, `{"a":tru}`, `{"a":"` + "\x01" + `"}`, `{"\ud800":1}`, `[1]`, `{"a":1}x`, `{"a":[}`, `{"a":1.}`, `{"a":.5}`,
		`a,b,c`, `"a","b""c",d`, `"a`, `a"b,c`, `"a"b,c`, `,,`, `"",""`, "",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var want map[string]json.RawMessage
		wrong := json.Unmarshal(text, &want)
		list, err := members(bytes.Clone(text), nil)
		if (err == nil) != (wrong == nil && want != nil) {
			t.Fatalf("%q: %v, encoding/json: %v", text, err, wrong)
		}
		if err == nil {
			got := map[string]json.RawMessage{}
			for _, m := range list {
				got[string(m.name)] = m.value
			}
			if len(got) != len(want) && json.Valid(text) && validNames(got) {
				t.Fatalf("%q: %q, encoding/json: %q", text, got, want)
			}
			for name, value := range want {
				if found, ok := got[name]; ok && !bytes.Equal(found, value) {
					t.Fatalf("%q: %q, encoding/json: %q", text, found, value)
				}
			}
		}
		if bytes.ContainsAny(text, "\r\n") || len(text) == 0 {
			return
		}
		r := csv.NewReader(bytes.NewReader(text))
		row, wrong := r.Read()
		if wrong != nil {
			return // some of it is read all the same
		}
		fields, ok := split(text, ',', nil)
		if !ok || len(fields) != len(row) {
			t.Fatalf("%q: %q, encoding/csv: %q", text, fields, row)
		}
		for i := range row {
			if string(fields[i]) != row[i] {
				t.Fatalf("%q: %q, encoding/csv: %q", text, fields, row)
			}
		}
	})
}

// validNames reports whether names are UTF-8: others, encoding/json changes.
func validNames(of map[string]json.RawMessage) bool {
	for name := range of {
		if !strings.Contains(name, "\ufffd") && name != strings.ToValidUTF8(name, "\ufffd") {
			return false
		}
	}
	return true
}
