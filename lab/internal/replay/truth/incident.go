package truth

import (
	"bytes"
	"fmt"
	"regexp"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/lab/internal/replay"
	"github.com/go-resilience/resilience/lab/internal/replay/logs"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyslog"
)

// Incident is a world whose log is a file of lab/replay/testdata, in the format of a program.
type Incident struct {
	File       string // of the log
	Format     string // of the log
	Candidates string // file of the candidates
	World      *World
}

// seedOfIncidents makes the logs.
const seedOfIncidents = 20261124

// Incidents are those of docs/replay.md.
func Incidents() []*Incident {
	lognormal, exponential := sim.Lognormal, sim.Exponential
	worlds := complete(60, []*World{
		{
			Name: "outage", Horizon: 600, Peak: 100, Service: lognormal(45*ms, .5), FailFast: .2, Tick: ms,
			Fails: byTime(func(t float64) float64 {
				if t >= 240 && t < 330 {
					return .97
				}
				return .004
			}),
		},
		{
			Name: "brown-out", Horizon: 360, Peak: 50, Slots: 8, Service: exponential(70 * ms), Slower: during(120, 210, 2.6, 1), Tick: ms,
			Fails: byTime(during(120, 210, .06, .004)),
		},
		{
			Name: "retry storm", Horizon: 70, Peak: 30, Slots: 4, Service: exponential(60 * ms), Slower: during(25, 35, 3, 1), Fails: always(.01),
			Policies: retries("4", "500ms"), Numbered: true,
		},
	})
	return []*Incident{
		{"outage.log", "nginx", "outage.json", worlds[0]},
		{"brownout.log", "envoy", "brownout.json", worlds[1]},
		{"storm.log", "recorder", "storm.json", worlds[2]},
	}
}

// Log makes the file of the log.
func (i *Incident) Log() ([]byte, error) {
	if i.Format == "recorder" {
		return i.World.recording(seedOfIncidents)
	}
	records, err := i.World.records(seedOfIncidents)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for _, r := range records {
		status := 200
		if r.Failed {
			status = 503
		}
		switch i.Format {
		case "nginx": // log_format replay '$msec $request_time $status';
			end := r.Start.Add(r.Latency)
			fmt.Fprintf(&b, "%d.%03d %.3f %d\n", end.Unix(), end.Nanosecond()/1e6, r.Latency.Seconds(), status)
		case "envoy": // a json_format of four fields
			fmt.Fprintf(&b, `{"start_time":%q,"duration":%d,"response_code":%d,"response_flags":"-"}`+"\n", r.Start.Format("2006-01-02T15:04:05.000Z"), r.Latency.Milliseconds(), status)
		}
	}
	return b.Bytes(), nil
}

var callNumber = regexp.MustCompile(`"call":(\d+)`)

// recording is what our own recorder writes of the world.
func (t *World) recording(seed uint64) ([]byte, error) {
	bare, pipeline, err := t.calls(seed)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	var recorder *policyslog.Recorder
	if _, err := replay.RunWith(bare, pipeline, t.model(nil), seed, nil, func() policy.Layer {
		recorder = policyslog.Record(&out, policyslog.Buffer(1<<28))
		return resilience.Observe(recorder)
	}); err != nil {
		return nil, err
	}
	if err := recorder.Close(); err != nil {
		return nil, err
	}
	// The process gives out the numbers of calls, and worlds begin in the year 2000.
	numbers := map[string]int{}
	text := callNumber.ReplaceAllFunc(out.Bytes(), func(match []byte) []byte {
		if numbers[string(match)] == 0 {
			numbers[string(match)] = len(numbers) + 1
		}
		return fmt.Appendf(nil, `"call":%d`, numbers[string(match)])
	})
	return bytes.ReplaceAll(text, []byte(`"time":"2000-01-01T00:`), []byte(`"time":"`+noon.Format("2006-01-02T15:"))), nil
}

// calls returns a log of nothing but calls, and the pipeline that the world is recorded with.
func (t *World) calls(seed uint64) (*replay.Log, *replay.Candidate, error) {
	var calls []logs.Record
	for _, at := range t.arrivals(seed) {
		calls = append(calls, logs.Record{Start: noon.Add(at)})
	}
	bare, err := replay.Read(&source{records: calls, notes: logs.Notes{Resolution: 1}}, nil)
	if err != nil {
		return nil, nil, err
	}
	if t.Policies == "" {
		return bare, replay.WithoutPolicies(), nil
	}
	pipeline, err := layers(t.Policies)
	return bare, pipeline, err
}

// records returns the lines of the log, in the order in which they ended.
func (t *World) records(seed uint64) ([]logs.Record, error) {
	bare, pipeline, err := t.calls(seed)
	if err != nil {
		return nil, err
	}
	var records []logs.Record
	_, err = replay.Run(bare, pipeline, t.model(func(n noted) { records = append(records, t.line(n)) }), seed, nil)
	return records, err
}

// Record records the traffic of the world.
func (t *World) Record(seed uint64) (*replay.Log, error) {
	records, err := t.records(seed)
	if err != nil {
		return nil, err
	}
	notes := logs.Notes{Format: "made", Why: "it was made", Resolution: max(1, t.Tick)}
	return replay.Read(&source{records: records, notes: notes}, nil)
}

// Candidate is a pipeline of the incident beside the truth.
func (i *Incident) Candidate(log *replay.Log, candidate *replay.Candidate, truths int) (*Case, *replay.Prediction, error) {
	c := &Case{World: i.World, Candidate: candidate.Name}
	p, err := replay.NewJudge(log, 1).Predict(candidate, func(int, int) {})
	if err != nil {
		return nil, nil, err
	}
	c.Verdict, c.Reasons = p.Verdict, p.Reasons
	if p.Verdict == replay.Refused {
		return c, p, nil
	}
	return c, p, c.compare(log, candidate, p, seedOfIncidents, truths)
}
