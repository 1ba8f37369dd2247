package devstack

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// parentEnv makes the test binary a parent that starts servers in the named
// directory, says so, and waits to be killed (see TestParentDeath).
const parentEnv = "TMS_DEVSTACK_TEST_PARENT"

// superviseEnv makes the test binary the command that Detach starts.
const superviseEnv = "TMS_DEVSTACK_TEST_SUPERVISE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentEnv); dir != "" {
		beParent(dir)
	}
	if dir := os.Getenv(superviseEnv); dir != "" {
		if err := Supervise(context.Background(), testStack(dir)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func beParent(dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	stack, err := Up(ctx, testStack(dir))
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println("started", stack.Postgres.PID(), stack.Engine.Nodes()[0].PID())
	select {}
}

func testStack(dir string) Options {
	return Options{Dir: dir, Postgres: PostgresOptions{Unsafe: true}, Engine: EngineOptions{Heap: "512m", ShortLived: true}}
}

// serverDir is a directory that the unprivileged server account can enter.
func serverDir(t *testing.T) string {
	t.Helper()
	dir, release, err := TemporaryDir("devstack-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return dir
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func awaitClosed(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: not within 30 s", what)
	}
}
