package unclosedbody

import (
	"net/http"
	"time"
)

func untilItIsOK(client *http.Client, request *http.Request) (*http.Response, error) {
	for i := 0; ; i++ {
		response, err := client.Do(request) // want "RL8: this loop tries again without closing the body of response: each retry leaks a connection"
		if err == nil && response.StatusCode < 500 {
			return response, nil
		}
		if i == 3 {
			return response, err
		}
		time.Sleep(time.Second)
	}
}
