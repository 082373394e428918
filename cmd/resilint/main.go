package main

import (
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/multichecker"

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

// analyzers are all checks, in the order of their identifiers.
var analyzers = []*analysis.Analyzer{
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

func main() { multichecker.Main(analyzers...) }
