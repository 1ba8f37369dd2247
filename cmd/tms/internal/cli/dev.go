package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tracardi/tms/cmd/tms/internal/config"
	"github.com/tracardi/tms/internal/devstack"
)

// devLimit bounds bringing the stack up, the first fetch of jars included.
const devLimit = 20 * time.Minute

func (a *app) devCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "dev", Short: "Run a real Postgres and a real search engine for development",
		Long: `Run a real Postgres and a real search engine for development.

"tms serve --dev" with the same directory uses them; without them it runs its own.`,
	}
	config.Bind(cmd.PersistentFlags(), &config.Dev{})
	outputFlag(cmd)
	cmd.AddCommand(
		&cobra.Command{Use: "up", Short: "Start both in the background", RunE: a.devUp},
		&cobra.Command{Use: "down", Short: "Stop both; the data stay", RunE: a.devDown},
		&cobra.Command{Use: "status", Short: "Show where both are; exit code 1 when they do not run", RunE: a.devStatus},
		&cobra.Command{Use: "supervise", Short: "Run both in the foreground", Hidden: true, RunE: a.devSupervise},
	)
	return cmd
}

func (a *app) devOptions(cmd *cobra.Command) (devstack.Options, error) {
	var s config.Dev
	if err := config.Load(&s, cmd.Flags(), a.env); err != nil {
		return devstack.Options{}, usage(cmd, err)
	}
	dir, err := s.Dir()
	if err != nil {
		return devstack.Options{}, err
	}
	kind, err := devstack.ParseEngineKind(s.DevEngine)
	if err != nil {
		return devstack.Options{}, usage(cmd, fmt.Errorf("--dev-engine (TMS_DEV_ENGINE): %w", err))
	}
	return devstack.Options{Dir: dir, Engine: devstack.EngineOptions{Kind: kind}}, nil
}

func (a *app) devUp(cmd *cobra.Command, _ []string) error {
	options, err := a.devOptions(cmd)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), devLimit)
	defer cancel()
	argv := []string{self, "dev", "supervise", "--dev-dir", options.Dir, "--dev-engine", string(options.Engine.Kind)}
	state, err := devstack.Detach(ctx, options, argv)
	if err != nil {
		return err
	}
	return a.printStack(cmd, state)
}

func (a *app) devSupervise(cmd *cobra.Command, _ []string) error {
	options, err := a.devOptions(cmd)
	if err != nil {
		return err
	}
	return devstack.Supervise(cmd.Context(), options)
}

func (a *app) devDown(cmd *cobra.Command, _ []string) error {
	options, err := a.devOptions(cmd)
	if err != nil {
		return err
	}
	err = devstack.Down(cmd.Context(), options.Dir)
	if errors.Is(err, devstack.ErrNotRunning) {
		_, err = fmt.Fprintf(a.err, "nothing runs in %s\n", options.Dir)
	}
	return err
}

func (a *app) devStatus(cmd *cobra.Command, _ []string) error {
	options, err := a.devOptions(cmd)
	if err != nil {
		return err
	}
	state, err := devstack.ReadState(options.Dir)
	if err != nil {
		return err
	}
	return a.printStack(cmd, state)
}

func (a *app) printStack(cmd *cobra.Command, state devstack.State) error {
	asJSON, err := wantsJSON(cmd)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(a.out, state)
	}
	return writeFields(a.out,
		"directory", state.Dir, "process", fmt.Sprint(state.PID), "DATABASE_URL", config.MaskURL(state.DatabaseURL),
		"engine", string(state.Engine), "TMS_ELASTIC_URLS", strings.Join(state.EngineURLs, ","),
	)
}
