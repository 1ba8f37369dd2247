package devstack

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are taken below Linux's ephemeral range (32768 and up, ip(7)), so that
// an outgoing connection cannot take the port of a server that restarts.
const (
	lowestPort  = 20000
	highestPort = 32000
)

var (
	handedOutMu sync.Mutex
	handedOut   = map[int]bool{}
)

// freePort returns a TCP port of 127.0.0.1 that nobody listens on and that
// this process has not been given before. Another process may still take it
// first, so callers try again with another one when binding fails.
func freePort() (int, error) {
	handedOutMu.Lock()
	defer handedOutMu.Unlock()
	for range 1000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		if handedOut[port] {
			continue
		}
		listener, err := net.Listen("tcp", loopback(port))
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			return 0, fmt.Errorf("release port %d: %w", port, err)
		}
		handedOut[port] = true
		return port, nil
	}
	return 0, errors.New("no free TCP port on 127.0.0.1 between 20000 and 32000 after 1000 attempts")
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
