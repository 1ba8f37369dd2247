// Command withstack runs another command with a real PostgreSQL and a real
// search engine at hand, and ends both with it:
//
//	go run ./internal/devstack/cmd/withstack -- go test ./...
//
// The command finds them in TMS_TEST_DATABASE_URL and TMS_TEST_ELASTIC_URL; the
// engine is of the kind TMS_DEV_ENGINE. Variables that are already set are
// left alone and their server is not started. -also starts further kinds. The
// exit code is the command's, 128+n when signal n ended it, 125 when the
// servers could not be started.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/internal/devstack/devtest"
)

// exitNoStack is the code for a failure of withstack itself, as in timeout(1).
const exitNoStack = 125

func main() {
	also := flag.String("also", "", "comma-separated further engine kinds to start")
	heap := flag.String("heap", "1g", "largest heap of each engine")
	flag.Parse()
	code, err := run(flag.Args(), *also, *heap)
	if err != nil {
		fmt.Fprintln(os.Stderr, "withstack:", err)
	}
	os.Exit(code)
}

func run(argv []string, also, heap string) (int, error) {
	if len(argv) == 0 {
		return exitNoStack, errors.New("usage: withstack [-also KIND,…] [-heap SIZE] -- COMMAND [ARGUMENT …]")
	}
	// Registered before anything starts, so that no signal finds us unprepared.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)

	dir, release, err := devstack.MemoryDir("withstack")
	if err != nil {
		return exitNoStack, err
	}
	defer release()
	var s servers
	defer s.stop()
	if err := s.startUnlessSignalled(signals, dir, also, heap); err != nil {
		return exitNoStack, err
	}
	return runCommand(argv, s.env, signals)
}

// servers are the running ones and the variables that lead to them.
type servers struct {
	postgres *devstack.Postgres
	engines  []*devstack.Engine
	env      []string
}

func (s *servers) startUnlessSignalled(signals <-chan os.Signal, dir, also, heap string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.start(ctx, dir, also, heap) }()
	select {
	case err := <-done:
		return err
	case sig := <-signals:
		cancel()
		return errors.Join(fmt.Errorf("%v while the servers were starting", sig), <-done)
	}
}

func (s *servers) start(ctx context.Context, dir, also, heap string) error {
	kind, err := devstack.EngineKindFromEnv()
	if err != nil {
		return err
	}
	s.env = append(s.env, "TMS_DEV_ENGINE="+string(kind))
	if os.Getenv(devtest.DatabaseURLEnv) == "" {
		options := devstack.PostgresOptions{Dir: filepath.Join(dir, "postgres"), Unsafe: true}
		if s.postgres, err = devstack.StartPostgres(ctx, options); err != nil {
			return err
		}
		s.env = append(s.env, devtest.DatabaseURLEnv+"="+s.postgres.DSN())
	}
	if os.Getenv(devtest.ElasticURLEnv) == "" {
		if err := s.startEngine(ctx, dir, heap, kind, devtest.ElasticURLEnv); err != nil {
			return err
		}
	}
	for name := range strings.SplitSeq(also, ",") {
		if name == "" || name == string(kind) {
			continue
		}
		other, err := devstack.ParseEngineKind(name)
		if err != nil {
			return err
		}
		if err := s.startEngine(ctx, dir, heap, other, devtest.ElasticURLEnvOf(other)); err != nil {
			return err
		}
	}
	return nil
}

func (s *servers) startEngine(ctx context.Context, dir, heap string, kind devstack.EngineKind, variable string) error {
	engine, err := devstack.StartEngine(ctx, devstack.EngineOptions{
		Kind: kind, Dir: filepath.Join(dir, string(kind)), Heap: heap, Settings: devtest.EngineSettings(),
	})
	if err != nil {
		return err
	}
	s.engines = append(s.engines, engine)
	s.env = append(s.env, variable+"="+engine.URL())
	return nil
}

func (s *servers) stop() {
	for _, engine := range s.engines {
		for _, node := range engine.Nodes() {
			node.Kill() // nobody needs the data
		}
		_ = engine.Stop()
	}
	if s.postgres != nil {
		_ = s.postgres.Stop()
	}
}

// runCommand runs argv, hands signals on, and returns the command's exit code.
func runCommand(argv, env []string, signals <-chan os.Signal) (int, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		return exitNoStack, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case sig := <-signals:
			_ = cmd.Process.Signal(sig) // an error means that it has just ended
		case err := <-done:
			return exitCode(err)
		}
	}
}

func exitCode(err error) (int, error) {
	if err == nil {
		return 0, nil
	}
	failed, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return exitNoStack, err
	}
	if status, ok := failed.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return failed.ExitCode(), nil
}
