package logs_test

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-resilience/resilience/lab/internal/replay/logs"
)

func ExampleOpen() {
	file, err := os.Open("testdata/nginx.log")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer file.Close()
	source, err := logs.Open(file, logs.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	failed := map[string]int{}
	for {
		record, err := source.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		if record.Failed {
			failed[record.Kind]++
		}
	}
	notes := source.Notes()
	fmt.Println(notes.Format, "because", notes.Why)
	fmt.Println(notes.Records, "records, failed:", failed)
	fmt.Println(notes.Warnings[0])
	// Output:
	// nginx because line 1 begins with $msec, $request_time and $status
	// 33 records, failed: map[5xx:7 canceled:1 rejected:2 throttled:1 timeout:1]
	// 2 requests were answered by nginx itself and are left out
}
