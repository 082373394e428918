package policyconfig

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

// Handle is a pipeline that follows the changes of its configuration. It is a [resilience.Source] and a [policy.Layer]:
// pass it to [resilience.Do], [resilience.Open], [resilience.For] and the adapters. resilience.Compose refuses it. It is safe
// for concurrent use. A call costs one atomic load more than with the pipeline itself.
type Handle struct {
	key      string
	pipeline atomic.Pointer[resilience.Pipeline] // never nil once the handle is handed out
	file     atomic.Pointer[file]                // that the pipeline comes from
}

var (
	_ resilience.Source = (*Handle)(nil)
	_ policy.Layer      = (*Handle)(nil)
	_ policy.Gate       = (*Handle)(nil)
	_ policy.Idler      = (*Handle)(nil)
	_ fmt.Stringer      = (*Handle)(nil)
)

// Current returns the pipeline in force. Use it for one call only: the next call may need another.
func (h *Handle) Current() *resilience.Pipeline { return h.pipeline.Load() }

// Key returns the name of the pipeline in the configuration.
func (h *Handle) Key() string { return h.key }

// Stage returns the stage of the outermost layer, as [resilience.Pipeline.Stage] does.
func (h *Handle) Stage() policy.Stage { return h.Current().Stage() }

// Run runs an operation without a result through the pipeline in force.
func (h *Handle) Run(ctx context.Context, op func(context.Context) error) error {
	return h.Current().Run(ctx, op)
}

// Acquire is [resilience.Pipeline.Acquire] of the pipeline in force.
func (h *Handle) Acquire(ctx context.Context) (*policy.Permit, error) {
	return h.Current().Acquire(ctx)
}

// Ready is [resilience.Pipeline.Ready] of the pipeline in force.
func (h *Handle) Ready(ctx context.Context) error { return h.Current().Ready(ctx) }

// Idle is [resilience.Pipeline.Idle] of the pipeline in force.
func (h *Handle) Idle() bool { return h.Current().Idle() }

// Name returns the name of the pipeline in force.
func (h *Handle) Name() string { return h.Current().Name() }

// Report returns the report of the pipeline in force.
func (h *Handle) Report() resilience.Report { return h.Current().Report() }

// MarshalJSON writes the report.
func (h *Handle) MarshalJSON() ([]byte, error) { return json.Marshal(h.Report()) }

// String returns the layers of the pipeline in force.
func (h *Handle) String() string { return h.Current().String() }
