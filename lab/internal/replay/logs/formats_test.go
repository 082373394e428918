package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policyslog"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// one reads a log whose last line is one record, and prints it without the date.
func one(t *testing.T, text string, options Options) string {
	t.Helper()
	records, notes, err := read(text, options)
	require.NoError(t, err)
	require.Zero(t, notes.Bad, "%v", notes.BadLines)
	var b strings.Builder
	for i := range records {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(strings.TrimPrefix(printed(&records[i]), "2026-11-26T10:00:"))
	}
	return b.String()
}

// What each format has its own way of: when the time was taken, units, attempts, and failures that do not look like it.
func TestTraps(t *testing.T) {
	const (
		haproxy = "<134>Nov 26 10:00:00 h haproxy[1]: 192.0.2.1:1 [26/Nov/2026:10:00:01.500] www api/s1 %s 100 - - %s 1/1/0/0/%s 0/0 \"GET / HTTP/1.1\"\n"
		alb     = "https 2026-11-26T10:00:05.500000Z lb 192.0.2.1:1 192.0.2.9:80 %s %s 0 0 \"GET http://a/ HTTP/1.1\" \"a b\" - - arn \"-\" \"-\" \"-\" 0 2026-11-26T10:00:05.100000Z \"forward\"\n"
		k6      = "metric_name,timestamp,metric_value,error_code,status\n"
		jmeter  = "timeStamp,elapsed,label,responseCode,success\n"
		envoy   = `{"start_time":"2026-11-26T10:00:01.500Z","duration":20,"response_code":%d,"response_flags":"%s","upstream_host":"%s"}`
	)
	for name, c := range map[string]struct {
		text, format, want string
	}{
		"nginx: the time is that of the end": {"1795687201.500 0.200 200\n", "", "01.300000000 200ms status=200"},
		"nginx: each attempt of a line is a record": {
			`1795687201.500 0.310 200 "0.100, 0.200 : 0.003" "502, 504 : 200"` + "\n", "",
			`01.190000000 100ms status=502 failed="5xx" call=#1 attempt=1; 01.290000000 200ms status=504 failed="timeout" censored call=#1 attempt=2; 01.490000000 3ms status=200 call=#1 attempt=3`},
		"nginx: an attempt without an answer": {
			`1795687201.500 0.310 200 "-, 0.200" "-, 200"` + "\n", "", `01.190000000 0s failed="" call=#1 attempt=1; 01.190000000 200ms status=200 call=#1 attempt=2`},
		"nginx: an attempt that was not over took what is left": {
			`1795687201.500 0.310 504 "0.100, -" "502, -"` + "\n", "", `01.190000000 100ms status=502 failed="5xx" call=#1 attempt=1; 01.290000000 210ms status=504 failed="timeout" censored call=#1 attempt=2`},
		"nginx: the client has gone while the answer came": {
			`1795687201.500 0.310 499 "0.300" "200"` + "\n", "", `01.190000000 300ms status=499 failed="canceled" censored call=#1 attempt=1`},
		"nginx: a list without quotes in a log_format": {
			"0.100, 0.200 : 0.003 502, 504 : 200 1795687201.500 0.310 200\n", "nginx:$upstream_response_time $upstream_status $msec $request_time $status",
			`01.190000000 100ms status=502 failed="5xx" call=#1 attempt=1; 01.290000000 200ms status=504 failed="timeout" censored call=#1 attempt=2; 01.490000000 3ms status=200 call=#1 attempt=3`},
		"nginx: a log_format with names": {
			"status=200 took=0.200 at=1795687201.500\n", "nginx:status=$status took=${request_time} at=$msec", "01.300000000 200ms status=200"},
		"envoy: the time is that of the beginning": {fmt.Sprintf(envoy, 200, "-", "a:1"), "", "01.500000000 20ms status=200"},
		"envoy: a flag that a retry has made good": {fmt.Sprintf(envoy, 200, "UF", "a:1"), "", "01.500000000 20ms status=200"},
		"envoy: a timeout after half an answer":    {fmt.Sprintf(envoy, 200, "UT", "a:1"), "", `01.500000000 20ms status=200 failed="timeout" censored`},
		"envoy: a 504 of the server":               {fmt.Sprintf(envoy, 504, "-", "a:1"), "", `01.500000000 20ms status=504 failed="5xx"`},
		"envoy: quotes in what a client sends": {
			`[2026-11-26T10:00:01.500Z] "GET /a" b HTTP/1.1" 200 - 0 10 20 14 "-" "x" "-" "-" "-" y" "id" "host" "192.0.2.9:80"` + "\n", "", "01.500000000 20ms status=200"},
		"envoy: more operators at the end": {
			`[2026-11-26T10:00:01.500Z] "GET / HTTP/1.1" 200 - 0 10 20 14 "-" "x" "id" "host" "192.0.2.9:80" "-"` + "\n", "", "01.500000000 20ms status=200"},
		"haproxy: a slow client is not the server":   {fmt.Sprintf(haproxy, "300/0/1/9/310 200", "----", "0"), "", "01.800000000 10ms status=200"},
		"haproxy: half an answer with a good status": {fmt.Sprintf(haproxy, "0/0/1/9/310 200", "SD--", "0"), "", `01.500000000 310ms status=200 failed="connection"`},
		"haproxy: a timeout of the server":           {fmt.Sprintf(haproxy, "0/0/1/-1/300 504", "sH--", "0"), "", `01.500000000 300ms status=504 failed="timeout" censored`},
		"haproxy: the client has gone":               {fmt.Sprintf(haproxy, "0/0/1/-1/+120 -1", "CH--", "0"), "", `01.500000000 120ms failed="canceled" censored`},
		"haproxy: lines that are no requests": {
			"<134>Nov 26 10:00:00 h haproxy[1]: Server api/s1 is DOWN, reason: Layer4 timeout, check duration: 2000ms. 0 active and 0 backup servers left.\n" +
				fmt.Sprintf(haproxy, "0/0/1/9/10 200", "----", "0") +
				"<134>Nov 26 10:00:00 h haproxy[1]: 192.0.2.1:1 [26/Nov/2026:10:00:01.500] www/1: SSL handshake failure\n" +
				"<133>Nov 26 10:00:00 h haproxy[1]: Proxy www started.\n" +
				"<129>Nov 26 10:00:00 h haproxy[1]: backend api has no server available!\n", "", "01.500000000 10ms status=200"},
		"haproxy: without syslog": {
			strings.TrimPrefix(fmt.Sprintf(haproxy, "0/0/1/9/10 200", "----", "0"), "<134>Nov 26 10:00:00 h haproxy[1]: "), "", "01.500000000 10ms status=200"},
		"alb: the time is that of the end": {fmt.Sprintf(alb, "0.001 0.350 0.002", "200 200"), "", "05.100000000 353ms status=200"},
		"alb: quotes in what a client sends": {
			strings.Replace(fmt.Sprintf(alb, "0.001 -1 -1", "504 -"), `"a b"`, `"a \"b\" \x22 c"`, 1), "", `05.100000000 400ms status=504 failed="timeout" censored`},
		"alb: -1 is no time":                               {fmt.Sprintf(alb, "0.001 -1 -1", "504 -"), "", `05.100000000 400ms status=504 failed="timeout" censored`},
		"alb: lines without a time of creation":            {strings.Join(strings.Fields(fmt.Sprintf(alb, "0.001 0.350 0.002", "200 200"))[:17], " "), "", "05.147000000 353ms status=200"},
		"k6: the time is that of the end, in milliseconds": {k6 + "http_req_duration,1795687201500,20.5,,200\n", "", "01.479500000 20.5ms status=200"},
		"k6: a time of RFC 3339":                           {k6 + "http_req_duration,2026-11-26T11:00:01.5+01:00,20.5,,200\n", "", "01.479500000 20.5ms status=200"},
		"k6: microseconds, nanoseconds":                    {k6 + "http_req_duration,1795687201500000,1,,200\nhttp_req_duration,1795687201500000001,1,,200\n", "", "01.499000000 1ms status=200; 01.499000001 1ms status=200"},
		"k6: a number with an exponent":                    {`{"metric":"http_req_duration","type":"Point","data":{"time":"2026-11-26T10:00:01.5Z","value":2.5e-05,"tags":{"status":"200"}}}`, "", "01.499999975 25ns status=200"},
		"k6: a timeout has no status":                      {k6 + "http_req_duration,1795687201500,1000,1050,0\n", "", `00.500000000 1s failed="timeout" censored`},
		"vegeta: the time is that of the beginning":        {"1795687201500000000,200,20500000,0,0,,,,0,GET,http://a/,\n", "", "01.500000000 20.5ms status=200"},
		"vegeta: an error after a good status":             {`1795687201500000000,200,20500000,0,0,"unexpected ""EOF""",,,0,GET,http://a/,` + "\n", "", `01.500000000 20.5ms status=200 failed="connection"`},
		"jmeter: the time is that of the beginning":        {jmeter + "1795687201500,20,a,200,true\n", "", "01.500000000 20ms status=200"},
		"jmeter: an answer that a test did not like":       {jmeter + "1795687201500,20,a,200,false\n", "", `01.500000000 20ms status=200 failed=""`},
		"jmeter: an answer that JMeter does not like":      {jmeter + "1795687201500,20,a,404,false\n", "", "01.500000000 20ms status=404"},
		"jmeter: a failure that was asked for":             {jmeter + "1795687201500,20,a,500,true\n", "", `01.500000000 20ms status=500 failed="5xx"`},
		"jmeter: another delimiter, and a date":            {"timeStamp;elapsed;label;responseCode;success\n2026/11/26 10:00:01.500;20;a;200;true\n", "", "01.500000000 20ms status=200"},
		"jmeter: files one after the other":                {jmeter + "1795687201500,20,a,200,true\n" + jmeter + "1795687201600,20,a,200,true\n", "", "01.500000000 20ms status=200; 01.600000000 20ms status=200"},
		"otel: an error that is an answer": {
			`{"traceId":"a","spanId":"b","kind":3,"startTimeUnixNano":"1795687201500000000","endTimeUnixNano":1795687201520000000,"attributes":[{"key":"http.response.status_code","value":{"intValue":404}}],"status":{"code":2}}`, "", "01.500000000 20ms status=404"},
		"otel: an error without an answer": {
			`{"traceId":"a","spanId":"b","kind":"SPAN_KIND_CLIENT","startTimeUnixNano":"1795687201500000000","endTimeUnixNano":"1795687201520000000","status":{"code":"STATUS_CODE_ERROR"}}`, "", `01.500000000 20ms failed=""`},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, one(t, c.text, Options{Format: c.format}))
		})
	}
}

