package policygrpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/go-resilience/resilience/policy"
)

// The JSON of a service config, as far as it is about attempts.
type (
	serviceConfigJSON struct {
		MethodConfig    []methodConfigJSON   `json:"methodConfig"`
		RetryThrottling *retryThrottlingJSON `json:"retryThrottling"`
	}
	methodConfigJSON struct {
		Name          []nameJSON         `json:"name"`
		Timeout       durationJSON       `json:"timeout"`
		RetryPolicy   *retryPolicyJSON   `json:"retryPolicy"`
		HedgingPolicy *hedgingPolicyJSON `json:"hedgingPolicy"`
	}
	nameJSON struct {
		Service string `json:"service"`
		Method  string `json:"method"`
	}
	retryPolicyJSON struct {
		MaxAttempts          float64      `json:"maxAttempts"`
		InitialBackoff       durationJSON `json:"initialBackoff"`
		MaxBackoff           durationJSON `json:"maxBackoff"`
		BackoffMultiplier    float64      `json:"backoffMultiplier"`
		RetryableStatusCodes codesJSON    `json:"retryableStatusCodes"`
	}
	hedgingPolicyJSON struct {
		MaxAttempts         float64      `json:"maxAttempts"`
		HedgingDelay        durationJSON `json:"hedgingDelay"`
		NonFatalStatusCodes codesJSON    `json:"nonFatalStatusCodes"`
	}
	retryThrottlingJSON struct {
		MaxTokens  float64 `json:"maxTokens"`
		TokenRatio float64 `json:"tokenRatio"`
	}
)

// parseServiceConfig reads a config. It is not ok if nothing can be said about what is in it.
func parseServiceConfig(root section, config string) (parsed serviceConfigJSON, ok bool) {
	decoder := json.NewDecoder(strings.NewReader(config))
	if err := decoder.Decode(&parsed); err != nil {
		root.addError(err)
		return parsed, false
	}
	if _, err := decoder.Token(); err != io.EOF { //nolint:errorlint // a Decoder returns the very value
		root.add("there is more than one JSON value")
	}
	return parsed, true
}

// section is a part of a service config. Its problems are noted with its path, such as "methodConfig[0].timeout".
type section struct {
	problems *policy.ConfigError
	path     string // "" for the config as a whole
	before   int    // how many problems there were when the reading of the section began
}

// field returns the section of a field.
func (s section) field(name string) section {
	if s.path != "" {
		name = s.path + "." + name
	}
	return section{s.problems, name, len(s.problems.Problems)}
}

// add notes a problem of the section.
func (s section) add(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if s.path != "" {
		text = s.path + ": " + text
	}
	s.problems.Add("%s", text)
}

// addValue notes a problem of the section, which is a field with a value.
func (s section) addValue(value any, problem string) {
	s.problems.Add("%s %v: %s", s.path, value, problem)
}

// addError notes an error as a problem.
func (s section) addError(err error) { s.add("%v", err) }

// isBad reports whether a problem was noted since the reading of the section began.
func (s section) isBad() bool { return len(s.problems.Problems) > s.before }

// durationJSON is a duration as protocol buffers write it in JSON, such as "0.1s".
type durationJSON struct {
	duration time.Duration
	given    bool
	invalid  string // what is there instead, quoted; "" for a duration
}

func (d *durationJSON) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil // as if it were not there, as in all JSON of protocol buffers
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	d.given = true
	number, ok := strings.CutSuffix(text, "s")
	whole, fraction, dotted := strings.Cut(number, ".")
	if whole == "" && dotted {
		whole = "0" // as gRPC, which writes ".01s" in its own examples
	}
	seconds, err := strconv.ParseUint(whole, 10, 63)
	nanos, err2 := strconv.ParseUint((fraction + "000000000")[:9], 10, 63)
	if !ok || err != nil || err2 != nil || dotted && fraction == "" || len(fraction) > 9 {
		d.invalid = fmt.Sprintf("%.40q", text)
		return nil
	}
	const tooManySeconds = math.MaxInt64 / uint64(time.Second)
	if seconds >= tooManySeconds {
		d.duration = math.MaxInt64
		return nil
	}
	d.duration = time.Duration(seconds)*time.Second + time.Duration(nanos)
	return nil
}

// valid returns the duration, zero if it is not there.
func (d *durationJSON) valid(at section) time.Duration {
	if d.invalid != "" {
		at.addValue(d.invalid, "must be a duration that is not negative, such as \"0.1s\"")
	}
	return d.duration
}

// positive returns the duration, which must be there.
func (d *durationJSON) positive(at section) time.Duration {
	if duration := d.valid(at); duration <= 0 && d.invalid == "" {
		at.add("must be positive")
	}
	return d.duration
}

// codesJSON is a list of codes, by number or by name, in whatever case.
type codesJSON []json.RawMessage

func (c codesJSON) set(at section) codeSet {
	set := make(codeSet, len(c))
	for _, text := range c {
		var code codes.Code
		if err := code.UnmarshalJSON(bytes.ToUpper(text)); err != nil {
			at.add("%.40q is not a code", text)
		}
		set[code] = true
	}
	return set
}
