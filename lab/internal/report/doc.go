// Package report shows the results of scenarios: as a table for a terminal, as one HTML file that needs nothing else,
// and as pages for the documentation.
package report
