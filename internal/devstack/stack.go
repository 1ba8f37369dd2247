package devstack

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
)

// Options configures [Up]. Postgres.Dir and Engine.Dir are set by Up.
type Options struct {
	// Dir holds everything: postgres/, engine/ and the state file.
	Dir      string
	Postgres PostgresOptions
	Engine   EngineOptions
	// NoPostgres and NoEngine leave one of the two out.
	NoPostgres bool
	NoEngine   bool
}

// Stack is a running pair of servers.
type Stack struct {
	Dir      string
	Postgres *Postgres // nil with Options.NoPostgres
	Engine   *Engine   // nil with Options.NoEngine
}

// Up starts PostgreSQL and the engine side by side in opts.Dir and returns
// when both answer. When one fails the other is stopped. The servers end with
// this process at the latest; the caller should call Stop.
func Up(ctx context.Context, opts Options) (*Stack, error) {
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("stack directory %q: %w", opts.Dir, err)
	}
	// The engine has its kind in the path: data of one cannot be read by another.
	engineOptions, err := opts.Engine.complete()
	if err != nil {
		return nil, err
	}
	engineOptions.Dir = filepath.Join(dir, string(engineOptions.Kind))
	opts.Postgres.Dir = filepath.Join(dir, "postgres")

	stack := &Stack{Dir: dir}
	postgresDone := make(chan error, 1)
	go func() {
		if opts.NoPostgres {
			postgresDone <- nil
			return
		}
		var err error
		stack.Postgres, err = StartPostgres(ctx, opts.Postgres)
		postgresDone <- err
	}()
	var engineErr error
	if !opts.NoEngine {
		stack.Engine, engineErr = StartEngine(ctx, engineOptions)
	}
	if err := errors.Join(<-postgresDone, engineErr); err != nil {
		return nil, errors.Join(err, stack.Stop())
	}
	return stack, nil
}

// Stop ends both servers in order. A second call does nothing.
func (s *Stack) Stop() error {
	var failures []error
	if s.Engine != nil {
		failures = append(failures, s.Engine.Stop())
	}
	if s.Postgres != nil {
		failures = append(failures, s.Postgres.Stop())
	}
	return errors.Join(failures...)
}
