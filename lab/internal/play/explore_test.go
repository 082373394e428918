package play_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-resilience/resilience/lab/internal/play"
)

func TestExplore(t *testing.T) {
	f, err := os.Open("/tmp/addr.txt")
	if err != nil {
		t.Skip()
	}
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		if strings.TrimSpace(sc.Text()) == "" {
			continue
		}
		s := play.Decode(sc.Text())
		fmt.Println("=====", sc.Text())
		for side := range 2 {
			r := s.Run(side, play.Watcher{})
			fmt.Printf("%s calls %d ok %.1f%% rej %.1f%% fail %.1f%% att/call %.2f p50 %.0f p90 %.0f p99 %.0f p999 %.0f cut %q ref %q err %v\n", "AB"[side:side+1], r.Calls, 100*float64(r.Succeeded)/float64(r.Calls), 100*float64(r.Rejected)/float64(r.Calls), 100*float64(r.Failed)/float64(r.Calls), float64(r.Attempts)/float64(r.Calls), r.P50, r.P90, r.P99, r.P999, r.Cut, r.Refused, r.Err)
			for _, row := range []struct {
				n string
				f func(play.Row) any
			}{{"ok", func(r play.Row) any { return r.Succeeded }}, {"at", func(r play.Row) any { return r.Attempts }}, {"q", func(r play.Row) any { return r.Waiting }}} {
				fmt.Print("  ", row.n)
				for i := range r.Rows {
					fmt.Print(" ", row.f(r.Rows[i]))
				}
				fmt.Println()
			}
			if s.Sides[side].Breaker != 0 {
				fmt.Print("  br ")
				for i := range r.Rows {
					for _, b := range r.Rows[i].Breaker {
						fmt.Print(b)
					}
				}
				fmt.Println()
			}
		}
	}
}
