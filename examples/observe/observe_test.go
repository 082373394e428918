package main

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTheSameOutageInAllFour: the metrics of Prometheus and OpenTelemetry, the page, the log and the spans tell of one
// outage, with one beginning. Real servers and connections, so real time; nothing depends on how much of it.
func TestTheSameOutageInAllFour(t *testing.T) {
	o := begin(t, settings{lasts: 5 * time.Minute, outage: outage{after: 200 * time.Millisecond, lasts: time.Hour}})

	// The breaker opens again after each probe that fails, so what belongs together is read between two looks at the page
	// that say the same.
	var since time.Time
	o.until(t, "all four tell of the same outage", func() bool {
		page := o.look(t)
		if page.breaker.Name != "open" || !page.refusals || !page.changes {
			return false
		}
		scrape, collected, spans := o.read(t, "/metrics"), o.read(t, "/otel/metrics"), o.read(t, "/otel/spans")
		if o.look(t) != page {
			return false
		}
		since = page.breaker.Since

		require.Contains(t, scrape, `resilience_breaker_state{name="users-db",pipeline="users",state="open"} 1`)
		require.Contains(t, scrape, `resilience_breaker_state{name="users-db",pipeline="users",state="closed"} 0`)
		require.WithinDuration(t, since, sinceInScrape(t, scrape), time.Microsecond, "a float64 has no more digits")
		require.Equal(t, map[string]float64{"open": 1, "half-open": 0, "closed": 0, "forced open": 0, "forced closed": 0}, states(t, collected))
		return sinceInSpans(t, spans, since)
	})
	require.Contains(t, o.read(t, "/status"), "Calls to “users” are refused.")
	log := o.end(t)
	require.Regexp(t, `level=WARN msg="breaker \\"users-db\\" opened: .*resilience\.to=open .*resilience\.since=`+
		regexp.QuoteMeta(since.Format("2006-01-02T15:04:05.000Z07:00")), log)
	require.Regexp(t, `level=WARN msg=refused .*resilience\.pipeline=users .*resilience\.name=users-db .*resilience\.code=breaker\.open`, log)
	require.Regexp(t, `level=WARN msg="call given up" .*resilience\.pipeline=users`, log)
}

// looked is what /status?format=json says.
type looked struct {
	breaker           state
	refusals, changes bool // there is a refusal by the breaker; the breaker has told that it opened
}

func (o *observed) look(t *testing.T) looked {
	var status struct {
		Pipelines []struct {
			Name   string
			Layers []struct {
				Kind, Name string
				State      state
			}
		}
		Refusals []struct{ Code, Pipeline, Name string }
		Events   []struct{ Kind, Pipeline, Text string }
	}
	require.NoError(t, json.Unmarshal([]byte(o.read(t, "/status?format=json")), &status))
	require.Len(t, status.Pipelines, 1)
	require.Equal(t, "users", status.Pipelines[0].Name)
	var found looked
	for _, layer := range status.Pipelines[0].Layers {
		if layer.Kind == "breaker" {
			require.Equal(t, "users-db", layer.Name)
			found.breaker = layer.State
		}
	}
	require.NotEmpty(t, found.breaker.Name, "the breaker is on the page")
	for _, refusal := range status.Refusals {
		found.refusals = found.refusals || refusal.Code == "breaker.open" && refusal.Pipeline == "users" && refusal.Name == "users-db"
	}
	for _, event := range status.Events {
		found.changes = found.changes || event.Kind == "note" && event.Pipeline == "users" && strings.Contains(event.Text, "closed to open")
	}
	return found
}

type state struct {
	Name  string    `json:"name"`
	Since time.Time `json:"since"`
}

func sinceInScrape(t *testing.T, scrape string) time.Time {
	found := regexp.MustCompile(`resilience_state_since_timestamp_seconds\{kind="breaker",name="users-db",pipeline="users"\} (\S+)`).FindStringSubmatch(scrape)
	require.NotNil(t, found)
	seconds, err := strconv.ParseFloat(found[1], 64)
	require.NoError(t, err)
	return time.UnixMicro(int64(seconds*1e6 + 0.5))
}