// A status means the same in all formats.
func TestStatuses(t *testing.T) {
	for code, want := range map[int]string{
		200: "", 204: "", 302: "", 400: "", 404: "", 408: kindTimeout, 429: kindThrottled, 499: kindCanceled, 500: kindServer,
		501: "", 502: kindServer, 503: kindServer, 504: kindServer, 599: kindServer,
	} {
		var r Record
		r.http(code)
		require.Equal(t, want, r.Kind, code)
		require.Equal(t, want != "", r.Failed, code)
		require.Equal(t, code == 499, r.Censored, code)
		r = Record{}
		if r.proxied(code); code == 504 {
			want = kindTimeout
		}
		require.Equal(t, want, r.Kind, code)
	}
	for code := range 17 {
		var r Record
		r.grpc(code)
		require.Equal(t, map[int]string{1: kindCanceled, 2: kindServer, 4: kindTimeout, 8: kindThrottled, 13: kindServer, 14: kindServer, 15: kindServer}[code], r.Kind, code)
	}
	require.Len(t, grpcCodes, 2*17)
}

// What Envoy's flags say, and HAProxy's states, whatever the status is.
func TestFlags(t *testing.T) {
	for _, c := range []struct {
		code  int
		flags string
		want  string
	}{
		{200, "-", ""}, {200, "UF", ""}, {200, "UO", ""}, {200, "UH,URX", ""}, {200, "NC", ""}, {200, "RL", ""}, {200, "DI", ""}, {404, "NR", ""},
		{503, "UF", kindConnection}, {503, "DF", kindConnection}, {200, "UC", kindConnection}, {503, "UR", kindConnection}, {503, "LR", kindConnection}, {502, "UPE", kindConnection},
		{503, "UO", kindRejected}, {503, "UH", kindRejected}, {503, "NC", kindRejected}, {503, "OM", kindRejected}, {429, "RL", kindThrottled},
		{504, "UT", kindTimeout}, {200, "SI", kindTimeout}, {504, "DT,URX", kindTimeout}, {408, "UMSDR", kindTimeout}, {503, "UF,UT", kindTimeout},
		{0, "DC", kindCanceled}, {200, "DC", kindCanceled}, {0, "-", kindCanceled}, {503, "URX", kindServer}, {503, "FI", kindServer},
	} {
		var e entry
		new(envoy).judge(&e, &envoyLine{flags: []byte(c.flags)}, c.code)
		require.Equal(t, c.want, e.Kind, "%d %s", c.code, c.flags)
		require.Equal(t, c.want != "", e.Failed)
		require.Equal(t, c.want == kindTimeout || c.want == kindCanceled, e.Censored)
	}
	for _, c := range []struct {
		state  string
		status int
		asked  bool
		want   string
	}{
		{"--", 200, true, ""}, {"--", 503, true, kindServer}, {"LR", 302, false, ""}, {"PR", 403, false, ""}, {"PR", 429, false, kindThrottled}, {"PH", 502, true, kindServer},
		{"sH", 504, true, kindTimeout}, {"sQ", 503, false, kindTimeout}, {"sC", 503, true, kindTimeout}, {"sD", 200, true, kindTimeout},
		{"SC", 503, true, kindConnection}, {"SC", 503, false, kindRejected}, {"SH", 502, true, kindConnection}, {"SD", 200, true, kindConnection},
		{"DD", 200, true, kindConnection}, {"KD", 200, true, kindConnection}, {"UD", 200, true, kindConnection}, {"RC", 503, true, kindRejected}, {"PC", 503, true, kindRejected},
		{"CH", 400, true, kindCanceled}, {"CD", 200, true, kindCanceled}, {"cD", 200, true, kindCanceled}, {"IR", 500, false, kindServer},
	} {
		var e entry
		e.http(c.status)
		new(haproxy).judge(&e, c.state[0], c.state[1], c.asked)
		require.Equal(t, c.want, e.Kind, "%s %d", c.state, c.status)
	}
}

