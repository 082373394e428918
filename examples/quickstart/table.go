package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// wholeRun stands for all phases together.
const wholeRun = -1

// printTable prints what the arms have come to, phase by phase and over the whole run.
func printTable(w io.Writer, phases []phase, arms []*arm) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(title string, cell func(phase int) any) {
		fmt.Fprintf(table, "%s\t", title)
		for index := range phases {
			fmt.Fprintf(table, "%v\t", cell(index))
		}
		fmt.Fprintf(table, "%v\t\n", cell(wholeRun))
	}
	compare := func(title string, cell func(a *arm, phase int) any) {
		for _, arm := range arms {
			row(title+arm.name, func(phase int) any { return cell(arm, phase) })
			title = ""
		}
	}

	fmt.Fprintln(w)
	row("", func(phase int) any {
		if phase == wholeRun {
			return "whole run"
		}
		return phases[phase].name
	})
	row("calls, each", func(phase int) any { return len(arms[0].callsOf(phase)) })
	compare("successes: ", func(a *arm, phase int) any { return successes(a.callsOf(phase)) })
	compare("requests that reached the server: ", func(a *arm, phase int) any { return a.server.requestsOf(phase) })
	compare("median latency of a call: ", func(a *arm, phase int) any { return milliseconds(quantile(a.callsOf(phase), 0.5)) })
	compare("worst latency of a call: ", func(a *arm, phase int) any { return milliseconds(quantile(a.callsOf(phase), 1)) })
	compare("time asleep or queued, all calls: ", func(a *arm, phase int) any {
		if phase != wholeRun {
			return ""
		}
		return fmt.Sprintf("%.1f s", a.asleep().Seconds())
	})
	_ = table.Flush()
	fmt.Fprintln(w, "\nA call belongs to the phase in which it began, a request to that in which it arrived. 404 is a success: the server has answered.")
}

func successes(calls []call) (count int) {
	for _, call := range calls {
		if !call.failed {
			count++
		}
	}
	return count
}

// quantile returns the latency that a share q of calls did not exceed, 0 when there are no calls.
func quantile(calls []call, q float64) time.Duration {
	if len(calls) == 0 {
		return 0
	}
	latencies := make([]time.Duration, len(calls))
	for i, call := range calls {
		latencies[i] = call.latency
	}
	slices.Sort(latencies)
	return latencies[int(q*float64(len(latencies)-1))]
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
