package policyprom_test

import (
	"testing"

	"github.com/go-resilience/resilience/adapters/internal/target/targettest"
)

func TestTheCodeInTheDocumentCompiles(t *testing.T) { targettest.DocumentCompiles(t, "policyprom") }
