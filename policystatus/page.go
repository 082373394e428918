package policystatus

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

// Page is a live page about pipelines, with what it has seen of them. It is an [http.Handler] for the page, and a
// [policy.KindObserver] for resilience.Observe. Make it with [New]. It is safe for concurrent use.
type Page struct {
	config  *config
	hub     hub
	control *controls // nil when there is none

	mu      sync.Mutex
	sources []source
	runs    runs
	history history
	states  map[any]known // by layer
}

var (
	_ http.Handler        = (*Page)(nil)
	_ policy.KindObserver = (*Page)(nil)
)

// New returns a page that shows nothing yet; see [Page.Add]. It panics with a [*policy.ConfigError] when an option is
// invalid.
func New(opts ...Option) *Page {
	c, err := configure(opts)
	if err != nil {
		panic(err)
	}
	p := &Page{config: c, states: make(map[any]known)}
	p.hub.init(p)
	if c.control {
		p.control = newControls(p)
	}
	return p
}

// Add adds pipelines to the page, in the given order, below those already there. If a source replaces its pipeline
// while it runs, the page shows, and acts on, the one in force. Adding the same source again changes nothing. Add
// panics with a [*policy.ConfigError] when a source is nil, or has a pipeline for each key, such as what
// policyhttp.PerHost returns: that is for [Page.AddReporter].
//
// To show the last refusals too, compose the pipeline with resilience.Observe(page).
func (p *Page) Add(sources ...resilience.Source) {
	problems := policy.ConfigError{Policy: "policystatus"}
	for i, source := range sources {
		if isNil(source) {
			problems.Add("Add: source %d is nil", i+1)
		} else if _, ok := source.(policy.Reporter); ok { // the pipeline in force is only that of the overflow
			problems.Add("Add: source %d, a %T, has a pipeline for each key: use AddReporter", i+1, source)
		}
	}
	if err := problems.Err(); err != nil {
		panic(err)
	}
	for _, s := range sources {
		p.add(source{pipeline: s})
	}
}

// AddReporter shows something that is not part of a pipeline, under a name: a registry of pipelines per key, a budget
// that several retries share, or a breaker that is used alone. It panics with a [*policy.ConfigError] when reporter is
// nil or the name is empty.
func (p *Page) AddReporter(name string, reporter policy.Reporter) {
	problems := policy.ConfigError{Policy: "policystatus"}
	if name == "" {
		problems.Add("AddReporter: the name is empty")
	}
	if isNil(reporter) {
		problems.Add("AddReporter(%.100q): the reporter is nil", name)
	}
	if err := problems.Err(); err != nil {
		panic(err)
	}
	p.add(source{name: name, reporter: reporter})
}

func (p *Page) add(added source) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sources {
		if s.same(added) {
			return
		}
	}
	p.sources = append(p.sources, added)
}

// Note shows a line among the last events, such as a change of a breaker:
//
//	breaker.OnChange(func(c breaker.Change) { page.Note("users", c.String()) })
//
// Without Note the page notices changes when it is loaded or when a call is refused. pipeline is the name of the
// pipeline that the line is about, and may be empty. A long text is cut.
func (p *Page) Note(pipeline, text string) {
	e := event{Time: time.Now(), Kind: "note", Pipeline: clean(pipeline, mostName), Text: clean(text, mostText)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.history.add(e)
}

// Close ends what the page has begun: live streams end, no new ones begin, and every state that was forced through the
// page returns. After that nobody can force a state, but the page can still be read. Close waits for acts that are
// under way and for the function given to [Audit], but not for the viewers, whose requests end soon. It may be called
// more than once.
//
// [http.Server.Shutdown] waits for live streams, so let it end them. It does not wait for registered functions, so call
// Close once more after it:
//
//	server.RegisterOnShutdown(page.Close)
//	…
//	err := server.Shutdown(ctx)
//	page.Close()
func (p *Page) Close() {
	p.hub.close()
	if p.control != nil {
		p.control.close()
	}
}

// ServeHTTP serves the page. It looks at the query and at the last element of the path, so it can be mounted anywhere,
// as a subtree or not:
//
//	?                 the page
//	?format=json      the same data as JSON; also for requests that accept application/json before HTML
//	?format=events    the live stream, as server-sent events
//	?view=explain     for each code of refusal the last ones; also as …/explain
//	?view=control     how to act on a layer, if there is [Control]
//
// A POST acts on a layer, if there is [Control]. The page does not check who may read it: wrap the handler, or serve it
// where only operators can reach it.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // with "no-referrer" a browser sends the page's own form with "Origin: null"
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept")
	switch {
	case r.Method == http.MethodPost && p.control != nil:
		p.control.post(w, r)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		allow := "GET, HEAD"
		if p.control != nil {
			allow += ", POST"
		}
		h.Set("Allow", allow)
		p.fail(w, r, http.StatusMethodNotAllowed, "This page is only for reading.")
		return
	}
	switch view := view(r); {
	case view == "explain":
		p.serve(w, r, "explain", http.StatusOK, "")
	case view == "control" && p.control != nil:
		p.control.get(w, r)
	case view != "":
		p.fail(w, r, http.StatusNotFound, "There is no such view.")
	case r.URL.Query().Get("format") == "events":
		p.hub.stream(w, r)
	default:
		p.serve(w, r, "page", http.StatusOK, "")
	}
}

// view returns the view that a request asks for, "" for the page itself.
func view(r *http.Request) string {
	if view := r.URL.Query().Get("view"); view != "" {
		return view
	}
	if strings.HasSuffix(r.URL.Path, "/explain") {
		return "explain"
	}
	return ""
}

// wantsJSON reports whether a request asks for JSON.
func wantsJSON(r *http.Request) bool {
	if format := r.URL.Query().Get("format"); format != "" {
		return format == "json"
	}
	accept := r.Header.Get("Accept")
	json := strings.Index(accept, "application/json")
	html := strings.Index(accept, "text/html")
	return json >= 0 && (html < 0 || json < html)
}

func isNil(v any) bool {
	if v == nil {
		return true
	}
	value := reflect.ValueOf(v)
	switch value.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice, reflect.Chan, reflect.Interface:
		return value.IsNil()
	}
	return false
}

// source is where a group of layers on the page comes from.
type source struct {
	pipeline resilience.Source
	name     string
	reporter policy.Reporter // when there is no pipeline
}

func (s source) same(other source) bool {
	if s.pipeline != nil {
		return other.pipeline != nil && identity(s.pipeline) != nil && identity(s.pipeline) == identity(other.pipeline)
	}
	return other.reporter != nil && s.name == other.name && identity(s.reporter) != nil && identity(s.reporter) == identity(other.reporter)
}

// read returns the report of a source, and its layers in the same order. A panic on the way is returned as an error: one
// layer that cannot be read must not hide the others.
func (s source) read() (report resilience.Report, layers []any, err error) {
	defer func() {
		if recovered := recover(); recovered != nil {
			err = fmt.Errorf("its report panicked: %v", recovered)
		}
	}()
	if s.pipeline == nil {
		report.Name = s.name
		report.Layers = []policy.Report{s.reporter.Report()}
		return report, []any{s.reporter}, nil
	}
	pipeline := s.pipeline.Current()
	report.Name = pipeline.Name()
	for _, layer := range pipeline.Layers() {
		if placed, ok := layer.(policy.Placed); ok {
			layer = placed.Layer
		}
		layers = append(layers, layer)
	}
	return pipeline.Report(), layers, nil
}
