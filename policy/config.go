package policy

import (
	"fmt"
	"strings"
)

// ConfigError lists everything that is wrong with a configuration. Constructors panic with it; the Validate
// functions return it, for configuration that comes from outside.
//
// The zero value with a Policy is ready to collect problems.
type ConfigError struct {
	Policy   string   // what was configured: "breaker", "resilience.Compose"
	Problems []string // each names the option and the value
}

// Add notes a problem. It formats as [fmt.Sprintf] does, and joins several lines to one.
func (e *ConfigError) Add(format string, args ...any) {
	e.Problems = append(e.Problems, oneLine(fmt.Sprintf(format, args...)))
}

// Err returns a *ConfigError when a problem was noted, otherwise nil.
func (e *ConfigError) Err() error {
	if len(e.Problems) == 0 {
		return nil
	}
	return &ConfigError{Policy: e.Policy, Problems: e.Problems}
}

// Error returns all problems on one line.
func (e *ConfigError) Error() string {
	return oneLine(e.Policy + ": " + strings.Join(e.Problems, "; "))
}
