package server_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Every goroutine that the server starts ends with it.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The shared Postgres outlives the tests of a package on purpose.
		goleak.IgnoreAnyFunction("github.com/tracardi/tms/internal/devstack.(*process).run"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), // the tests' own client keeps connections
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
	)
}