func TestRecorderFile(t *testing.T) {
	const attempt = `{"version":1,"kind":"attempt","time":"2026-11-26T10:00:0%d.5Z","start":0,"call":7,"attempt":1,"elapsed":0.02%s}` + "\n"
	begin := `{"version":1,"kind":"begin","time":"2026-11-26T10:00:00Z","start":0}` + "\n"
	text := begin + fmt.Sprintf(attempt, 1, `,"outcome":"canceled","cut":"canceled"`) + begin + fmt.Sprintf(attempt, 2, `,"outcome":"succeeded","new":[1,{}]`) +
		`{"version":1,"kind":"lost","time":"2026-11-26T10:00:03Z","start":3,"lost":40}` + "\n"
	records, notes, err := read(text, Options{})
	require.NoError(t, err)
	require.Len(t, records, 2)
	require.Equal(t, []string{"7", "2/7"}, []string{records[0].Call, records[1].Call}, "recordings number their calls anew")
	require.Equal(t, Record{Start: records[0].Start, Latency: 20 * time.Millisecond, Failed: true, Kind: "canceled", Call: "7", Attempt: 1, Code: "canceled", Censored: true}, records[0])
	require.Equal(t, []string{"the recorder could not write 40 lines: they are missing", "the file has 2 recordings; calls are told apart by them"}, notes.Warnings)

	for name, line := range map[string]string{
		"another version":   `{"version":2,"kind":"attempt","time":"2026-11-26T10:00:00Z","start":0,"outcome":"succeeded"}`,
		"another kind":      `{"version":1,"kind":"span","time":"2026-11-26T10:00:00Z","start":0}`,
		"another outcome":   `{"version":1,"kind":"attempt","time":"2026-11-26T10:00:00Z","start":0,"outcome":"fine"}`,
		"no time":           `{"version":1,"kind":"attempt","start":0,"outcome":"succeeded"}`,
		"no number":         `{"version":1,"kind":"attempt","time":"2026-11-26T10:00:00Z","start":0,"outcome":"succeeded","elapsed":"1"}`,
		"less than no time": `{"version":1,"kind":"attempt","time":"2026-11-26T10:00:00Z","start":0,"outcome":"succeeded","elapsed":-1}`,
		"half a line":       `{"version":1,"kind":"attempt","time":"2026-11-26T10:00:00Z","sta`,
	} {
		t.Run(name, func(t *testing.T) {
			records, notes, err := read(text+line, Options{})
			require.NoError(t, err)
			require.Len(t, records, 2)
			require.Equal(t, 1, notes.Bad)
		})
	}
}

