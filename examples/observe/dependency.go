package main

import (
	"io"
	"net/http"
	"time"
)

// outage is when the dependency is sick, counted from the start.
type outage struct{ after, lasts time.Duration }

// dependency returns a server of users, which answers 503 while it is sick.
func dependency(start time.Time, sick outage) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if since := time.Since(start) - sick.after; since >= 0 && since < sick.lasts {
			http.Error(w, "the database is down", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "Ada\n")
	})
}
