package logs

import (
	"bytes"
	"io"
	"os"
	"testing"
)

// repeated reads a file again and again, without its header.
type repeated struct {
	first, text []byte
	lines       int // left
	per         int // lines of text
	rest        []byte
}

func (r *repeated) Read(p []byte) (int, error) {
	if len(r.first) > 0 {
		n := copy(p, r.first)
		r.first = r.first[n:]
		return n, nil
	}
	if len(r.rest) == 0 {
		if r.lines <= 0 {
			return 0, io.EOF
		}
		r.lines -= r.per
		r.rest = r.text
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// BenchmarkRead reads lines of each format; an operation is a line.
func BenchmarkRead(b *testing.B) {
	for _, file := range []string{
		"recorder.jsonl", "nginx.log", "nginx-json.log", "envoy.log", "envoy.json", "haproxy.log", "alb.log",
		"k6.csv", "k6.json", "vegeta.csv", "vegeta.json", "jmeter.csv", "jmeter.xml", "otlp-spans.json",
	} {
		b.Run(file, func(b *testing.B) {
			text, err := os.ReadFile("testdata/" + file)
			if err != nil {
				b.Fatal(err)
			}
			text = bytes.ReplaceAll(text, []byte("testResults"), []byte("other")) // of which there is one
			r := &repeated{text: text, per: bytes.Count(text, []byte("\n")), lines: b.N}
			if file == "jmeter.xml" {
				r.first = []byte("<testResults>\n")
			}
			b.SetBytes(int64(len(text) / r.per))
			b.ReportAllocs()
			source, err := Open(r, Options{})
			if err != nil {
				b.Fatal(err)
			}
			for {
				if _, err := source.Next(); err == io.EOF {
					break
				} else if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(source.Notes().Lines)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}
