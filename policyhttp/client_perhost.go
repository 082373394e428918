package policyhttp

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/internal/sources"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
)

// OtherHosts is what the function given to [PerHost] is called with for the hosts that find no place.
const OtherHosts = "*"

// Hosts is a pipeline for each host. It is made by [PerHost] and safe for concurrent use.
type Hosts struct {
	registry *keyed.Registry[hostKey, *resilience.Pipeline]
}

// hostKey is what is judged as one: http and https of one name are two servers.
type hostKey struct{ scheme, host string }

// PerHost returns a source of a pipeline for each host that requests go to, so that a host that is down does not keep
// requests from the others:
//
//	policyhttp.PerHost(func(host string) *resilience.Pipeline { return policyhttp.Standard(host) })
//
// make is called when a request first goes to a host, with the host as in the URL, in lower case and with its port unless
// that is the usual one. It is called once more at the beginning, with [OtherHosts], for a pipeline that all hosts without
// a place share: by default there is room for 10,000. Use the options of package keyed, such as keyed.Max and keyed.Idle;
// make must follow the rules of [keyed.New].
//
// The scheme belongs to the host: a host that is asked by http and by https has two pipelines. A host whose breaker is open
// keeps its place.
//
// PerHost panics with a [*policy.ConfigError] where keyed.New does, and when what make returns for [OtherHosts] was not
// made with [resilience.Compose].
func PerHost(make func(host string) *resilience.Pipeline, options ...keyed.Option) *Hosts {
	if make == nil {
		panic(&policy.ConfigError{Policy: "policyhttp.PerHost", Problems: []string{"make is nil"}})
	}
	h := &Hosts{keyed.New(func(key hostKey) *resilience.Pipeline {
		if key == (hostKey{}) {
			return make(OtherHosts)
		}
		return make(key.host)
	}, options...)}
	problems := policy.ConfigError{Policy: "policyhttp.PerHost"}
	if !sources.Check(h, h.Current(), &problems) {
		panic(problems.Err())
	}
	return h
}

// PipelineFor returns the pipeline of the host that request goes to. It implements [RequestSource].
func (h *Hosts) PipelineFor(request *http.Request) *resilience.Pipeline {
	key := hostKeyOf(request.URL)
	if key.host == "" {
		return h.Current() // the base transport will say what is wrong with the request
	}
	return h.registry.Get(key)
}

// Current returns the pipeline of the hosts that find no place. It implements [resilience.Source].
func (h *Hosts) Current() *resilience.Pipeline { return h.registry.Overflow() }

// All returns the hosts and their pipelines, in no order. Those that find no place are not among them. A host that is
// asked by http and by https comes twice.
func (h *Hosts) All() iter.Seq2[string, *resilience.Pipeline] {
	return func(yield func(string, *resilience.Pipeline) bool) {
		for key, pipeline := range h.registry.All() {
			if !yield(key.host, pipeline) {
				return
			}
		}
	}
}

// Report returns the report of the registry: how many hosts there are, and what became of others; see [keyed.Registry].
func (h *Hosts) Report() policy.Report { return h.registry.Report() }

// MarshalJSON writes the report.
func (h *Hosts) MarshalJSON() ([]byte, error) { return json.Marshal(h.Report()) }

// Host returns the host that the attempt of ctx goes to, as [PerHost] would name it, "" outside of a [Transport]. It is the
// key for one policy per host within a pipeline, and follows [Route]:
//
//	keyed.By(policyhttp.Host, keyed.New(func(host string) *breaker.Breaker { … }))
//
// Unlike [PerHost] it leaves out the scheme.
func Host(ctx context.Context) string {
	c := callOf(ctx)
	if c == nil {
		return ""
	}
	if c.transport.route != nil {
		return hostKeyOf(c.routeOf(ctx)).host
	}
	return c.hostKey().host
}

// hostKey returns the host that the request goes to. A caller who needs it after the call has ended must have asked before.
func (c *call) hostKey() hostKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.target == nil {
		c.target = new(target)
	}
	if c.target.host == (hostKey{}) && !c.ended.Load() {
		c.target.host = hostKeyOf(c.request.URL)
	}
	return c.target.host
}

// hostKeyOf returns the host of a URL in the one form that names it.
func hostKeyOf(u *url.URL) hostKey {
	if u == nil {
		return hostKey{}
	}
	key := hostKey{scheme: lower(u.Scheme), host: lower(u.Host)}
	switch key.scheme {
	case "http":
		key.host = strings.TrimSuffix(key.host, ":80")
	case "https":
		key.host = strings.TrimSuffix(key.host, ":443")
	}
	key.host = strings.TrimSuffix(key.host, ":")           // an empty port is the usual one
	if name, port, ok := strings.Cut(key.host, ".:"); ok { // the dot at the end of a name that is complete
		key.host = name + ":" + port
	} else {
		key.host = strings.TrimSuffix(key.host, ".")
	}
	return key
}

// lower returns s in lower case. Bytes that are not ASCII stay: such names are sent as they are.
func lower(s string) string {
	for i := range len(s) {
		if isUpper(s[i]) {
			b := []byte(s)
			for ; i < len(b); i++ {
				if isUpper(b[i]) {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
