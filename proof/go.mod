module github.com/go-resilience/resilience/proof

go 1.26.0

replace github.com/go-resilience/resilience => ../

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/go-resilience/resilience v0.0.0-00010101000000-000000000000
	github.com/stretchr/testify v1.12.1
	go.uber.org/goleak v1.3.0
	pgregory.net/rapid v1.3.0
)

require (
	github.com/cenkalti/backoff/v4 v4.3.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/time v0.16.0 // indirect
)
