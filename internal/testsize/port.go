package testsize

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// The ports of [Port] are below those that an operating system hands out by itself, so no connection and no listener of
// another test takes one before the program listens.
const (
	firstPort = 15_000
	ports     = 10_000
)

var (
	mu    sync.Mutex
	given = make(map[int]bool)
)

// Port returns a free port of the loopback interface, for a program that must be told its port. No test of this process
// is given the same port.
func Port(t TestingT) int {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	for range ports {
		port := firstPort + rand.IntN(ports)
		if given[port] {
			continue
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		_ = listener.Close()
		given[port] = true
		return port
	}
	t.Fatalf("no port from %d to %d is free", firstPort, firstPort+ports-1)
	return 0
}
