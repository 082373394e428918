package unsafewrite

import (
	"bytes"
	"io"
	"net/http"
	"time"
)

func get(client *http.Client) (response *http.Response, err error) {
	for range 3 {
		request, err := http.NewRequest("GET", "http://orders/1", nil)
		if err != nil {
			return nil, err
		}
		response, err = client.Do(request)
		if err == nil {
			break
		}
		time.Sleep(time.Second)
	}
	return response, err
}

func withKey(client *http.Client, body []byte, key string) (response *http.Response, err error) {
	for range 3 {
		request, err := http.NewRequest("POST", "http://orders", bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		request.Header.Set("Idempotency-Key", key)
		response, err = client.Do(request)
		if err == nil {
			break
		}
		time.Sleep(time.Second)
	}
	return response, err
}

func elsewhere() (method, url string, body io.Reader) { return "POST", "http://orders", nil }

// what it sends is not seen
func spread(client *http.Client) (response *http.Response, err error) {
	for range 3 {
		request, err := http.NewRequest(elsewhere())
		if err != nil {
			return nil, err
		}
		response, err = client.Do(request)
		if err == nil {
			break
		}
		time.Sleep(time.Second)
	}
	return response, err
}
