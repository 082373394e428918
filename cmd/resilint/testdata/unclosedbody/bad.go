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

// the last response is used after the loop: there is no fix
func returnsTheLast(client *http.Client, request *http.Request) (response *http.Response, err error) {
	for range 3 {
		response, err = client.Do(request) // want "RL8: this loop tries again without closing the body of response"
		if err == nil && response.StatusCode < 500 {
			break
		}
		time.Sleep(time.Second)
	}
	return response, err
}

// the response is not in scope at the sleep: there is no fix
func inABlock(client *http.Client, request *http.Request, ready func() bool) *http.Response {
	for {
		if ready() {
			response, err := client.Do(request) // want "RL8: this loop tries again without closing the body of response"
			if err == nil && response.StatusCode < 500 {
				return response
			}
		}
		time.Sleep(time.Second)
	}
}

// it waits in two places
func waitsTwice(client *http.Client, request *http.Request) *http.Response {
	for {
		response, err := client.Do(request) // want "RL8: this loop tries again without closing the body of response"
		if err != nil {
			time.Sleep(time.Second)
			continue
		}
		if response.StatusCode >= 500 {
			time.Sleep(time.Minute)
			continue
		}
		return response
	}
}

// the response is looked at after the sleep: there is no fix
func sleepsBeforeItLooks(client *http.Client, request *http.Request) *http.Response {
	for {
		response, err := client.Do(request) // want "RL8: this loop tries again without closing the body of response"
		time.Sleep(time.Second)
		if err != nil || response.StatusCode >= 500 {
			continue
		}
		return response
	}
}