// What policyslog writes now is what is read, to the nanosecond.
func TestRecorderOfNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		recorder := policyslog.Record(&b)
		users := resilience.Compose(resilience.Name("users \"é\""), retry.New(retry.Attempts(3), retry.Constant(time.Second)), timeout.PerAttempt(50*time.Millisecond), resilience.Observe(recorder))
		began := time.Now()
		tries := 0
		require.NoError(t, users.Run(t.Context(), func(ctx context.Context) error {
			switch tries++; tries {
			case 1:
				time.Sleep(1234567)
				return errors.New("no")
			case 2:
				<-ctx.Done()
				return ctx.Err()
			}
			time.Sleep(3)
			return nil
		}))
		require.NoError(t, recorder.Close())
		records, notes, err := read(b.String(), Options{})
		require.NoError(t, err)
		require.Zero(t, notes.Bad)
		require.Len(t, records, 3)
		require.True(t, records[0].Start.Equal(began))
		for i, want := range []Record{
			{Latency: 1234567, Failed: true, Class: "transient", Call: records[0].Call, Attempt: 1},
			{Latency: 50 * time.Millisecond, Failed: true, Kind: "timeout", Class: "transient", Code: "timeout.attempt", Censored: true, Call: records[0].Call, Attempt: 2},
			{Latency: 3, Call: records[0].Call, Attempt: 3},
		} {
			want.Start = records[i].Start
			require.Equal(t, want, records[i])
		}
		require.NotEmpty(t, records[0].Call)
	})
}

