package needsopen

import (
	"context"
	"database/sql"
	"net/http"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

func get(ctx context.Context, backend policy.Layer, request *http.Request) (*http.Response, error) {
	return resilience.Do(ctx, backend, func(ctx context.Context) (*http.Response, error) { // want "RL9c: \\*http.Response is still to be read when Do returns"
		return http.DefaultClient.Do(request.WithContext(ctx))
	})
}

func query(ctx context.Context, backend policy.Layer, db *sql.DB) error {
	rows, err := resilience.Do(ctx, backend, func(ctx context.Context) (*sql.Rows, error) { // want "RL9c: \\*sql.Rows is still to be read when Do returns"
		return db.QueryContext(ctx, "SELECT 1")
	})
	if err != nil {
		return err
	}
	return rows.Close()
}

func byAPolicy(ctx context.Context, backend policy.Policy[*http.Response], request *http.Request) (*http.Response, error) {
	var response, err = backend.Do(ctx, func(ctx context.Context) (*http.Response, error) { // want "RL9c: \\*http.Response is still to be read when Do returns"
		return http.DefaultClient.Do(request.WithContext(ctx))
	})
	return response, err
}
