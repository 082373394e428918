package policyconfig_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policyconfig"
	"github.com/go-resilience/resilience/policyhttp"
)

// front checks that the pipeline "users" can stand in front of a handler.
var front = policyconfig.Registry{Check: map[string]func(*resilience.Pipeline) error{
	"users": func(p *resilience.Pipeline) error { return policyhttp.ValidateHandler(http.NotFoundHandler(), p) },
}}

// TestCheck_AllOrNothing: a pipeline that the handler would refuse is not put in force by halves.
func TestCheck_AllOrNothing(t *testing.T) {
	good := layersOf(`{"kind": "bulkhead", "limit": 4}`)
	bad := layersOf(`{"kind": "retry", "attempts": 2}, {"kind": "bulkhead", "limit": 9}`)
	set := loadWith(t, good, front)
	users := set.Pipeline("users")
	handler := policyhttp.Handler(http.NotFoundHandler(), users)
	before, layer := users.Current(), find[*bulkhead.Bulkhead](t, users)

	for _, change := range []func([]byte) (policyconfig.Changes, error){set.Plan, set.Apply} {
		changes, err := change([]byte(bad))
		require.True(t, changes.Empty())
		var config *policyconfig.Error
		require.ErrorAs(t, err, &config)
		require.Len(t, config.Problems, 1)
		require.Equal(t, "/pipelines/users/layers/0", config.Problems[0].Pointer)
		require.Equal(t, "retry 2: repeats, and a handler must not run twice", config.Problems[0].Message)
		require.Same(t, before, users.Current())
		require.Equal(t, "bulkhead 4", layer.String(), "its limit has not changed either")
		require.EqualValues(t, 1, set.Generation())
	}
	_, err := policyconfig.Load([]byte(bad), front)
	require.ErrorContains(t, err, "/pipelines/users/layers/0: retry 2: repeats")

	require.Equal(t, "users: bulkhead 4 to 9", apply(t, set, layersOf(`{"kind": "bulkhead", "limit": 9}`)).String())
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Equal(t, http.StatusNotFound, w.Code)
}

func TestCheck_NameThatIsNotThere(t *testing.T) {
	_, err := policyconfig.Load([]byte(`{"pipelines": {"user": {"layers": []}}}`), front)
	require.ErrorContains(t, err, `the pipeline "users" is missing, which the program needs`)

	set := loadWith(t, layersOf(""), front)
	_, err = set.Apply([]byte(`{"pipelines": {}}`))
	require.ErrorContains(t, err, `the pipeline "users" is missing, which the program needs`)

	_, err = policyconfig.Load([]byte(layersOf("")), policyconfig.Registry{Check: map[string]func(*resilience.Pipeline) error{"users": nil}})
	require.ErrorContains(t, err, "/pipelines/users: the function in Registry.Check is nil")
}

// TestCheck_OnTrial: what is checked is what the file describes, and another error than that of a policy is told too. What is
// wrong with a file already is not asked about.
func TestCheck_OnTrial(t *testing.T) {
	var asked []string
	registry := policyconfig.Registry{
		Require: []string{"users"},
		Check: map[string]func(*resilience.Pipeline) error{"users": func(p *resilience.Pipeline) error {
			asked = append(asked, p.Name()+": "+p.String())
			if p.String() == "empty pipeline" {
				return errors.New("must have a layer")
			}
			return nil
		}},
	}
	set := loadWith(t, layersOf(`{"kind": "bulkhead", "limit": 4}`), registry)
	_, err := set.Apply([]byte(layersOf("")))
	require.ErrorContains(t, err, "/pipelines/users: must have a layer")
	_, err = set.Apply([]byte(layersOf(`{"kind": "timeout", "total": "1s"}, {"kind": "timeout", "perAttempt": "2s"}`)))
	require.Error(t, err)
	_, err = set.Apply([]byte(layersOf(`{"kind": "bulkhead", "limit": 0}`)))
	require.Error(t, err)
	require.Equal(t, []string{"users: bulkhead 4", "users: empty pipeline"}, asked)
	require.Equal(t, "bulkhead 4", set.Pipeline("users").String())

	delete(registry.Check, "users") // the set has a copy
	_, err = set.Apply([]byte(layersOf("")))
	require.ErrorContains(t, err, "must have a layer")
	require.NoError(t, set.Pipeline("users").Run(context.Background(), succeed))
}