// Attempts of a span belong to one call until there is a first one again.
func TestOTelCalls(t *testing.T) {
	span := func(parent string, number int, more ...string) string {
		return fmt.Sprintf(`{"traceId":"t","spanId":"s","parentSpanId":%q,"name":"resilience.attempt","kind":1,"startTimeUnixNano":"1795687201500000000","endTimeUnixNano":"1795687201520000000",`+
			`"attributes":[{"key":"resilience.attempt.number","value":{"intValue":"%d"}},{"key":"resilience.outcome","value":{"stringValue":"succeeded"}}%s]}`+"\n", parent, number, strings.Join(more, ""))
	}
	extra := `,{"key":"resilience.hedge.number","value":{"intValue":"2"}}`
	client := `{"traceId":"t","spanId":"c","kind":3,"startTimeUnixNano":"1795687201500000000","endTimeUnixNano":"1795687201520000000"}` + "\n"
	records, notes, err := read(client+span("a", 1)+span("b", 1)+span("a", 2)+client+span("a", 1)+span("a", 2)+span("b", 2)+span("c", 1, extra)+span("c", 1)+span("c", 1), Options{})
	require.NoError(t, err)
	var calls []string
	for _, r := range records {
		calls = append(calls, fmt.Sprint(r.Call, " ", r.Attempt))
	}
	require.Equal(t, []string{"t/a/1 1", "t/b/1 1", "t/a/1 2", "t/a/2 1", "t/a/2 2", "t/b/1 2", "t/c/1 1", "t/c/1 1", "t/c/2 1"}, calls)
	require.Equal(t, []string{"2 spans are of other kinds and are left out"}, notes.Warnings)
	require.Contains(t, notes.Why, "line 1 is a span of OTLP/JSON; its spans resilience.attempt are read")
}

