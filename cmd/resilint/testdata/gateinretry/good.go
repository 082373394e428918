package gateinretry

import (
	"errors"
	"io"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/retry"
)

var _ = retry.New(retry.If(func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }))

func isOpen(err error) bool { return errors.Is(err, breaker.ErrOpen) }
