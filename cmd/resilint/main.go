package main

import (
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/multichecker"

	"github.com/go-resilience/resilience/cmd/resilint/deafsleep"
	"github.com/go-resilience/resilience/cmd/resilint/lastsleep"
	"github.com/go-resilience/resilience/cmd/resilint/retryloop"
)

var analyzers = []*analysis.Analyzer{deafsleep.Analyzer, retryloop.Analyzer, lastsleep.Analyzer}

func main() { multichecker.Main(analyzers...) }
