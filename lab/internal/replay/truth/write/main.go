// Command write makes the logs of lab/replay/testdata and the tables of docs/replay.md. Run it from the repository's root:
//
//	go run ./lab/internal/replay/truth/write             everything; the worlds take an hour of a processor
//	go run ./lab/internal/replay/truth/write -incidents  the logs and their table only
//	go run ./lab/internal/replay/truth/write -worlds     the worlds only
//	go run ./lab/internal/replay/truth/write -tuned      of the worlds, those that the thresholds were found with
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/go-resilience/resilience/lab/internal/replay/truth"
)

func main() {
	incidents := flag.Bool("incidents", false, "only the incidents")
	cache := flag.String("cache", filepath.Join(os.TempDir(), "replay-truth"), "folder of the results of worlds; those that are there are not made again")
	worlds := flag.Bool("worlds", false, "only the worlds")
	tuned := flag.Bool("tuned", false, "only the worlds that the thresholds were found with")
	flag.Parse()
	debug.SetGCPercent(400)
	err := os.MkdirAll(*cache, 0o755)
	if err == nil && !*worlds && !*tuned {
		err = writeIncidents()
	}
	if err == nil && !*incidents && !*tuned {
		err = writeWorlds(*cache, "fresh", truth.Fresh(), truth.Table)
	}
	if err == nil && !*incidents {
		err = writeWorlds(*cache, "tuned", truth.Tuned(), truth.Wrong)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const (
	testdata = "lab/replay/testdata"
	page     = "docs/replay.md"
	truths   = 5 // seeds
)

func writeIncidents() error {
	for _, i := range truth.Incidents() {
		log, err := i.Log()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(testdata, i.File), log, 0o644); err != nil {
			return err
		}
		fmt.Printf("%s: %d bytes\n", i.File, len(log))
	}
	table, err := truth.IncidentTable(testdata, truths)
	if err != nil {
		return err
	}
	return put("incidents", table)
}

// writeWorlds puts the score of some worlds into the page, and what else there is to say of them.
func writeWorlds(cache, name string, worlds []*truth.World, more func([]*truth.Case) string) error {
	var all []*truth.Case
	for i := range worlds {
		k := i * stride % len(worlds)
		w := worlds[k]
		cases, err := evaluate(w, filepath.Join(cache, fmt.Sprintf("%s-%d.json", name, k)))
		if err != nil {
			return err
		}
		all = append(all, cases...)
		fmt.Printf("%s: %s: %v\n", name, w.Name, truth.ScoreOf(cases))
	}
	fmt.Println(truth.ScoreOf(all))
	return put(name, truth.Paragraph(truth.ScoreOf(all).String())+"\n\n"+more(all))
}

// stride is prime to the number of worlds, so that each has its turn, and those of a kind do not come one after the other.
const stride = 13

// evaluate is truth.Evaluate, unless its result stands in a file already.
func evaluate(w *truth.World, file string) (cases []*truth.Case, err error) {
	if text, err := os.ReadFile(file); err == nil {
		if err := json.Unmarshal(text, &cases); err != nil {
			return nil, err
		}
		for _, c := range cases {
			c.World = w
		}
		return cases, nil
	}
	if cases, err = truth.Evaluate(w, 1, truths, truth.Candidates()); err != nil {
		return nil, err
	}
	text, err := json.Marshal(cases)
	if err != nil {
		return nil, err
	}
	return cases, os.WriteFile(file, text, 0o644)
}

// put puts a text between the marks of the page.
func put(name, text string) error {
	content, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	content, err = truth.Put(content, name, text)
	if err != nil {
		return err
	}
	return os.WriteFile(page, content, 0o644)
}
