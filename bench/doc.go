// Package bench measures this library side by side with its peers, and with what the machine itself costs.
//
// Every subject does the same work, on the same operation, in the same process, one after the other, and each call's
// result is checked inside the measured loop. Run everything and write docs/performance.md from it with
//
//	go run ./bench/report
//
// or single subjects with
//
//	go test ./bench -bench 'Work/four/'
package bench
