package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// commandGrace is how long a command may take to end after an interrupt.
const commandGrace = 10 * time.Second

// Command is one run of a tms command.
type Command struct {
	Binary         string
	Args           []string
	Env            []string // beside this process's own
	Stdout, Stderr io.Writer
}

// Run runs the command to its end and returns its exit code. When ctx ends the
// command is interrupted, then killed. The error says that it could not be
// run, or was ended by ctx; an exit code other than 0 is none.
func (c Command) Run(ctx context.Context) (int, error) {
	cmd := exec.CommandContext(ctx, c.Binary, c.Args...)
	cmd.Env = slices.Concat(os.Environ(), c.Env)
	cmd.Stdout, cmd.Stderr = c.Stdout, c.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = commandGrace
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return -1, fmt.Errorf("tms %s: %w", c.Args[0], context.Cause(ctx))
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode(), nil
	case err != nil:
		return -1, fmt.Errorf("tms %s: %w", c.Args[0], err)
	}
	return 0, nil
}