// states returns the values of resilience.breaker.state by the attribute resilience.state.
func states(t *testing.T, collected string) map[string]float64 {
	var metrics struct {
		ScopeMetrics []struct {
			Metrics []struct {
				Name string
				Data struct {
					DataPoints []struct {
						Attributes []attribute
						Value      float64
					}
				}
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(collected), &metrics))
	found := map[string]float64{}
	for _, scope := range metrics.ScopeMetrics {
		for _, metric := range scope.Metrics {
			if metric.Name != "resilience.breaker.state" {
				continue
			}
			for _, point := range metric.Data.DataPoints {
				require.Equal(t, "users-db", valueOf(point.Attributes, "resilience.policy.name"))
				found[valueOf(point.Attributes, "resilience.state")] = point.Value
			}
		}
	}
	return found
}

// sinceInSpans says whether a span has the event of the breaker that opened at that moment, and one has a refusal by it.
func sinceInSpans(t *testing.T, spans string, since time.Time) bool {
	opened, refused := false, false
	for decoder := json.NewDecoder(strings.NewReader(spans)); ; {
		var span struct {
			Events []struct {
				Name       string
				Attributes []attribute
				Time       time.Time
			}
		}
		err := decoder.Decode(&span)
		if err == io.EOF {
			return opened && refused
		}
		require.NoError(t, err)
		require.NotEmpty(t, span.Events)
		for _, event := range span.Events {
			if valueOf(event.Attributes, "resilience.policy.name") != "users-db" {
				continue
			}
			opened = opened || event.Name == "resilience.breaker.state_change" && event.Time.Equal(since) &&
				valueOf(event.Attributes, "resilience.breaker.to") == "open"
			refused = refused || event.Name == "resilience.rejected" &&
				valueOf(event.Attributes, "resilience.error.code") == "breaker.open"
		}
	}
}

type attribute struct {
	Key   string
	Value struct{ Value any }
}

func valueOf(attributes []attribute, key string) string {
	for _, a := range attributes {
		if a.Key == key {
			text, _ := a.Value.Value.(string)
			return text
		}
	}
	return ""
}

// TestItRecovers: the outage ends, and so does the run, with a viewer who is still looking.
func TestItRecovers(t *testing.T) {
	o := begin(t, settings{lasts: 5 * time.Minute, outage: outage{after: 0, lasts: 3 * time.Second}})
	o.until(t, "the breaker opens", func() bool { return o.look(t).breaker.Name == "open" })
	o.until(t, "the breaker closes", func() bool { return o.look(t).breaker.Name == "closed" })

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, o.url+"/status?format=events", nil)
	require.NoError(t, err)
	stream, err := o.client.Do(request)
	require.NoError(t, err)
	defer func() { _ = stream.Body.Close() }()
	require.Equal(t, "text/event-stream", stream.Header.Get("Content-Type"))
	log := o.end(t)
	_, err = io.Copy(io.Discard, stream.Body)
	require.NoError(t, err, "the stream was ended, not cut off")
	require.Contains(t, log, `breaker \"users-db\" closed: probes succeeded`)
	require.Regexp(t, `observe: [1-9]\d* requests answered, [1-9]\d* failed, 0 left out`, log)
}

func TestItEndsByItself(t *testing.T) {
	var out lines
	require.NoError(t, run(t.Context(), &out, settings{listen: "127.0.0.1:0", lasts: 200 * time.Millisecond, outage: outage{after: time.Hour}, listener: listenTCP}))
	for _, path := range []string{"/status ", "/status?format=json ", "/metrics ", "/otel/metrics ", "/otel/spans ", "/users/1 "} {
		require.Contains(t, out.String(), path)
	}
	require.Regexp(t, `observe: \d+ requests answered, 0 failed, 0 left out`, out.String())
	for _, url := range regexp.MustCompile(`http://127[^ /]+`).FindAllString(out.String(), -1) {
		_, err := http.Get(url)
		require.Error(t, err, "it is closed")
	}
}

func TestAnAddressThatIsTaken(t *testing.T) {
	o := begin(t, settings{lasts: time.Hour, outage: outage{after: time.Hour}})
	err := run(t.Context(), io.Discard, settings{listen: strings.TrimPrefix(o.url, "http://"), lasts: time.Minute, listener: listenTCP})
	require.ErrorContains(t, err, "address already in use")
	o.end(t)
}

// mortal is a listener that fails when it is told to.
type mortal struct {
	net.Listener
	dead chan struct{}
}

var errDead = errors.New("the listener has died")

func (m *mortal) Accept() (net.Conn, error) {
	conn, err := m.Listener.Accept()
	select {
	case <-m.dead:
		if err == nil {
			_ = conn.Close()
		}
		return nil, errDead
	default:
		return conn, err
	}
}

// TestAServerThatDies: whichever of the three servers it is, the run ends with its error long before its time, what was begun
// is closed, and the observers have told what they saw.
func TestAServerThatDies(t *testing.T) {
	for n, who := range []string{"operators", "dependency", "service"} {
		t.Run(who, func(t *testing.T) {
			var mu sync.Mutex
			var listeners []*mortal
			o := begin(t, settings{lasts: time.Hour, outage: outage{after: time.Hour}, listener: func(address string) (net.Listener, error) {
				listener, err := listenTCP(address)
				m := &mortal{listener, make(chan struct{})}
				mu.Lock()
				defer mu.Unlock()
				listeners = append(listeners, m)
				return m, err
			}})
			o.until(t, "there is traffic", func() bool {
				return regexp.MustCompile(`resilience_calls_total\{outcome="succeeded",pipeline="users"\} [1-9]`).MatchString(o.read(t, "/metrics"))
			})
			mu.Lock()
			require.Len(t, listeners, 3)
			victim := listeners[n]
			mu.Unlock()
			close(victim.dead)
			if conn, err := net.Dial("tcp", victim.Addr().String()); err == nil { // wakes it up, if nothing else does
				_ = conn.Close()
			}
			require.ErrorIs(t, <-o.done, errDead)
			_, err := o.client.Get(o.url)
			require.Error(t, err, "it is closed")
			require.Regexp(t, `observe: [1-9]\d* requests answered`, o.out.String())
		})
	}
}
