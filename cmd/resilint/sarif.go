package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

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
		Column int `json:"startColumn,omitempty"`
	}
	type artifact struct {
		URI  string `json:"uri"`
		Base string `json:"uriBaseId,omitempty"`
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
		Index     int        `json:"ruleIndex"`
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
		Tool       tool                `json:"tool"`
		Bases      map[string]artifact `json:"originalUriBaseIds"`
		ColumnKind string              `json:"columnKind"`
		Results    []result            `json:"results"`
	}
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	all := checks.All()
	rules := []rule{}
	for _, check := range all {
		short, full, _ := strings.Cut(check.Doc, "\n")
		id, short, _ := strings.Cut(short, ": ")
		rules = append(rules, rule{id, check.Name, check.URL, text{short}, text{strings.TrimSpace(full)}})
	}
	results := []result{}
	for _, f := range found {
		at := artifact{URI: fileURI(f.file)}
		if !filepath.IsAbs(f.file) {
			at = artifact{(&url.URL{Path: f.file}).String(), base}
		}
		results = append(results, result{f.id, slices.Index(all, f.check), "warning", text{f.message}, []location{{physical{
			at, region{f.line, characters(f)},
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
		[]run{{
			tool{driver{"resilint", "https://github.com/go-resilience/resilience/blob/main/docs/resilint.md", rules}},
			map[string]artifact{base: {URI: fileURI(here) + "/"}}, "unicodeCodePoints", results,
		}},
	})
}

// base is the name for the directory to which the names of files are relative.
const base = "%SRCROOT%"

// fileURI returns the URI of a file whose name is absolute.
func fileURI(name string) string {
	path := filepath.ToSlash(name)
	if !strings.HasPrefix(path, "/") { // a drive of Windows
		path = "/" + path
	}
	return (&url.URL{Scheme: "file", Path: path}).String()
}

// characters returns the column of a finding in characters; go vet counts bytes. It is 0 if it is not known.
func characters(f finding) int {
	content, err := os.ReadFile(f.file)
	lines := bytes.SplitN(content, []byte("\n"), f.line+1)
	if err != nil || f.column < 1 || len(lines) < f.line || len(lines[f.line-1]) < f.column-1 {
		return 0
	}
	return utf8.RuneCount(lines[f.line-1][:f.column-1]) + 1
}
