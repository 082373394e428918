package policystatus

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/go-resilience/resilience/policy"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string
)

// contentSecurityPolicy allows what the page itself brings, by its hash, and nothing else.
var contentSecurityPolicy = strings.Join([]string{
	"default-src 'none'",
	"style-src '" + hash(pageCSS) + "'",
	"script-src '" + hash(pageJS) + "'",
	"connect-src 'self'",
	"form-action 'self'",
	"base-uri 'none'",
	"frame-ancestors 'none'",
}, "; ")

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"css":     func() template.CSS { return template.CSS(pageCSS) },
	"js":      func() template.JS { return template.JS(pageJS) },
	"capital": capital,
	"words":   words,
	"number":  number,
	"setting": setting,
	"cause":   causeText,
	"label":   layerName,
	"plural":  plural,
	"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	"clock":   clock,
	"ago":     func(t, now time.Time) string { return span(now.Sub(t)) },
	"left":    func(t, now time.Time) string { return span(t.Sub(now)) },
	"after":   func(t, now time.Time) bool { return t.After(now) },
	"metered": func(v policy.Value) bool {
		return v.Limit > 0 && !math.IsInf(v.Limit, 0) && !v.Unknown && v.Name != "limit"
	},
	"meter":     meter,
	"threshold": threshold,
	"in":        func(value, now any) pair { return pair{value, now} },
}).Parse(pageHTML))

// pair is what a template is given beside its data.
type pair struct{ It, S any }

// fragments returns the parts of the page that change, by the id of the element that they are in, and a hash of which
// parts there are.
func (p *Page) fragments() (fragments map[string]string, structure string, err error) {
	return render(p.status())
}

func render(s *status) (fragments map[string]string, structure string, err error) {
	fragments = make(map[string]string)
	var b bytes.Buffer
	sum := sha256.New()
	add := func(id, name string, data any) {
		b.Reset()
		if err == nil {
			err = templates.ExecuteTemplate(&b, name, data)
		}
		fragments[id] = b.String()
		fmt.Fprintf(sum, "%q", id)
	}
	add("now", "now", s)
	for _, p := range s.Pipelines {
		fmt.Fprintf(sum, "%q", p.ID)
		add(p.anchor, "pipeline", pair{p, s})
		for _, l := range p.Layers {
			fmt.Fprintf(sum, "%q%q", l.Kind, l.Name)
			add(l.anchor, "layer", pair{l, s})
		}
	}
	add("refusals", "refusals", s)
	add("events", "events", s)
	return fragments, hex.EncodeToString(sum.Sum(nil)[:8]), err
}

// live returns a part of the page for the page itself.
func (d *document) Live(id string) template.HTML { return template.HTML(d.fragments[id]) }

// document is what the templates of whole pages are given.
type document struct {
	*status
	Structure string
	Message   string
	Target    *layer
	Form      form
	Base      string // what leads from the address of the document to that of the page

	fragments map[string]string
}

// serve answers with a whole page, or with JSON.
func (p *Page) serve(w http.ResponseWriter, r *http.Request, name string, code int, message string) {
	s := p.status()
	if wantsJSON(r) {
		writeJSON(w, r, code, s)
		return
	}
	d := &document{status: s, Message: message}
	if name == "explain" && r.URL.Query().Get("view") == "" { // it was found by its path
		d.Base = "./"
	}
	p.write(w, r, name, code, d)
}

// write answers with a whole page.
func (p *Page) write(w http.ResponseWriter, r *http.Request, name string, code int, d *document) {
	var err error
	if name == "page" {
		d.fragments, d.Structure, err = render(d.status)
	}
	var b bytes.Buffer
	if err == nil {
		err = templates.ExecuteTemplate(&b, name, d)
	}
	if err != nil {
		http.Error(w, "the page could not be rendered: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b.Bytes())
	}
}

// fail answers with a problem.
func (p *Page) fail(w http.ResponseWriter, r *http.Request, code int, message string) {
	if wantsJSON(r) {
		writeJSON(w, r, code, map[string]string{"error": message})
		return
	}
	p.write(w, r, "problem", code, &document{status: &status{Title: p.config.title, Time: time.Now()}, Message: message})
}

func writeJSON(w http.ResponseWriter, r *http.Request, code int, v any) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, "the data could not be encoded: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		_, _ = w.Write(append(data, '\n'))
	}
}

