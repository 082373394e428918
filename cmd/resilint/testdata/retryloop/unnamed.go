package retryloop

import "time"

func connect(addr string) error { return nil }

func comparedInAnIf(addr string) {
	for { // want `RL2: this loop retries without a bound, backoff or jitter`
		if connect(addr) == nil {
			return
		}
		time.Sleep(time.Second)
	}
}

func comparedInTheCondition(addr string) {
	for nil != connect(addr) { // want `RL2: this loop retries without a bound, backoff or jitter`
		time.Sleep(time.Second)
	}
}

func comparedWithNothingThatFails(next func() *int) {
	for next() != nil {
		time.Sleep(time.Second)
	}
}