// Batches of spans may come in any order: an attempt belongs to the call in which it came first.
func TestOTelOrder(t *testing.T) {
	span := func(number, at int) string {
		return fmt.Sprintf(`{"traceId":"t","spanId":"s","parentSpanId":"a","name":"resilience.attempt","kind":1,"startTimeUnixNano":"17956872015%02d000000","endTimeUnixNano":"17956872015%02d000000",`+
			`"attributes":[{"key":"resilience.attempt.number","value":{"intValue":"%d"}},{"key":"resilience.outcome","value":{"stringValue":"succeeded"}}]}`+"\n", at, at+5, number)
	}
	calls := func(text string) (list []string) {
		records, _, err := read(text, Options{})
		require.NoError(t, err)
		for _, r := range records {
			list = append(list, fmt.Sprint(strings.TrimPrefix(r.Call, "t/a/"), " ", r.Attempt))
		}
		return list
	}
	require.Equal(t, []string{"1 2", "1 1", "1 3", "2 1"}, calls(span(2, 20)+span(1, 10)+span(3, 30)+span(1, 40)))
	require.Equal(t, []string{"1 2", "2 1", "2 2"}, calls(span(2, 20)+span(1, 30)+span(2, 40)), "the log begins within a call")
}

// A span that cannot be right is left out and counted, and its batch is read.
func TestOTelBadSpans(t *testing.T) {
	span := func(began, ended int) string {
		return fmt.Sprintf(`{"traceId":"t","spanId":"s","kind":3,"startTimeUnixNano":"1795687201%09d","endTimeUnixNano":"1795687201%09d"}`, began, ended)
	}
	batch := func(bad int) string {
		var spans []string
		for i := range 20 {
			if spans = append(spans, span(i*1e6, i*1e6+5e6)); i < bad {
				spans = append(spans, span(i*1e6+2, i*1e6+1), `{"traceId":"t","kind":3}`)
			}
		}
		return `{"resourceSpans":[{"scopeSpans":[{"spans":[` + strings.Join(spans, ",") + "]}]}]}\n"
	}
	records, notes, err := read(batch(0)+batch(1)+batch(3), Options{})
	require.NoError(t, err)
	require.Len(t, records, 60)
	require.Equal(t, 8, notes.Bad)
	require.Equal(t, 3, notes.Lines)
	require.Equal(t, "the latency is negative (and 1 more of the line)", notes.BadLines[0].Reason)
	_, _, err = read(strings.Repeat(batch(0), 50), Options{MaxBad: 1e-9})
	require.NoError(t, err)
	_, notes, err = read(strings.Repeat(batch(0), 999)+batch(20), Options{})
	require.NoError(t, err, "40 of 20,000 spans")
	require.Equal(t, 40, notes.Bad)
	require.Contains(t, notes.Warnings[0], "40 spans are bad and left out, the first is line 1000: ")
	var bad *BadLinesError
	_, _, err = read(strings.Repeat(batch(20), 3), Options{})
	require.ErrorAs(t, err, &bad)
}

