package unsafewrite

import (
	"bytes"
	"net/http"
	"time"
)

func post(body []byte) (response *http.Response, err error) {
	for range 3 {
		response, err = http.Post("http://orders/new", "application/json", bytes.NewReader(body)) // want "RL5: this loop repeats a POST that is not idempotent: when only the answer was lost, it is done twice"
		if err == nil {
			break
		}
		time.Sleep(time.Second)
	}
	return response, err
}

func do(client *http.Client, body []byte) (response *http.Response, err error) {
	for range 3 {
		request, err := http.NewRequest(http.MethodPatch, "http://orders/1", bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		response, err = client.Do(request) // want "RL5: this loop repeats a PATCH that is not idempotent"
		if err == nil {
			break
		}
		time.Sleep(time.Second)
	}
	return response, err
}
