package main

import (
	"encoding/json"
	"io"
	"path/filepath"
	"strings"

	"github.com/go-resilience/resilience/cmd/resilint/checks"
)

// sarif writes findings in the Static Analysis Results Interchange Format, version 2.1.0 (OASIS).
func sarif(w io.Writer, found []finding) error {
	type text struct {
		Text string `json:"text"`
	}
	type rule struct {
		ID   string `json:"id"`
		Name string `json:"name"`
		Help string `json:"helpUri"`
		Text text   `json:"shortDescription"`
		Full text   `json:"fullDescription"`
	}
	type region struct {
		Line   int `json:"startLine"`
		Column int `json:"startColumn"`
	}
	type artifact struct {
		URI string `json:"uri"`
	}
	type physical struct {
		Artifact artifact `json:"artifactLocation"`
		Region   region   `json:"region"`
	}
	type location struct {
		Physical physical `json:"physicalLocation"`
	}
	type result struct {
		Rule      string     `json:"ruleId"`
		Level     string     `json:"level"`
		Message   text       `json:"message"`
		Locations []location `json:"locations"`
	}
	type driver struct {
		Name  string `json:"name"`
		URI   string `json:"informationUri"`
		Rules []rule `json:"rules"`
	}
	type tool struct {
		Driver driver `json:"driver"`
	}
	type run struct {
		Tool       tool     `json:"tool"`
		ColumnKind string   `json:"columnKind"`
		Results    []result `json:"results"`
	}
	rules := []rule{}
	for _, check := range checks.All() {
		short, full, _ := strings.Cut(check.Doc, "\n")
		id, short, _ := strings.Cut(short, ": ")
		rules = append(rules, rule{id, check.Name, check.URL, text{short}, text{strings.TrimSpace(full)}})
	}
	results := []result{}
	for _, f := range found {
		results = append(results, result{f.id, "warning", text{f.message}, []location{{physical{
			artifact{filepath.ToSlash(f.file)}, region{f.line, f.column},
		}}}})
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		Schema  string `json:"$schema"`
		Version string `json:"version"`
		Runs    []run  `json:"runs"`
	}{
		"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0",
		[]run{{tool{driver{"resilint", "https://github.com/go-resilience/resilience/blob/main/docs/resilint.md", rules}}, "unicodeCodePoints", results}},
	})
}
