// Package retryablehttp stands for the package of that name.
package retryablehttp

import "net/http"

// Client retries.
type Client struct{}

// NewClient returns a client.
func NewClient() *Client { return &Client{} }

// Get gets.
func (c *Client) Get(url string) (*http.Response, error) { return http.Get(url) }
