// Package golangci makes the checks a module plugin of golangci-lint, under the name resilint. See docs/resilint.md.
package golangci

import (
	"github.com/golangci/plugin-module-register/register"
	"golang.org/x/tools/go/analysis"

	"github.com/go-resilience/resilience/cmd/resilint/checks"
)

func init() {
	register.Plugin("resilint", New)
}

// New returns the plugin. It has no settings.
func New(any) (register.LinterPlugin, error) { return plugin{}, nil }

type plugin struct{}

// BuildAnalyzers returns all checks.
func (plugin) BuildAnalyzers() ([]*analysis.Analyzer, error) { return checks.All(), nil }

// GetLoadMode says that the checks need types.
func (plugin) GetLoadMode() string { return register.LoadModeTypesInfo }