// Badge is the class of a layer's state.
func (l *layer) Badge() string {
	switch {
	case refuses(&l.Report) && !l.Shadow:
		return "bad"
	case l.Shadow, l.Refusing, l.State.Name == "forced closed":
		return "warn"
	}
	return "good"
}

// Anchor is the id of an element.
func (l *layer) Anchor() string    { return l.anchor }
func (p *pipeline) Anchor() string { return p.anchor }
func (r refusing) Level() string   { return r.level }
func (r refusing) Anchor() string {
	if r.layer == nil {
		return ""
	}
	return r.layer.anchor
}

// Head is what happens to calls.
func (r refusing) Head() string {
	switch code := r.Why.Code; {
	case code == "retry.budget":
		return "are not retried"
	case strings.HasPrefix(code, "timeout.") && code != "timeout.max_running":
		return "run out of time"
	case strings.HasPrefix(code, "fallback."):
		return "fail"
	}
	return "are refused"
}

// threshold reports whether the limit of a value is where the layer acts, and not what there is room for.
func threshold(v policy.Value) bool {
	return v.Unit == policy.UnitRatio || strings.HasPrefix(v.Name, "window_") || strings.HasPrefix(v.Name, "consecutive_")
}

// Trouble is how many layers refuse calls.
func (p *pipeline) Trouble() (n int) {
	for _, l := range p.Layers {
		if l.Refusing {
			n++
		}
	}
	return n
}

// Order is the pipeline on one line.
func (p *pipeline) Order() string {
	names := make([]string, len(p.Layers))
	for i, l := range p.Layers {
		names[i] = layerName(l.Kind, l.Name)
	}
	return strings.Join(names, " > ")
}

// PipelineID is the id of the pipeline that the layer is in.
func (l *layer) PipelineID() string { return l.pipeline.ID }

// CountNumber is Count for the template.
func (c codeRuns) CountNumber() float64 { return float64(c.Count) }

// Main is what an operator looks at first: what has a limit, and what is not 0.
func (l *layer) Main() []policy.Value { return l.values(true) }

// Rest is the other values.
func (l *layer) Rest() []policy.Value { return l.values(false) }

func (l *layer) values(main bool) (values []policy.Value) {
	for _, v := range l.Values {
		if (v.Limit != 0 && !v.Unknown || v.Number != 0) == main {
			values = append(values, v)
		}
	}
	return values
}

// NewEvents is the events that are shown at once.
func (s *status) NewEvents() []event { return s.Events[:min(len(s.Events), 15)] }

// OldEvents is the other ones.
func (s *status) OldEvents() []event { return s.Events[min(len(s.Events), 15):] }

// Status is what the document is about.
func (d *document) Status() *status { return d.status }

// Control is the layer, if something can be done to it.
func (r refusing) Control() *layer {
	if r.layer == nil || r.layer.Seen == "" {
		return nil
	}
	return r.layer
}

// Plain says what a state means, for those who do not know the words.
func (l *layer) Plain() string {
	if l.Shadow && l.State.Name != "draining" {
		return ""
	}
	switch l.State.Name {
	case "closed", "accepting":
		if l.Refusing {
			return "Calls pass; in the last ten seconds some were refused."
		}
		return "Calls pass."
	case "open":
		return "Every call is refused."
	case "half-open":
		return "A few calls are let through, to find out; the others are refused."
	case "forced open":
		return "Every call is refused, by hand."
	case "forced closed":
		return "Every call passes, by hand, whatever happens."
	case "draining":
		return "Every call is refused, until the process ends."
	}
	return ""
}

// meter is a value beside its limit, red when it is reached. Of tokens, having none is what is bad.
func meter(v policy.Value) template.HTML {
	low, high, optimum := 0.8*v.Limit, 0.999*v.Limit, 0.0
	if v.Name == "tokens" {
		low, high, optimum = min(1, v.Limit/2), v.Limit/2, v.Limit
	}
	return template.HTML(fmt.Sprintf(`<meter min="0" max="%g" low="%g" high="%g" optimum="%g" value="%g" aria-label="%s"></meter>`,
		v.Limit, low, high, optimum, v.Number, template.HTMLEscapeString(words(v.Name))))
}
