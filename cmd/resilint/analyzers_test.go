package main

import (
	"flag"
	"path"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/analysistest"

	checklist "github.com/go-resilience/resilience/cmd/resilint/checks"
	"github.com/go-resilience/resilience/cmd/resilint/deafsleep"
)

// Every check, in the folder of its name under testdata: what it must find and what not, and its fixes. They run as one
// analyzer, so that the packages are loaded once.
func TestChecks(t *testing.T) {
	tries := deafsleep.New()
	require.NoError(t, tries.Flags.Set("fix-with", "tries"))
	checks := map[string]*analysis.Analyzer{"tries": tries}
	folders := []string{"./testdata/tries"}
	requires := map[*analysis.Analyzer]bool{}
	for _, a := range checklist.All() {
		checks[a.Name] = a
		folders = append(folders, "./testdata/"+a.Name)
		for _, required := range a.Requires {
			requires[required] = true
		}
	}
	one := &analysis.Analyzer{Name: "one", Doc: "runs the check that a package is for", Flags: *flag.NewFlagSet("", flag.PanicOnError)}
	for required := range requires {
		one.Requires = append(one.Requires, required)
	}
	one.Run = func(pass *analysis.Pass) (any, error) {
		if check := checks[path.Base(pass.Pkg.Path())]; check != nil { // else the main package of a test
			return check.Run(pass)
		}
		return nil, nil
	}
	results := analysistest.RunWithSuggestedFixes(t, ".", one, folders...)
	require.GreaterOrEqual(t, len(results), len(folders))
}
