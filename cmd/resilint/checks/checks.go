// Package checks lists the checks of resilint.
package checks

import (
	"golang.org/x/tools/go/analysis"

	"github.com/go-resilience/resilience/cmd/resilint/attemptcontext"
	"github.com/go-resilience/resilience/cmd/resilint/deafsleep"
	"github.com/go-resilience/resilience/cmd/resilint/droppederror"
	"github.com/go-resilience/resilience/cmd/resilint/everyerror"
	"github.com/go-resilience/resilience/cmd/resilint/gateinretry"
	"github.com/go-resilience/resilience/cmd/resilint/lastsleep"
	"github.com/go-resilience/resilience/cmd/resilint/maskedbreaker"
	"github.com/go-resilience/resilience/cmd/resilint/needsopen"
	"github.com/go-resilience/resilience/cmd/resilint/nestedretry"
	"github.com/go-resilience/resilience/cmd/resilint/percall"
	"github.com/go-resilience/resilience/cmd/resilint/refusedconstant"
	"github.com/go-resilience/resilience/cmd/resilint/retryloop"
	"github.com/go-resilience/resilience/cmd/resilint/unclosedbody"
	"github.com/go-resilience/resilience/cmd/resilint/unsafewrite"
	"github.com/go-resilience/resilience/cmd/resilint/unsettledpermit"
)

// All returns every check, in the order of the identifiers.
func All() []*analysis.Analyzer {
	return []*analysis.Analyzer{
		deafsleep.Analyzer,
		retryloop.Analyzer,
		lastsleep.Analyzer,
		everyerror.Analyzer,
		unsafewrite.Analyzer,
		percall.Analyzer,
		nestedretry.Analyzer,
		unclosedbody.Analyzer,
		attemptcontext.Analyzer,
		droppederror.Analyzer,
		needsopen.Analyzer,
		unsettledpermit.Analyzer,
		maskedbreaker.Analyzer,
		refusedconstant.Analyzer,
		gateinretry.Analyzer,
	}
}
