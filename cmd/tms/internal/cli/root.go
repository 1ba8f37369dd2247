package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tracardi/tms/cmd/tms/internal/config"
)

// app is what every command has.
type app struct {
	out, err io.Writer
	env      config.Lookup
}

// Run executes a command line and returns the exit code (see exit.go). Output
// goes to out, everything else to errs.
func Run(ctx context.Context, args []string, out, errs io.Writer, env config.Lookup) int {
	a := &app{out: out, err: errs, env: env}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	return a.report(root.ExecuteContext(ctx))
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "tms",
		Short: "Tenant management and fleet upgrades for multi-tenant Tracardi",
		Long: `Tenant management and fleet upgrades for multi-tenant Tracardi.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused with reasons.
Settings come from flags and environment; "tms config" shows those in force.
Every variable NAME may be given as NAME_FILE, the path of a file with the value.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, err) })
	root.AddCommand(
		a.serveCommand(), a.migrateCommand(), a.configCommand(), a.versionCommand(),
		a.tenantCommand(), a.keyCommand(), a.releaseCommand(), a.upgradeCommand(), a.fleetCommand(), a.operationCommand(), a.auditCommand(),
		a.webhookCommand(), a.backupCommand(), a.registryCommand(), a.cleanupCommand(), a.budgetCommand(), a.clusterCommand(), a.capacityCommand(),
		a.devCommand(),
	)
	root.AddCommand(a.demoCommands()...)
	complete(root)
	return root
}

// complete gives every command what cobra leaves out: wrong arguments are
// wrong usage, and a group without a subcommand says which ones it has.
func complete(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		complete(sub)
	}
	check := cmd.Args
	switch {
	case !cmd.Runnable():
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = needSubcommand
	case check == nil:
		check = cobra.NoArgs
		fallthrough
	default:
		cmd.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usage(c, err)
			}
			return nil
		}
	}
}

func needSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(cmd, fmt.Errorf("unknown command %q%s", args[0], suggestions(cmd, args[0])))
	}
	if err := cmd.Help(); err != nil {
		return err
	}
	if !cmd.HasParent() {
		return nil
	}
	return usage(cmd, errors.New("a command is missing"))
}

func suggestions(cmd *cobra.Command, typed string) string {
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if similar := cmd.SuggestionsFor(typed); len(similar) > 0 {
		return ": did you mean " + strings.Join(similar, " or ") + "?"
	}
	return ""
}

// needs makes a missing flag wrong usage. cobra's own required flags cannot
// be told from other errors.
func needs(cmd *cobra.Command, flags ...string) {
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		for _, name := range flags {
			if !cmd.Flags().Changed(name) {
				return usage(cmd, fmt.Errorf("--%s is missing", name))
			}
		}
		return nil
	}
}
