package report

import (
	"fmt"
	"strings"

	"github.com/go-resilience/resilience/lab/internal/scenario"
)

// Pages returns the files of a folder of documentation: every picture as NAME.svg, a page for each scenario, and a
// README.md that lists them if all the scenarios are there.
func Pages(results []*scenario.Result, all []*scenario.Scenario) map[string]string {
	files := map[string]string{}
	for _, r := range results {
		for _, f := range r.Figures {
			files[f.Name+".svg"] = f.SVG()
		}
		files[r.Page+".md"] = lesson(r)
	}
	if len(results) == len(all) {
		files["README.md"] = contents(results)
	}
	return files
}

// lesson is a page: the question, the picture, the advice and its limits.
func lesson(r *scenario.Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n\n", r.Question, r.Answer)
	for _, f := range r.Figures {
		fmt.Fprintf(&b, "![%s](%s.svg)\n\n", f.Title, f.Name)
	}
	list := func(title string, items []string) {
		fmt.Fprintf(&b, "## %s\n\n", title)
		for _, item := range items {
			fmt.Fprintf(&b, "- %s\n", item)
		}
		b.WriteString("\n")
	}
	list("Advice", r.Advice)
	list("Limits", r.Limits)
	list("How it was measured", r.Setup)
	b.WriteString("## Measured and expected\n\n")
	fmt.Fprintf(&b, "Bands in the pictures span the smallest to the largest of several runs; dashed lines are theory. The expected values\nwere computed without the library, and their tolerances (±, %d standard errors) before anything was measured.\n\n", scenario.Sigmas)
	b.WriteString("| what | measured | expected | source |\n|---|---|---|---|\n")
	for _, c := range r.Checks {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(c.What), cell(c.Measured), cell(c.Expected), cell(c.Source))
	}
	b.WriteString("\n")
	list("Sources", r.Sources)
	fmt.Fprintf(&b, "The lab made this page from scenario %s; see [how](README.md). To play the scenario yourself:\n\n```\ngo run ./lab -run %s\n```\n", r.Name, r.Name)
	return b.String()
}

func cell(text string) string { return strings.ReplaceAll(text, "|", "\\|") }

func contents(results []*scenario.Result) string {
	var b strings.Builder
	b.WriteString("# Tradeoffs\n\nOne page for each lesson: the question, a picture, and advice with numbers and limits. [The lab](../../lab) measured\nthe numbers by running the library's own policies in virtual time, and compares them with theory or a published experiment.\n\n| question | answer |\n|---|---|\n")
	for _, r := range results {
		fmt.Fprintf(&b, "| [%s](%s.md) | %s |\n", r.Question, r.Page, cell(r.Answer))
	}
	b.WriteString("\nOne command, run from the repository's root, makes the pages and pictures. A test of the lab fails when they no longer\nshow what the code does:\n\n```\ngo run ./lab -svg docs/tradeoffs\n```\n")
	return b.String()
}