// Some sampled logs say so.
func TestSampledLogs(t *testing.T) {
	span := func(state string) string {
		return fmt.Sprintf(`{"traceId":"t","spanId":"s","kind":3,"traceState":%q,"startTimeUnixNano":"1795687201500000000","endTimeUnixNano":"1795687201520000000"}`+"\n", state)
	}
	vegeta := func(step, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "%d,200,20500000,0,0,,,a,%d,GET,http://a/,\n", 1795687201500000000+i*1e6, i*step)
		}
		return b.String()
	}
	for text, want := range map[string]string{
		span(""): "", span("ot=th:0"): "", span("a=b,ot=rv:00000000000000;th:0;p:0"): "", span("vendor=th:8"): "", span("ot=p:63"): "p:63 in the trace state of spans",
		span("a=b, ot=rv:e0000000000000;th:c"): "th:c in the trace state of spans", span("ot=p:3;r:5"): "p:3 in the trace state of spans",
		`{"SpanContext":{"TraceID":"t","SpanID":"s","TraceState":"ot=th:8"},"SpanKind":3,"StartTime":"2026-11-26T10:00:01Z","EndTime":"2026-11-26T10:00:02Z"}`: "th:8 in the trace state of spans",
		vegeta(1, 500): "", vegeta(1, 200) + vegeta(1, 200): "", vegeta(3, 500): "500 of 1498 numbers of requests (seq) are there", vegeta(3, 20): "",
	} {
		_, notes, err := read(text, Options{})
		require.NoError(t, err)
		require.Equal(t, want, notes.Sampled, "%.200s", text)
	}
}

// Every format is found by its own files, and only by them.
func TestDetection(t *testing.T) {
	for _, c := range []struct{ file, name string }{
		{"recorder.jsonl", "recorder"}, {"envoy.log", "envoy"}, {"envoy-istio.log", "envoy"}, {"envoy.json", "envoy-json"},
		{"nginx.log", "nginx"}, {"nginx-short.log", "nginx"}, {"nginx-json.log", "nginx-json"}, {"haproxy.log", "haproxy"}, {"alb.log", "alb"},
		{"k6.csv", "k6-csv"}, {"k6.json", "k6-json"}, {"vegeta.json", "vegeta-json"}, {"vegeta.csv", "vegeta-csv"},
		{"jmeter.csv", "jmeter-csv"}, {"jmeter.xml", "jmeter-xml"}, {"otlp.json", "otel"}, {"otlp-spans.json", "otel"}, {"otel-attempts.jsonl", "otel"},
	} {
		t.Run(c.file, func(t *testing.T) {
			text, err := os.ReadFile("testdata/" + c.file)
			require.NoError(t, err)
			whole, notes, err := read(string(text), Options{})
			require.NoError(t, err)
			require.Equal(t, c.name, notes.Format)
			require.NotEmpty(t, notes.Why)
			family, _, _ := strings.Cut(c.name, "-")
			said, notes, err := read(string(packed(string(text))), Options{Format: family})
			require.NoError(t, err)
			require.Equal(t, c.name, notes.Format)
			require.Equal(t, whole, said)
			for _, line := range bytes.Split(text, []byte("\n"))[:3] {
				found := 0
				list, _ := members(line, nil)
				for _, f := range formats {
					if f.looks(line, list) != "" {
						found++
					}
				}
				require.LessOrEqual(t, found, 1, "%s", line)
			}
			for _, f := range Formats() {
				if f.Name != family {
					_, err := Open(bytes.NewReader(text), Options{Format: f.Name})
					var refused *FormatError
					require.ErrorAs(t, err, &refused, f.Name)
				}
			}
		})
	}
}
