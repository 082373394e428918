package unclosedbody

import (
	"io"
	"net/http"
	"time"
)

func closes(client *http.Client, request *http.Request) (*http.Response, error) {
	for i := 0; ; i++ {
		response, err := client.Do(request)
		if err == nil {
			if response.StatusCode < 500 || i == 3 {
				return response, nil
			}
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
		if i == 3 {
			return nil, err
		}
		time.Sleep(time.Second)
	}
}

// only errors are retried, which have no body
func errorsAlone(client *http.Client, request *http.Request) (response *http.Response, err error) {
	for range 3 {
		if response, err = client.Do(request); err == nil {
			break
		}
		time.Sleep(time.Second)
	}
	return response, err
}
