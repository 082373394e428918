package fallback

import (
	"encoding/json"
	"log/slog"
)

// Snapshot is what a fallback has done so far.
type Snapshot struct {
	Name     string `json:"name,omitempty"`
	Answered uint64 `json:"answered"` // calls that failed and got the fallback's answer
	Failed   uint64 `json:"failed"`   // calls whose fallback failed too
	Skipped  uint64 `json:"skipped"`  // failed calls without a fallback: the caller had cancelled, or If said no
}

// Snapshot returns one consistent value. It changes nothing.
func (f *Policy[T]) Snapshot() Snapshot {
	f.mustBeMade()
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.counts
	s.Name = f.name
	return s
}

// MarshalJSON writes the snapshot: a fallback is no layer, and has no report.
func (f *Policy[T]) MarshalJSON() ([]byte, error) { return json.Marshal(f.Snapshot()) }

// LogValue returns the fields as a group.
func (s Snapshot) LogValue() slog.Value {
	attrs := make([]slog.Attr, 0, 4)
	if s.Name != "" {
		attrs = append(attrs, slog.String("name", s.Name))
	}
	return slog.GroupValue(append(attrs,
		slog.Uint64("answered", s.Answered), slog.Uint64("failed", s.Failed), slog.Uint64("skipped", s.Skipped))...)
}
