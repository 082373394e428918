package playground

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strings"
	"text/template"

	"github.com/go-resilience/resilience/lab/internal/play"
)

// MaxBytes is the most that the page may take.
const MaxBytes = 2_000_000

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string
	//go:embed worker.js
	workerJS string
)

// start is the state that the page begins with when its address says nothing.
const start = "a.retry=1&a.budget=0&b.retry=1&b.breaker=1&t=20a10u"

// earlyJS is for the head of the page: it hides what is for readers without JavaScript, unless the browser is too old for the
// page's.
const earlyJS = "document.documentElement.className = 'js'; window.onerror = function () { document.documentElement.className = '' }"

// Page builds the page. It needs the go command that built this program, to compile the library to WebAssembly.
func Page(ctx context.Context) ([]byte, error) {
	wasm, glue, err := compile(ctx)
	if err != nil {
		return nil, err
	}
	return assemble(wasm, glue)
}

// assemble makes the page of a WebAssembly binary, and of the JavaScript that comes with the toolchain that compiled it.
func assemble(wasm []byte, glue string) ([]byte, error) {
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(wasm); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	data, err := json.Marshal(map[string]any{
		"params": play.Params(), "seconds": play.Seconds, "levels": play.Levels, "strip": play.Strip,
		"presets": presets(), "lessons": lessons, "start": start, "alphabet": alphabet, "size": packed.Len(),
	})
	if err != nil {
		return nil, err
	}
	page, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return nil, err
	}
	still, err := static()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = page.Execute(&out, map[string]string{
		"Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; worker-src blob:; script-src blob: 'wasm-unsafe-eval' " +
			digest(earlyJS) + " " + digest(pageJS) + "; style-src " + digest(pageCSS),
		"Early": earlyJS, "Style": pageCSS, "Script": pageJS, "Data": string(data),
		"Worker": strings.ReplaceAll(glue, "</script", `<\/script`) + "\n" + workerJS,
		"Wasm":   encode85(packed.Bytes()),
		"Static": still,
	})
	return out.Bytes(), err
}

// digest names a script or style that the page may use, for its policy.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// alphabet is the digits of encode85: none of them means anything in HTML.
const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%()*+,-./:;=?@[]^_{|"

// encode85 writes four bytes as five digits, which takes less room than base64. The last ones are filled up with zeros.
func encode85(data []byte) string {
	var b strings.Builder
	b.Grow(len(data)/4*5 + 5)
	for len(data) > 0 {
		var four [4]byte
		data = data[copy(four[:], data):]
		v := binary.BigEndian.Uint32(four[:])
		for _, place := range []uint32{85 * 85 * 85 * 85, 85 * 85 * 85, 85 * 85, 85, 1} {
			b.WriteByte(alphabet[v/place%85])
		}
	}
	return b.String()
}

// preset is a trouble that can be chosen.
type preset struct {
	Name   string `json:"name"`
	Levels []int  `json:"levels"`
}

func presets() []preset {
	var list []preset
	for _, p := range []struct{ name, timeline string }{
		{"none", ""}, {"10 s of 60 %", "20a10m"}, {"10 s of 100 %", "20a10u"}, {"5 % always", "60b"}, {"20 % always", "60e"}, {"four short spells", "10a2u10a2u10a2u10a2u"},
	} {
		levels := make([]int, play.Seconds)
		for i, level := range play.Decode("t=" + p.timeline).Timeline {
			levels[i] = int(level)
		}
		list = append(list, preset{p.name, levels})
	}
	return list
}
